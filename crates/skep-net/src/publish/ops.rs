//! Publishing and taking back.

use super::{PortMapping, Protocol, PublishedPort, change};
use crate::error::NetError;
use crate::forget::Forgetting;
use crate::net::{Net, State};
use crate::netlink::conntrack::{Flow, UDP};
use crate::netlink::nft::Transaction;

impl Net {
    /// Publishes ports of `owner` (a container id): all of them or none. Answers the ports chosen,
    /// IPv4 first. What `owner` had published before is replaced.
    pub fn publish(
        &self,
        owner: &str,
        mappings: &[PortMapping],
    ) -> Result<Vec<PublishedPort>, NetError> {
        let mut state = self.state();
        state.unpublish(owner)?;
        let reserved = &mut state.ports;
        let ports = self.inner.host.run(|| reserved.reserve(owner, mappings))?;
        let state_now = &mut *state;
        let installed = state_now.install(&ports);
        let served = installed.and_then(|()| state_now.ports.serve(owner, &state_now.relays));
        if served.is_err() {
            // The first failure is the one to tell.
            let _ = state.unpublish(owner);
        }
        self.finish(state, served).map(|()| ports)
    }

    /// Takes back all that `owner` has published.
    pub fn unpublish(&self, owner: &str) -> Result<(), NetError> {
        let mut state = self.state();
        let result = state.unpublish(owner);
        self.finish(state, result)
    }
}

impl State {
    fn install(&mut self, ports: &[PublishedPort]) -> Result<(), NetError> {
        let keys: Vec<_> = ports.iter().map(PublishedPort::key).collect();
        let mut tx = Transaction::new();
        for v4 in [true, false] {
            let mine: Vec<&PublishedPort> = ports
                .iter()
                .filter(|p| p.host_ip.is_ipv4() == v4 && p.is_translated())
                .collect();
            if mine.is_empty() {
                continue;
            }
            let table = self.rules.table(v4).clone();
            // An element left by an earlier run may lead elsewhere, which the kernel would refuse
            // to change in place.
            let maps = [crate::host::PUBLISH, crate::host::PUBLISH_ANY];
            for map in maps.into_iter().filter(|_| !self.ports_are_known) {
                let old = match self.nft.elements(&table, map) {
                    Err(error) if error.missing() => continue,
                    old => old.map_err(NetError::netlink("read published ports"))?,
                };
                for elem in old.iter().filter(|e| keys.contains(&(map, e.key.clone()))) {
                    let element = crate::netlink::nft::Element::key(elem.key.clone());
                    tx.delete_elements(&table, map, &[element]);
                }
            }
            change(&mut tx, &table, &mine, true);
        }
        self.commit_host(tx, "publish ports")?;
        self.forget_udp(ports);
        Ok(())
    }

    pub(crate) fn unpublish(&mut self, owner: &str) -> Result<(), NetError> {
        self.close_ports(owner)?;
        let ports = self.ports.remove(owner);
        let mut tx = Transaction::new();
        for v4 in [true, false] {
            let mine: Vec<&PublishedPort> = ports
                .iter()
                .filter(|p| p.host_ip.is_ipv4() == v4 && p.is_translated())
                .collect();
            change(&mut tx, self.rules.table(v4), &mine, false);
        }
        self.commit_host(tx, "take back published ports")?;
        self.forget_udp(&ports);
        Ok(())
    }

    /// A UDP flow keeps its translation, or its lack of one, until it is forgotten.
    pub(crate) fn forget_udp(&mut self, ports: &[PublishedPort]) {
        let udp = |p: &&PublishedPort| p.protocol == Protocol::Udp;
        for v4 in [true, false] {
            let mine = ports
                .iter()
                .filter(udp)
                .filter(|p| p.host_ip.is_ipv4() == v4);
            let numbers: Vec<u16> = mine.map(|p| p.host_port).collect();
            if numbers.is_empty() {
                continue;
            }
            let stale =
                move |flow: &Flow| flow.protocol == UDP && numbers.contains(&flow.destination_port);
            let netns = self.host.clone();
            self.forgetting.push(Forgetting {
                netns,
                v4,
                stale: Box::new(stale),
            });
        }
    }
}
