//! Ports that are reached from outside by the container's own address, without translation.

use std::net::IpAddr;

use super::Protocol;
use crate::error::NetError;
use crate::host::OPEN;
use crate::net::{Net, State};
use crate::netlink::nft::{Element, Transaction, Value};

/// One such port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The container's address.
    pub container_ip: IpAddr,
    /// Port in the container.
    pub container_port: u16,
}

impl OpenPort {
    pub(crate) fn key(&self) -> Value {
        Value::proto(self.protocol.number())
            .and_ip(self.container_ip)
            .and_port(self.container_port)
    }
}

impl Net {
    /// Lets these ports of `owner` (a container id) be reached, in place of those before. They are
    /// closed with what the owner has published.
    pub fn open_ports(&self, owner: &str, ports: &[OpenPort]) -> Result<(), NetError> {
        let mut state = self.state();
        state.close_ports(owner)?;
        if ports.is_empty() {
            return Ok(());
        }
        state.open.insert(owner.to_owned(), ports.to_vec());
        let opened = state.change_open(ports, true);
        if opened.is_err() {
            state.open.remove(owner);
        }
        self.finish(state, opened)
    }
}

impl State {
    pub(super) fn close_ports(&mut self, owner: &str) -> Result<(), NetError> {
        match self.open.remove(owner) {
            Some(ports) => self.change_open(&ports, false),
            None => Ok(()),
        }
    }

    fn change_open(&mut self, ports: &[OpenPort], add: bool) -> Result<(), NetError> {
        let mut tx = Transaction::new();
        for v4 in [true, false] {
            let mine = ports.iter().filter(|p| p.container_ip.is_ipv4() == v4);
            let elements: Vec<Element> = mine.map(|port| Element::key(port.key())).collect();
            if elements.is_empty() {
                continue;
            }
            let table = self.rules.table(v4);
            if add {
                tx.add_elements(table, OPEN, &elements);
            } else {
                tx.delete_elements(table, OPEN, &elements);
            }
        }
        self.commit_host(tx, "open ports of a container")
    }
}
