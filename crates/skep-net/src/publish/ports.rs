//! Which container has which port of the host.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::hold::{Held, hold, hold_to_serve};
use super::relay::{Relay, Relays};
use super::{PortMapping, Protocol, PublishedPort};
use crate::error::NetError;
use crate::host::{PUBLISH, PUBLISH_ANY};
use crate::netlink::nft::{Element, Table, Transaction, Value};

/// The ports of one daemon's containers.
#[derive(Debug)]
pub(crate) struct Ports {
    owners: BTreeMap<String, Vec<Entry>>,
    /// The next port for those who leave the choice to us, and the range.
    next: u16,
    ephemeral: (u16, u16),
    has_ipv6: bool,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub port: PublishedPort,
    // Before the socket: it uses it.
    relay: Option<Relay>,
    held: Held,
    may_relay: bool,
}

impl Ports {
    /// No ports yet; `ephemeral` is the range for those who leave the choice to us; whether the host
    /// has IPv6.
    pub fn new(ephemeral: (u16, u16), has_ipv6: bool) -> Ports {
        Ports {
            owners: BTreeMap::new(),
            next: ephemeral.0,
            ephemeral,
            has_ipv6,
        }
    }

    /// All published ports.
    pub fn published(&self) -> impl Iterator<Item = &PublishedPort> {
        self.owners.values().flatten().map(|e| &e.port)
    }

    /// Takes back an owner's ports.
    pub fn remove(&mut self, owner: &str) -> Vec<PublishedPort> {
        self.owners
            .remove(owner)
            .into_iter()
            .flatten()
            .map(|e| e.port)
            .collect()
    }

    /// Gives an owner its ports, all or none.
    pub fn reserve(
        &mut self,
        owner: &str,
        mappings: &[PortMapping],
    ) -> Result<Vec<PublishedPort>, NetError> {
        let mut entries = Vec::new();
        for mapping in mappings {
            let found = self.find(mapping, &entries)?;
            entries.extend(found);
        }
        let mut ports: Vec<PublishedPort> = entries.iter().map(|e| e.port.clone()).collect();
        ports.sort();
        self.owners.insert(owner.to_owned(), entries);
        Ok(ports)
    }

    /// Serves those of an owner's ports that the kernel does not translate.
    pub fn serve(&mut self, owner: &str, relays: &Relays) -> Result<(), NetError> {
        for entry in self.owners.get_mut(owner).into_iter().flatten() {
            if !entry.port.is_relayed() || !entry.may_relay {
                continue;
            }
            let port = &entry.port;
            let failed = |source| NetError::Socket {
                attempt: format!(
                    "serve host port {}/{}",
                    SocketAddr::new(port.host_ip, port.host_port),
                    port.protocol
                ),
                source,
            };
            let socket = entry.held.socket().map_err(failed)?;
            entry.relay = Some(relays.start(port, socket).map_err(failed)?);
        }
        Ok(())
    }

    fn find(&mut self, mapping: &PortMapping, taken: &[Entry]) -> Result<Vec<Entry>, NetError> {
        let (first, last) = match mapping.host_port {
            0 => return self.find_ephemeral(mapping, taken),
            first => (first, mapping.host_port_end.max(first)),
        };
        for port in first..=last {
            match self.claim(mapping, port, taken) {
                Err(NetError::PortAllocated { .. } | NetError::PortInUse { .. })
                    if first != last => {}
                other => return other,
            }
        }
        Err(NetError::NoPortFree)
    }

    fn find_ephemeral(
        &mut self,
        mapping: &PortMapping,
        taken: &[Entry],
    ) -> Result<Vec<Entry>, NetError> {
        let (low, high) = self.ephemeral;
        for _ in low..=high {
            let port = self.next;
            self.next = if port >= high { low } else { port + 1 };
            match self.claim(mapping, port, taken) {
                Err(NetError::PortAllocated { .. } | NetError::PortInUse { .. }) => {}
                other => return other,
            }
        }
        Err(NetError::NoPortFree)
    }

