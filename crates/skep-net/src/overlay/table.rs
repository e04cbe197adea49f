//! What the managers say about one network: who is on it, where, and behind which names. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_objects::skep_v1::{NetworkEndpoints, NodeEndpoint, ServiceEndpoint, TaskEndpoint};

use super::peers::{Peers, Places};
use crate::addr::Mac;
use crate::netlink::route::{FdbEntry, Neighbour};

/// The endpoint table of one network.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NetworkTable {
    services: BTreeMap<String, ServiceEndpoint>,
    tasks: BTreeMap<String, TaskEndpoint>,
    nodes: BTreeMap<String, NodeEndpoint>,
    /// By service: its tasks.
    of_service: BTreeMap<String, BTreeSet<String>>,
    by_address: BTreeMap<IpAddr, String>,
    /// By address: a node that has it.
    node_at: BTreeMap<IpAddr, String>,
}

/// What a message changed in a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Services whose addresses, ports or backends may be others now.
    pub services: BTreeSet<String>,
    /// Services, tasks that may be called otherwise now.
    pub named_services: BTreeSet<String>,
    pub named_tasks: BTreeSet<String>,
    /// Addresses whose owner is elsewhere, or there at all, or not any more.
    pub places: BTreeSet<IpAddr>,
    /// A node is another now: its address, or its key.
    pub nodes: bool,
}

/// A service as it is balanced: its addresses and who takes its traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Balanced {
    /// Virtual addresses of one family.
    pub vips: BTreeSet<IpAddr>,
    /// Tasks in rotation.
    pub backends: Vec<IpAddr>,
    /// Tasks on the network, in rotation or not.
    pub present: BTreeSet<IpAddr>,
    /// Those of them on nodes that nobody hears of.
    pub lost: BTreeSet<IpAddr>,
}

impl Balanced {
    /// Whether somebody takes the traffic that nobody took before.
    pub fn wakes(&self, before: &Balanced) -> bool {
        before.backends.is_empty() && !self.backends.is_empty()
    }
}

/// The parsed addresses; texts that are none are skipped.
pub(crate) fn parse_ips(texts: &[String]) -> impl Iterator<Item = IpAddr> + '_ {
    texts
        .iter()
        .filter_map(|t| t.split('/').next()?.parse().ok())
}

/// The hardware address of an endpoint with these addresses: its first IPv4 address decides.
pub(crate) fn mac_for(addresses: impl IntoIterator<Item = IpAddr>) -> Option<Mac> {
    let all: Vec<IpAddr> = addresses.into_iter().collect();
    all.iter()
        .find(|a| a.is_ipv4())
        .or(all.first())
        .map(|a| Mac::from_ip(*a))
}

impl NetworkTable {
    /// Takes a change, or the whole table anew; answers what is another now.
    pub fn merge(&mut self, change: &NetworkEndpoints) -> Changed {
        let mut changed = Changed::default();
        if change.complete {
            self.retain(change, &mut changed);
        }
        for id in &change.removed_services {
            self.remove_service(id, &mut changed);
        }
        for id in &change.removed_tasks {
            self.remove_task(id, &mut changed);
        }
        for id in &change.removed_nodes {
            self.remove_node(id, &mut changed);
        }
        for service in &change.set_services {
            self.set_service(service, &mut changed);
        }
        for task in &change.set_tasks {
            self.set_task(task, &mut changed);
        }
        for node in &change.set_nodes {
            self.set_node(node, &mut changed);
        }
        changed
    }

