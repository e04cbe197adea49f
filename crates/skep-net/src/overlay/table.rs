//! What the managers say about one network: who is on it, where, and behind which names. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_objects::skep_v1::{NetworkEndpoints, NodeEndpoint, ServiceEndpoint, TaskEndpoint};

use crate::addr::Mac;
use crate::netlink::route::{FdbEntry, Neighbour};

/// The endpoint table of one network.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NetworkTable {
    pub services: BTreeMap<String, ServiceEndpoint>,
    pub tasks: BTreeMap<String, TaskEndpoint>,
    pub nodes: BTreeMap<String, NodeEndpoint>,
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
    /// Takes a change, or the whole table anew.
    pub fn merge(&mut self, change: &NetworkEndpoints) {
        if change.complete {
            *self = NetworkTable::default();
        }
        for id in &change.removed_services {
            self.services.remove(id);
        }
        for id in &change.removed_tasks {
            self.tasks.remove(id);
        }
        for id in &change.removed_nodes {
            self.nodes.remove(id);
        }
        let services = change
            .set_services
            .iter()
            .map(|s| (s.service_id.clone(), s.clone()));
        self.services.extend(services);
        self.tasks.extend(
            change
                .set_tasks
                .iter()
                .map(|t| (t.task_id.clone(), t.clone())),
        );
        self.nodes.extend(
            change
                .set_nodes
                .iter()
                .map(|n| (n.node_id.clone(), n.clone())),
        );
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
    ) -> (BTreeSet<Neighbour>, BTreeSet<FdbEntry>) {
        let (mut neighbours, mut fdb) = (BTreeMap::new(), BTreeMap::new());
        for (node, addresses, node_addr) in self.remote(own_node, local) {
            let mac = mac_for(addresses.iter().copied());
            let (Some(mac), Some(outer)) = (mac, outer(node, node_addr)) else {
                continue;
            };
            fdb.insert(mac, FdbEntry { mac, node: outer });
            neighbours.extend(addresses.into_iter().map(|ip| (ip, Neighbour { ip, mac })));
        }
        (
            neighbours.into_values().collect(),
            fdb.into_values().collect(),
        )
    }

    /// Each service with its backends of one family.
    pub fn balanced(&self, v4: bool) -> BTreeMap<String, Balanced> {
        let mut out: BTreeMap<String, Balanced> = BTreeMap::new();
        for service in self.services.values() {
            let vips = parse_ips(&service.virtual_ips)
                .filter(|ip| ip.is_ipv4() == v4)
                .collect();
            out.insert(
                service.service_id.clone(),
                Balanced {
                    vips,
                    ..Balanced::default()
                },
            );
        }
        for task in self.tasks.values() {
            let Some(entry) = out.get_mut(&task.service_id) else {
                continue;
            };
            for ip in parse_ips(&task.addresses).filter(|ip| ip.is_ipv4() == v4) {
                entry.present.insert(ip);
                if task.node_lost {
                    entry.lost.insert(ip);
                }
                if task.in_rotation {
                    entry.backends.push(ip);
                }
            }
        }
        for entry in out.values_mut() {
            entry.backends.sort_unstable();
        }
        out
    }
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
        let (neighbours, fdb) = table.peers("n", &BTreeSet::new(), |_, a| Some(a));
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
        let web = &table.balanced(true)["web"];
        assert_eq!(web.backends, [ip("10.0.1.3")]);
        assert_eq!(web.present.len(), 2);
        assert!(table.balanced(false)["web"].backends.is_empty());
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
}