    /// One port for each of the host's families that the mapping is for.
    fn claim(
        &self,
        mapping: &PortMapping,
        port: u16,
        taken: &[Entry],
    ) -> Result<Vec<Entry>, NetError> {
        let mut out = Vec::new();
        for (host_ip, container_ip) in self.ways(mapping) {
            let published = PublishedPort {
                protocol: mapping.protocol,
                host_ip,
                host_port: port,
                container_ip,
                container_port: mapping.container_port,
            };
            let others = self.owners.values().flatten().chain(taken).chain(&out);
            if others.map(|e| &e.port).any(|p| conflicts(p, &published)) {
                return Err(NetError::PortAllocated { host_ip, port });
            }
            let may_relay = mapping.relay;
            let serve = may_relay && published.is_relayed();
            let held = bind(mapping.protocol, host_ip, port, serve)?;
            out.push(Entry {
                port: published,
                relay: None,
                held,
                may_relay,
            });
        }
        Ok(out)
    }

    /// Which address of the host leads to which of the container.
    fn ways(&self, mapping: &PortMapping) -> Vec<(IpAddr, IpAddr)> {
        let may_relay = mapping.relay && mapping.protocol != Protocol::Sctp;
        let of_family = |v4: bool| {
            let mut ips = mapping.container_ips.iter().copied();
            ips.find(|ip| ip.is_ipv4() == v4)
        };
        let for_host = |host: IpAddr| {
            let same = of_family(host.is_ipv4());
            let other = || of_family(!host.is_ipv4()).filter(|_| may_relay);
            Some((host, same.or_else(other)?))
        };
        if let Some(host) = mapping.host_ip {
            let refused = host.is_ipv6() && host.is_loopback() && !may_relay;
            return for_host(host).filter(|_| !refused).into_iter().collect();
        }
        let v4 = of_family(true).map(|ip| (Ipv4Addr::UNSPECIFIED.into(), ip));
        // A container without IPv6 is reached over IPv6 too, as `localhost` often is; not the other
        // way round.
        let v6 = for_host(Ipv6Addr::UNSPECIFIED.into());
        let has_v6 = of_family(false).is_some() || self.has_ipv6;
        v4.into_iter().chain(v6.filter(|_| has_v6)).collect()
    }
}

fn bind(protocol: Protocol, host_ip: IpAddr, port: u16, serve: bool) -> Result<Held, NetError> {
    let address = SocketAddr::new(host_ip, port);
    let held = if serve {
        hold_to_serve(protocol, address)
    } else {
        hold(protocol, address)
    };
    held.map_err(|e| match e.raw_os_error() {
        Some(libc::EADDRINUSE) => NetError::PortInUse {
            host_ip,
            port,
            protocol,
        },
        Some(libc::EADDRNOTAVAIL) => NetError::AddressNotLocal {
            host_ip,
            port,
            protocol,
        },
        _ => NetError::Socket {
            attempt: format!("bind host port {address}/{protocol}"),
            source: e,
        },
    })
}

fn conflicts(a: &PublishedPort, b: &PublishedPort) -> bool {
    a.protocol == b.protocol
        && a.host_port == b.host_port
        && a.host_ip.is_ipv4() == b.host_ip.is_ipv4()
        && (a.host_ip == b.host_ip || a.host_ip.is_unspecified() || b.host_ip.is_unspecified())
}

impl PublishedPort {
    /// The map and the element that serve this port.
    pub(crate) fn element(&self) -> (&'static str, Element) {
        let (map, key) = self.key();
        let to = Value::ip(self.container_ip).and_port(self.container_port);
        (map, Element::pair(key, to))
    }

    /// The map and the key.
    pub(crate) fn key(&self) -> (&'static str, Value) {
        let proto = Value::proto(self.protocol.number());
        if self.host_ip.is_unspecified() {
            (PUBLISH_ANY, proto.and_port(self.host_port))
        } else {
            (PUBLISH, proto.and_ip(self.host_ip).and_port(self.host_port))
        }
    }
}

/// Adds (or removes) the elements of these ports.
pub(crate) fn change(tx: &mut Transaction, table: &Table, ports: &[&PublishedPort], add: bool) {
    for port in ports {
        if add {
            let (map, element) = port.element();
            tx.add_elements(table, map, &[element]);
        } else {
            let (map, key) = port.key();
            tx.delete_elements(table, map, &[Element::key(key)]);
        }
    }
}