    /// Removes what the whole table does not have.
    fn retain(&mut self, whole: &NetworkEndpoints, changed: &mut Changed) {
        let services: BTreeSet<&str> = ids(&whole.set_services, |s| &s.service_id);
        let tasks: BTreeSet<&str> = ids(&whole.set_tasks, |t| &t.task_id);
        let nodes: BTreeSet<&str> = ids(&whole.set_nodes, |n| &n.node_id);
        let gone = |id: &&String, kept: &BTreeSet<&str>| !kept.contains(id.as_str());
        let gone_services = self.services.keys().filter(|id| gone(id, &services));
        for id in gone_services.cloned().collect::<Vec<_>>() {
            self.remove_service(&id, changed);
        }
        let gone_tasks = self.tasks.keys().filter(|id| gone(id, &tasks));
        for id in gone_tasks.cloned().collect::<Vec<_>>() {
            self.remove_task(&id, changed);
        }
        let gone_nodes = self.nodes.keys().filter(|id| gone(id, &nodes));
        for id in gone_nodes.cloned().collect::<Vec<_>>() {
            self.remove_node(&id, changed);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) -> Changed {
        self.merge(&NetworkEndpoints {
            complete: true,
            ..NetworkEndpoints::default()
        })
    }

    fn set_node(&mut self, node: &NodeEndpoint, changed: &mut Changed) {
        if self.nodes.get(&node.node_id) == Some(node) {
            return;
        }
        self.remove_node(&node.node_id, changed);
        for ip in parse_ips(&node.addresses) {
            self.node_at.insert(ip, node.node_id.clone());
        }
        self.nodes.insert(node.node_id.clone(), node.clone());
        changed.nodes = true;
    }

    fn remove_node(&mut self, id: &str, changed: &mut Changed) {
        let Some(node) = self.nodes.remove(id) else {
            return;
        };
        for ip in parse_ips(&node.addresses) {
            if self.node_at.get(&ip).is_some_and(|owner| owner == id) {
                self.node_at.remove(&ip);
            }
        }
        changed.nodes = true;
    }

    fn set_service(&mut self, service: &ServiceEndpoint, changed: &mut Changed) {
        let id = &service.service_id;
        if self.services.get(id) == Some(service) {
            return;
        }
        self.services.insert(id.clone(), service.clone());
        self.note_service(id, changed);
    }

    fn remove_service(&mut self, id: &str, changed: &mut Changed) {
        if self.services.remove(id).is_some() {
            self.note_service(id, changed);
        }
    }

    /// What a service is called decides what its tasks are.
    fn note_service(&self, id: &str, changed: &mut Changed) {
        changed.services.insert(id.to_owned());
        changed.named_services.insert(id.to_owned());
        let tasks = self.of_service.get(id).into_iter().flatten();
        changed.named_tasks.extend(tasks.cloned());
    }

    fn set_task(&mut self, task: &TaskEndpoint, changed: &mut Changed) {
        let id = &task.task_id;
        let old = self.tasks.get(id);
        if old == Some(task) {
            return;
        }
        let place = |t: &TaskEndpoint| {
            let (node, address) = (t.node_id.clone(), t.node_addr.clone());
            (node, address, t.addresses.clone())
        };
        if old.map(place) != Some(place(task)) {
            let before = old.map(|old| old.addresses.as_slice()).unwrap_or_default();
            changed.places.extend(parse_ips(before));
            changed.places.extend(parse_ips(&task.addresses));
        }
        let is_other = |old: &TaskEndpoint| {
            old.service_id != task.service_id || old.addresses != task.addresses
        };
        if old.is_some_and(is_other) {
            self.remove_task(id, changed);
        }
        changed.services.insert(task.service_id.clone());
        changed.named_tasks.insert(id.clone());
        let of_service = self.of_service.entry(task.service_id.clone()).or_default();
        of_service.insert(id.clone());
        for ip in parse_ips(&task.addresses) {
            self.by_address.insert(ip, id.clone());
        }
        self.tasks.insert(id.clone(), task.clone());
    }

    fn remove_task(&mut self, id: &str, changed: &mut Changed) {
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        changed.places.extend(parse_ips(&task.addresses));
        changed.named_tasks.insert(id.to_owned());
        if let Some(of_service) = self.of_service.get_mut(&task.service_id) {
            of_service.remove(id);
            if of_service.is_empty() {
                self.of_service.remove(&task.service_id);
            }
        }
        for ip in parse_ips(&task.addresses) {
            if self.by_address.get(&ip).is_some_and(|owner| owner == id) {
                self.by_address.remove(&ip);
            }
        }
        changed.services.insert(task.service_id);
    }

    /// The whole table as a message.
    pub fn whole(&self, network_id: &str) -> NetworkEndpoints {
        NetworkEndpoints {
            network_id: network_id.to_owned(),
            complete: true,
            set_services: self.services.values().cloned().collect(),
            set_tasks: self.tasks.values().cloned().collect(),
            set_nodes: self.nodes.values().cloned().collect(),
            ..NetworkEndpoints::default()
        }
    }

    /// All services' ids: also of those that only tasks know.
    pub fn service_ids(&self) -> BTreeSet<String> {
        let known = self.services.keys();
        known.chain(self.of_service.keys()).cloned().collect()
    }

    /// A service.
    pub fn service(&self, id: &str) -> Option<&ServiceEndpoint> {
        self.services.get(id)
    }

    /// A task.
    pub fn task(&self, id: &str) -> Option<&TaskEndpoint> {
        self.tasks.get(id)
    }

    /// The task that has an address.
    pub fn task_at(&self, ip: IpAddr) -> Option<&TaskEndpoint> {
        self.tasks.get(self.by_address.get(&ip)?)
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskEndpoint> {
        self.tasks.values()
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeEndpoint> {
        self.nodes.values()
    }

    /// Whoever is on other nodes: addresses, and the node's outer address.
    fn remote<'a>(
        &'a self,
        own_node: &'a str,
        local: &'a BTreeSet<IpAddr>,
    ) -> impl Iterator<Item = (&'a str, Vec<IpAddr>, IpAddr)> + 'a {
        let tasks = self
            .tasks
            .values()
            .map(|t| (&t.node_id, &t.addresses, &t.node_addr));
        let nodes = self
            .nodes
            .values()
            .map(|n| (&n.node_id, &n.addresses, &n.node_addr));
        tasks
            .chain(nodes)
            .filter(move |(node, ..)| *node != own_node)
            .filter_map(move |(node, addresses, outer)| {
                let outer = outer.parse().ok()?;
                let addresses: Vec<IpAddr> = parse_ips(addresses).collect();
                // An entry for a local endpoint would take its traffic away, silently.
                let clean = !addresses.iter().any(|a| local.contains(a));
                clean.then_some((node.as_str(), addresses, outer))
            })
    }

    /// The neighbours and forwarding entries that lead to other nodes. `outer` maps a node and its
    /// data path address to the outer address of its tunnel; `None` leaves it unreachable.
    pub fn peers(
        &self,
        own_node: &str,
        local: &BTreeSet<IpAddr>,
        outer: impl Fn(&str, IpAddr) -> Option<IpAddr>,
    ) -> Peers {
        let (mut neighbours, mut fdb) = (BTreeMap::new(), BTreeMap::new());
        for (node, addresses, node_addr) in self.remote(own_node, local) {
            let mac = mac_for(addresses.iter().copied());
            let (Some(mac), Some(outer)) = (mac, outer(node, node_addr)) else {
                continue;
            };
            fdb.insert(mac, FdbEntry { mac, node: outer });
            neighbours.extend(addresses.into_iter().map(|ip| (ip, Neighbour { ip, mac })));
        }
        Peers {
            neighbours: neighbours.into_values().collect(),
            fdb: fdb.into_values().collect(),
        }
    }

    /// Where these addresses are, and the others of who has one of them, on networks that are not
    /// encrypted.
    pub fn places(
        &self,
        own_node: &str,
        local: &BTreeSet<IpAddr>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Places {
        let mut all = addresses.clone();
        let owners = addresses.iter().filter_map(|ip| self.task_at(*ip));
        all.extend(owners.flat_map(|task| parse_ips(&task.addresses)));
        let at = |ip: IpAddr| (ip, self.place(own_node, local, ip));
        all.into_iter().map(at).collect()
    }

    fn place(&self, own_node: &str, local: &BTreeSet<IpAddr>, ip: IpAddr) -> Option<(Mac, IpAddr)> {
        let node = self.node_at.get(&ip).and_then(|id| self.nodes.get(id));
        let node = node.map(|n| (&n.node_id, &n.addresses, &n.node_addr));
        let task = || {
            let task = self.task_at(ip)?;
            Some((&task.node_id, &task.addresses, &task.node_addr))
        };
        let (id, addresses, outer) = node.or_else(task)?;
        let is_here = id == own_node || parse_ips(addresses).any(|a| local.contains(&a));
        if is_here {
            return None;
        }
        Some((mac_for(parse_ips(addresses))?, outer.parse().ok()?))
    }

    /// A service with its backends of one family.
    pub fn balanced(&self, service_id: &str, v4: bool) -> Option<Balanced> {
        let service = self.services.get(service_id)?;
        let of_family = |ip: &IpAddr| ip.is_ipv4() == v4;
        let mut out = Balanced {
            vips: parse_ips(&service.virtual_ips).filter(of_family).collect(),
            ..Balanced::default()
        };
        let tasks = self.of_service.get(service_id).into_iter().flatten();
        for task in tasks.filter_map(|id| self.tasks.get(id)) {
            for ip in parse_ips(&task.addresses).filter(of_family) {
                out.present.insert(ip);
                if task.node_lost {
                    out.lost.insert(ip);
                }
                if task.in_rotation {
                    out.backends.push(ip);
                }
            }
        }
        out.backends.sort_unstable();
        Some(out)
    }
}

fn ids<T>(all: &[T], id: impl Fn(&T) -> &String) -> BTreeSet<&str> {
    all.iter().map(|one| id(one).as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, node: &str, address: &str, in_rotation: bool) -> TaskEndpoint {
        TaskEndpoint {
            task_id: id.into(),
            service_id: "web".into(),
            node_id: node.into(),
            addresses: vec![address.into()],
            node_addr: format!("192.0.2.{}", node.len()),
            in_rotation,
            ..TaskEndpoint::default()
        }
    }

    fn table(tasks: &[TaskEndpoint]) -> NetworkTable {
        let mut table = NetworkTable::default();
        table.merge(&NetworkEndpoints {
            complete: true,
            set_services: vec![ServiceEndpoint {
                service_id: "web".into(),
                virtual_ips: vec!["10.0.1.2".into()],
                ..ServiceEndpoint::default()
            }],
            set_tasks: tasks.to_vec(),
            ..NetworkEndpoints::default()
        });
        table
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_other_nodes_are_peers() {
        let table = table(&[
            task("a", "n", "10.0.1.3", true),
            task("b", "nn", "10.0.1.4", false),
        ]);
        let Peers { neighbours, fdb } = table.peers("n", &BTreeSet::new(), |_, a| Some(a));
        let mac = Mac::from_ip(ip("10.0.1.4"));
        assert_eq!(
            neighbours,
            [Neighbour {
                ip: ip("10.0.1.4"),
                mac
            }]
            .into()
        );
        assert_eq!(
            fdb,
            [FdbEntry {
                mac,
                node: ip("192.0.2.2")
            }]
            .into()
        );
    }

    #[test]
    fn a_local_address_is_never_a_peer_whatever_the_table_says() {
        let table = table(&[task("b", "nn", "10.0.1.4", true)]);
        let local = BTreeSet::from([ip("10.0.1.4")]);
        assert_eq!(table.peers("n", &local, |_, a| Some(a)), Default::default());
    }

    #[test]
    fn an_unreachable_node_has_no_entries() {
        let table = table(&[task("b", "nn", "10.0.1.4", true)]);
        assert_eq!(
            table.peers("n", &BTreeSet::new(), |_, _| None),
            Default::default()
        );
    }

    #[test]
    fn only_tasks_in_rotation_are_backends() {
        let table = table(&[
            task("a", "n", "10.0.1.3", true),
            task("b", "nn", "10.0.1.4", false),
        ]);
        let web = table.balanced("web", true).unwrap();
        assert_eq!(web.backends, [ip("10.0.1.3")]);
        assert_eq!(web.present.len(), 2);
        assert!(table.balanced("web", false).unwrap().backends.is_empty());
    }

    #[test]
    fn changes_add_to_the_table_and_a_complete_one_replaces_it() {
        let mut t = table(&[task("a", "n", "10.0.1.3", true)]);
        t.merge(&NetworkEndpoints {
            set_tasks: vec![task("b", "n", "10.0.1.4", true)],
            removed_tasks: vec!["a".into()],
            ..NetworkEndpoints::default()
        });
        assert_eq!(t.tasks.keys().collect::<Vec<_>>(), ["b"]);
        t.merge(&NetworkEndpoints {
            complete: true,
            ..NetworkEndpoints::default()
        });
        assert_eq!(t, NetworkTable::default());
    }

    fn changed(services: &[&str], tasks: &[&str], places: &[&str]) -> Changed {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Changed {
            services: set(services),
            named_services: BTreeSet::new(),
            named_tasks: set(tasks),
            places: places.iter().map(|text| ip(text)).collect(),
            nodes: false,
        }
    }

    #[test]
    fn a_message_changes_what_it_names_and_no_more() {
        let mut t = table(&[task("a", "n", "10.0.1.3", true)]);
        let mut tell = |task: TaskEndpoint| {
            t.merge(&NetworkEndpoints {
                set_tasks: vec![task],
                ..NetworkEndpoints::default()
            })
        };
        let same = tell(task("a", "n", "10.0.1.3", true));
        assert_eq!(same, Changed::default());
        let rotation = tell(task("a", "n", "10.0.1.3", false));
        assert_eq!(rotation, changed(&["web"], &["a"], &[]));
        let place = tell(task("a", "nn", "10.0.1.3", false));
        assert_eq!(place, changed(&["web"], &["a"], &["10.0.1.3"]));
        assert_eq!(t.task_at(ip("10.0.1.3")).unwrap().task_id, "a");
        let gone = t.clear();
        assert_eq!(gone.named_services, ["web".to_owned()].into());
        assert_eq!(t, NetworkTable::default());
    }
}
