//! The names of one network. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use skep_objects::swarmkit::endpoint_spec::ResolutionMode;

use crate::overlay::table::{NetworkTable, parse_ips};

/// Whose names they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// An endpoint on this host.
    Endpoint(String),
    /// A service.
    Service(String),
    /// A task, wherever it is.
    Task(String),
}

/// What one owner adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Share {
    /// Lower-case name and what it leads to; a name may be known and lead nowhere.
    names: Vec<(String, Vec<IpAddr>)>,
    reverse: Vec<(IpAddr, String)>,
}

/// What a name leads to: each address with the number of owners that say so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    owners: usize,
    addresses: BTreeMap<IpAddr, usize>,
}

/// What one network's names lead to, and back. A change costs what its owner's names do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkNames {
    /// The network's own name: `<container>.<network>` is found too.
    network: String,
    shares: BTreeMap<Owner, Share>,
    forward: BTreeMap<String, Entry>,
    reverse: BTreeMap<IpAddr, BTreeMap<Owner, String>>,
}

impl NetworkNames {
    /// No names yet.
    pub fn new(network: &str) -> Self {
        Self {
            network: network.to_lowercase(),
            ..Self::default()
        }
    }

    /// Sets an endpoint's names; the first of them is what its address is called.
    pub fn set_endpoint(&mut self, id: &str, names: &[String], addresses: &[IpAddr]) {
        let share = self.of_container(names, addresses);
        self.set(Owner::Endpoint(id.to_owned()), share);
    }

    fn of_container(&self, names: &[String], addresses: &[IpAddr]) -> Share {
        let mut share = Share::default();
        for name in names {
            share.add(name, addresses);
        }
        if let Some(first) = names.first() {
            let full = format!("{first}.{}", self.network);
            share.reverse = addresses.iter().map(|ip| (*ip, full.clone())).collect();
        }
        share
    }

    /// Brings a service's own names to what the table has.
    pub fn sync_service(&mut self, table: &NetworkTable, id: &str) {
        let owner = Owner::Service(id.to_owned());
        let Some(service) = table.service(id) else {
            return self.remove(&owner);
        };
        let vips: Vec<IpAddr> = parse_ips(&service.virtual_ips).collect();
        let mut share = Share::default();
        // A service without tasks is known all the same: its name is not asked elsewhere.
        share.add(&service.name, &vips);
        share.add(&format!("tasks.{}", service.name), &[]);
        let full = format!("{}.{}", service.name, self.network);
        share.reverse = vips.into_iter().map(|vip| (vip, full.clone())).collect();
        self.set(owner, share);
    }

    /// Brings a task's names to what the table has.
    pub fn sync_task(&mut self, table: &NetworkTable, id: &str) {
        let owner = Owner::Task(id.to_owned());
        let Some(task) = table.task(id) else {
            return self.remove(&owner);
        };
        let own: Vec<IpAddr> = parse_ips(&task.addresses).collect();
        let mut share = self.of_container(std::slice::from_ref(&task.name), &own);
        let serving: &[IpAddr] = if task.in_rotation { &own } else { &[] };
        let Some(service) = table.service(&task.service_id) else {
            task.aliases.iter().for_each(|alias| share.add(alias, &own));
            return self.set(owner, share);
        };
        let vips: Vec<IpAddr> = parse_ips(&service.virtual_ips).collect();
        let round_robin = service.mode == ResolutionMode::Dnsrr as i32 || vips.is_empty();
        for name in task.aliases.iter().chain([&service.name]) {
            share.add(&format!("tasks.{name}"), serving);
            share.add(name, if round_robin { serving } else { &vips });
        }
        self.set(owner, share);
    }

    fn set(&mut self, owner: Owner, share: Share) {
        if self.shares.get(&owner) == Some(&share) {
            return;
        }
        self.remove(&owner);
        for (name, addresses) in &share.names {
            let entry = self.forward.entry(name.clone()).or_default();
            entry.owners += 1;
            for ip in addresses {
                *entry.addresses.entry(*ip).or_default() += 1;
            }
        }
        for (ip, name) in &share.reverse {
            let called = self.reverse.entry(*ip).or_default();
            called.insert(owner.clone(), name.clone());
        }
        self.shares.insert(owner, share);
    }

    /// Takes an owner's names away.
    pub fn remove(&mut self, owner: &Owner) {
        let Some(share) = self.shares.remove(owner) else {
            return;
        };
        for (name, addresses) in share.names {
            let Some(entry) = self.forward.get_mut(&name) else {
                continue;
            };
            entry.owners -= 1;
            for ip in addresses {
                if let Some(count) = entry.addresses.get_mut(&ip) {
                    *count -= 1;
                    if *count == 0 {
                        entry.addresses.remove(&ip);
                    }
                }
            }
            if entry.owners == 0 {
                self.forward.remove(&name);
            }
        }
        for (ip, _) in share.reverse {
            if let Some(called) = self.reverse.get_mut(&ip) {
                called.remove(owner);
                if called.is_empty() {
                    self.reverse.remove(&ip);
                }
            }
        }
    }

