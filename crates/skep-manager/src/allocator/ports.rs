//! Published ports of the routing mesh: one owner in the whole swarm for each protocol and port.

use std::collections::HashMap;

use skep_objects::swarmkit::{PortConfig, port_config::PublishMode};

/// Ports chosen when a service asks for none in particular.
const DYNAMIC: std::ops::RangeInclusive<u32> = 30_000..=32_767;

/// A port could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Another service has it. The text is the one Docker's clients show.
    #[error(
        "port '{port}' is already in use by service '{service}' ({service_id}) as an ingress port"
    )]
    InUse {
        /// The port.
        port: u32,
        /// Name of the service that has it.
        service: String,
        /// Its id.
        service_id: String,
    },
    /// All of the dynamic range is taken.
    #[error("no free port between 30000 and 32767")]
    Exhausted,
}

#[derive(Debug, Clone)]
struct Owner {
    id: String,
    name: String,
}

/// Who has which port.
#[derive(Debug, Clone)]
pub struct PortTable {
    owners: HashMap<(i32, u32), Owner>,
    /// The ports of each owner.
    owned: HashMap<String, Vec<(i32, u32)>>,
    next: u32,
}

impl Default for PortTable {
    fn default() -> Self {
        Self {
            owners: HashMap::new(),
            owned: HashMap::new(),
            next: *DYNAMIC.start(),
        }
    }
}

/// Whether the mesh publishes the port.
#[must_use]
pub fn is_ingress(port: &PortConfig) -> bool {
    port.publish_mode() == PublishMode::Ingress
}

impl PortTable {
    /// Notes the ports that a stored service has.
    pub fn restore(&mut self, id: &str, name: &str, ports: &[PortConfig]) {
        for port in ports.iter().filter(|port| is_ingress(port)) {
            if (self.next..*DYNAMIC.end()).contains(&port.published_port) {
                self.next = port.published_port + 1;
            }
        }
        self.give(id, name, ports);
    }

    /// Frees all ports of a service.
    pub fn release(&mut self, id: &str) {
        for port in self.owned.remove(id).unwrap_or_default() {
            self.owners.remove(&port);
        }
    }

    /// Whether somebody else has one of the fixed ports that a service wants.
    pub fn conflict(&self, id: &str, wanted: &[PortConfig]) -> Option<PortError> {
        wanted
            .iter()
            .filter(|port| is_ingress(port))
            .find_map(|port| {
                let owner = self.owners.get(&(port.protocol, port.published_port))?;
                (owner.id != id).then(|| PortError::InUse {
                    port: port.published_port,
                    service: owner.name.clone(),
                    service_id: owner.id.clone(),
                })
            })
    }

    /// Gives a service the ports of its spec; those it had are freed, and a port that the spec
    /// leaves open keeps its number.
    pub fn assign(
        &mut self,
        id: &str,
        name: &str,
        wanted: &[PortConfig],
        had: &[PortConfig],
    ) -> Result<Vec<PortConfig>, PortError> {
        if let Some(conflict) = self.conflict(id, wanted) {
            return Err(conflict);
        }
        self.release(id);
        let mut ports = wanted.to_vec();
        let open = |port: &PortConfig| is_ingress(port) && port.published_port == 0;
        let mut kept: Vec<&PortConfig> = had.iter().filter(|port| is_ingress(port)).collect();
        for port in ports.iter_mut().filter(|port| open(port)) {
            let same = |old: &&PortConfig| {
                old.name == port.name
                    && old.protocol == port.protocol
                    && old.target_port == port.target_port
                    && DYNAMIC.contains(&old.published_port)
            };
            if let Some(at) = kept.iter().position(same) {
                let number = kept.swap_remove(at).published_port;
                let fixed_elsewhere = wanted
                    .iter()
                    .any(|other| other.protocol == port.protocol && other.published_port == number);
                if !fixed_elsewhere && !self.owners.contains_key(&(port.protocol, number)) {
                    port.published_port = number;
                }
            }
        }
        self.give(id, name, &ports);
        for port in ports.iter_mut().filter(|port| open(port)) {
            port.published_port = self.next_free(port.protocol).ok_or(PortError::Exhausted)?;
            self.give(id, name, std::slice::from_ref(port));
        }
        Ok(ports)
    }

    fn give(&mut self, id: &str, name: &str, ports: &[PortConfig]) {
        for port in ports
            .iter()
            .filter(|port| is_ingress(port) && port.published_port != 0)
        {
            let key = (port.protocol, port.published_port);
            self.owners.entry(key).or_insert_with(|| {
                self.owned.entry(id.to_owned()).or_default().push(key);
                Owner {
                    id: id.to_owned(),
                    name: name.to_owned(),
                }
            });
        }
    }

    fn next_free(&mut self, protocol: i32) -> Option<u32> {
        let (first, last) = (*DYNAMIC.start(), *DYNAMIC.end());
        let port = (self.next..=last)
            .chain(first..self.next)
            .find(|port| !self.owners.contains_key(&(protocol, *port)))?;
        self.next = if port == last { first } else { port + 1 };
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(target: u32, published: u32) -> PortConfig {
        PortConfig {
            target_port: target,
            published_port: published,
            ..Default::default()
        }
    }

    fn numbers(ports: &[PortConfig]) -> Vec<u32> {
        ports.iter().map(|port| port.published_port).collect()
    }

    #[test]
    fn open_ports_come_from_the_dynamic_range_in_sequence() {
        let mut table = PortTable::default();
        let ports = table
            .assign("a", "web", &[port(80, 0), port(81, 0)], &[])
            .unwrap();
        assert_eq!(numbers(&ports), [30_000, 30_001]);
        table.release("a");
        let ports = table.assign("b", "db", &[port(80, 0)], &[]).unwrap();
        assert_eq!(numbers(&ports), [30_002]);
    }

    #[test]
    fn an_open_port_keeps_its_number_over_an_update() {
        let mut table = PortTable::default();
        let had = table.assign("a", "web", &[port(80, 0)], &[]).unwrap();
        let now = table
            .assign("a", "web", &[port(443, 8443), port(80, 0)], &had)
            .unwrap();
        assert_eq!(numbers(&now), [8443, 30_000]);
    }

    #[test]
    fn a_taken_port_is_refused_with_its_owner() {
        let mut table = PortTable::default();
        table.restore("id1", "web", &[port(80, 8080)]);
        let refused = table
            .assign("id2", "other", &[port(80, 8080)], &[])
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "port '8080' is already in use by service 'web' (id1) as an ingress port"
        );
        assert!(
            table
                .assign("id1", "web", &[port(81, 8080)], &[port(80, 8080)])
                .is_ok()
        );
    }

    #[test]
    fn protocols_do_not_conflict_and_host_ports_are_only_copied() {
        let mut table = PortTable::default();
        table.restore("id1", "web", &[port(80, 53)]);
        let udp = PortConfig {
            protocol: 1,
            ..port(53, 53)
        };
        let host = PortConfig {
            publish_mode: PublishMode::Host.into(),
            ..port(53, 53)
        };
        let ports = table.assign("id2", "dns", &[udp, host], &[]).unwrap();
        assert_eq!(numbers(&ports), [53, 53]);
    }
}
