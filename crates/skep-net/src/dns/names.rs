//! The names of one network. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_objects::swarmkit::endpoint_spec::ResolutionMode;

use crate::overlay::table::{NetworkTable, parse_ips};

/// What one network's names lead to, and back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkNames {
    /// The network's own name: `<container>.<network>` is found too.
    network: String,
    forward: BTreeMap<String, BTreeSet<IpAddr>>,
    reverse: BTreeMap<IpAddr, String>,
}

impl NetworkNames {
    /// No names yet.
    pub fn new(network: &str) -> Self {
        Self {
            network: network.to_lowercase(),
            ..Self::default()
        }
    }

    /// Adds an endpoint with its names; the first of them is what its address is called.
    pub fn add_endpoint(&mut self, names: &[String], addresses: impl IntoIterator<Item = IpAddr>) {
        for ip in addresses {
            for name in names {
                self.add(name, [ip]);
            }
            if let Some(first) = names.first() {
                self.reverse.insert(ip, format!("{first}.{}", self.network));
            }
        }
    }

    fn add(&mut self, name: &str, ips: impl IntoIterator<Item = IpAddr>) {
        if !name.is_empty() {
            self.forward
                .entry(name.to_lowercase())
                .or_default()
                .extend(ips);
        }
    }

    /// Adds what the managers say about the network.
    pub fn add_table(&mut self, table: &NetworkTable) {
        for service in table.services.values() {
            let vips: Vec<IpAddr> = parse_ips(&service.virtual_ips).collect();
            // A service without tasks is known all the same: its name is not asked elsewhere.
            self.add(&service.name, vips.iter().copied());
            self.add(&format!("tasks.{}", service.name), []);
            for vip in vips {
                self.reverse
                    .insert(vip, format!("{}.{}", service.name, self.network));
            }
        }
        for task in table.tasks.values() {
            let own: Vec<IpAddr> = parse_ips(&task.addresses).collect();
            self.add_endpoint(std::slice::from_ref(&task.name), own.iter().copied());
            let serving: &[IpAddr] = if task.in_rotation { &own } else { &[] };
            let Some(service) = table.services.get(&task.service_id) else {
                for alias in &task.aliases {
                    self.add(alias, own.iter().copied());
                }
                continue;
            };
            let round_robin =
                service.mode == ResolutionMode::Dnsrr as i32 || service.virtual_ips.is_empty();
            for name in task.aliases.iter().chain([&service.name]) {
                self.add(&format!("tasks.{name}"), serving.iter().copied());
                if round_robin {
                    self.add(name, serving.iter().copied());
                } else {
                    self.add(name, parse_ips(&service.virtual_ips));
                }
            }
        }
    }

    /// The addresses of a lower-case name; `None` if it is not one of this network's.
    pub fn resolve(&self, name: &str) -> Option<&BTreeSet<IpAddr>> {
        let qualified = || name.strip_suffix(&self.network)?.strip_suffix('.');
        self.forward
            .get(name)
            .or_else(|| self.forward.get(qualified()?))
    }

    /// What an address is called.
    pub fn reverse(&self, ip: IpAddr) -> Option<&str> {
        self.reverse.get(&ip).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::skep_v1::{ServiceEndpoint, TaskEndpoint};

    fn names(mode: ResolutionMode, vips: &[&str]) -> NetworkNames {
        let mut table = NetworkTable::default();
        let service = ServiceEndpoint {
            service_id: "s1".into(),
            name: "Web".into(),
            virtual_ips: vips.iter().map(|v| (*v).into()).collect(),
            mode: mode as i32,
            ..ServiceEndpoint::default()
        };
        table.services.insert("s1".into(), service);
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
            table.tasks.insert(task.task_id.clone(), task);
        }
        let mut names = NetworkNames::new("Net");
        names.add_table(&table);
        names
    }

    fn check(names: &NetworkNames, name: &str, expect: Option<&[&str]>) {
        let got = names
            .resolve(name)
            .map(|s| s.iter().map(ToString::to_string).collect());
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
        names.add_endpoint(&["db".into(), "alias".into()], [[172, 18, 0, 2].into()]);
        check(&names, "db", Some(&["172.18.0.2"]));
        check(&names, "alias.mynet", Some(&["172.18.0.2"]));
        assert_eq!(names.reverse([172, 18, 0, 2].into()), Some("db.mynet"));
    }
}