    /// The addresses of a lower-case name; `None` if it is not one of this network's.
    pub fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        let qualified = || name.strip_suffix(&self.network)?.strip_suffix('.');
        let entry = self.forward.get(name);
        let entry = entry.or_else(|| self.forward.get(qualified()?))?;
        Some(entry.addresses.keys().copied().collect())
    }

    /// What an address is called: by an endpoint here first.
    pub fn reverse(&self, ip: IpAddr) -> Option<&str> {
        let (_, name) = self.reverse.get(&ip)?.first_key_value()?;
        Some(name)
    }
}

impl Share {
    fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        if !name.is_empty() {
            self.names.push((name.to_lowercase(), addresses.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::skep_v1::{NetworkEndpoints, ServiceEndpoint, TaskEndpoint};

    fn names(mode: ResolutionMode, vips: &[&str]) -> NetworkNames {
        let mut change = NetworkEndpoints::default();
        let service = ServiceEndpoint {
            service_id: "s1".into(),
            name: "Web".into(),
            virtual_ips: vips.iter().map(|v| (*v).into()).collect(),
            mode: mode as i32,
            ..ServiceEndpoint::default()
        };
        change.set_services.push(service);
        for (n, in_rotation) in [(3, true), (4, true), (5, false)] {
            let task = TaskEndpoint {
                task_id: format!("t{n}"),
                service_id: "s1".into(),
                name: format!("Web.{n}.t{n}"),
                addresses: vec![format!("10.0.1.{n}")],
                aliases: vec!["www".into()],
                in_rotation,
                ..TaskEndpoint::default()
            };
            change.set_tasks.push(task);
        }
        let mut table = NetworkTable::default();
        let changed = table.merge(&change);
        let mut names = NetworkNames::new("Net");
        for id in &changed.named_services {
            names.sync_service(&table, id);
        }
        for id in &changed.named_tasks {
            names.sync_task(&table, id);
        }
        names
    }

    fn check(names: &NetworkNames, name: &str, expect: Option<&[&str]>) {
        let got = names
            .resolve(name)
            .map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>());
        let expect: Option<Vec<String>> =
            expect.map(|e| e.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(got, expect, "{name}");
    }

    #[test]
    fn a_service_is_its_virtual_address_and_tasks_are_their_own() {
        let names = names(ResolutionMode::Vip, &["10.0.1.2"]);
        check(&names, "web", Some(&["10.0.1.2"]));
        check(&names, "www", Some(&["10.0.1.2"]));
        check(&names, "web.net", Some(&["10.0.1.2"]));
        check(&names, "tasks.web", Some(&["10.0.1.3", "10.0.1.4"]));
        check(&names, "tasks.www", Some(&["10.0.1.3", "10.0.1.4"]));
        check(&names, "web.3.t3", Some(&["10.0.1.3"]));
        check(&names, "web.5.t5", Some(&["10.0.1.5"]));
        check(&names, "web.other", None);
        check(&names, "net", None);
        check(&names, "", None);
        assert_eq!(names.reverse([10, 0, 1, 3].into()), Some("Web.3.t3.net"));
        assert_eq!(names.reverse([10, 0, 1, 2].into()), Some("Web.net"));
    }

    #[test]
    fn a_round_robin_service_is_all_its_tasks_in_rotation() {
        let names = names(ResolutionMode::Dnsrr, &[]);
        check(&names, "web", Some(&["10.0.1.3", "10.0.1.4"]));
        check(&names, "tasks.web", Some(&["10.0.1.3", "10.0.1.4"]));
    }

    #[test]
    fn a_container_on_a_local_network_is_found_by_each_of_its_names() {
        let mut names = NetworkNames::new("mynet");
        names.set_endpoint(
            "e",
            &["db".into(), "alias".into()],
            &[[172, 18, 0, 2].into()],
        );
        check(&names, "db", Some(&["172.18.0.2"]));
        check(&names, "alias.mynet", Some(&["172.18.0.2"]));
        assert_eq!(names.reverse([172, 18, 0, 2].into()), Some("db.mynet"));
    }

    #[test]
    fn an_owner_that_goes_takes_only_its_own_names() {
        let mut names = NetworkNames::new("mynet");
        let before = names.clone();
        names.set_endpoint("e", &["db".into()], &[[172, 18, 0, 2].into()]);
        names.set_endpoint(
            "f",
            &["db".into()],
            &[[172, 18, 0, 2].into(), [172, 18, 0, 3].into()],
        );
        names.remove(&Owner::Endpoint("f".into()));
        check(&names, "db", Some(&["172.18.0.2"]));
        names.remove(&Owner::Endpoint("e".into()));
        assert_eq!(names, before);
    }
}
