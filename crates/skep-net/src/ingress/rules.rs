//! The host's rules: published ports lead to tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_objects::swarmkit::PortConfig;
use skep_objects::swarmkit::port_config::{Protocol as ProtocolNumber, PublishMode};

use crate::addr::Cidr;
use crate::netlink::NetlinkError;
use crate::netlink::conntrack::{Flow, UDP};
use crate::netlink::nft::{
    Chain, Element, Family, Field, Hook, NftSocket, Rule, Set, Table, Transaction, Value,
};
use crate::overlay::Stale;
use crate::overlay::table::NetworkTable;
use crate::publish::Protocol;

const PORTS: &str = "ports";

/// A port that every node answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MeshPort {
    pub protocol: Protocol,
    pub published: u16,
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub port: u16,
    pub backends: Vec<IpAddr>,
}

/// The ingress ports of a service: published and target.
pub(crate) fn ingress_ports(ports: &[PortConfig]) -> impl Iterator<Item = (MeshPort, u16)> + '_ {
    ports
        .iter()
        .filter(|p| p.publish_mode == PublishMode::Ingress as i32)
        .filter_map(|p| {
            let protocol = match ProtocolNumber::try_from(p.protocol).ok()? {
                ProtocolNumber::Tcp => Protocol::Tcp,
                ProtocolNumber::Udp => Protocol::Udp,
                ProtocolNumber::Sctp => Protocol::Sctp,
            };
            let published = u16::try_from(p.published_port).ok().filter(|n| *n != 0)?;
            let target = u16::try_from(p.target_port).ok()?;
            Some((
                MeshPort {
                    protocol,
                    published,
                },
                target,
            ))
        })
}

/// All mesh ports of one family.
pub(crate) fn targets(table: &NetworkTable, v4: bool) -> BTreeMap<MeshPort, Target> {
    let balanced = table.balanced(v4);
    let mut out = BTreeMap::new();
    for service in table.services.values() {
        let backends = balanced
            .get(&service.service_id)
            .map(|b| b.backends.clone());
        for (port, target) in ingress_ports(&service.ports) {
            let backends = backends.clone().unwrap_or_default();
            out.insert(
                port,
                Target {
                    port: target,
                    backends,
                },
            );
        }
    }
    out
}

/// The host's table of one family.
#[derive(Debug)]
pub(crate) struct MeshTable {
    table: Table,
    v4: bool,
    interface: String,
    /// `None` until this run has written the table once.
    applied: Option<BTreeMap<MeshPort, Target>>,
}

/// Removes the tables of both families, whether they exist or not.
pub(crate) fn remove_tables(instance: &str, nft: &mut NftSocket) -> Result<(), NetlinkError> {
    let mut tx = Transaction::new();
    for v4 in [true, false] {
        tx.remove_table(&MeshTable::new(instance, "", v4).table);
    }
    nft.commit(tx)
}

impl MeshTable {
    pub fn new(instance: &str, interface: &str, v4: bool) -> MeshTable {
        let family = if v4 { Family::Ip } else { Family::Ip6 };
        let table = Table::new(family, format!("skep-{instance}-ingress"));
        MeshTable {
            table,
            v4,
            interface: interface.to_owned(),
            applied: None,
        }
    }

    /// Takes the table away.
    pub fn remove(&mut self, nft: &mut NftSocket) -> Result<(), NetlinkError> {
        let mut tx = Transaction::new();
        tx.remove_table(&self.table);
        self.applied = None;
        nft.commit(tx)
    }

    /// Brings the host to these ports. Answers which connections are to be forgotten, if any.
    pub fn apply(
        &mut self,
        nft: &mut NftSocket,
        wanted: BTreeMap<MeshPort, Target>,
    ) -> Result<Option<Stale>, NetlinkError> {
        if self.applied.as_ref() == Some(&wanted) {
            return Ok(None);
        }
        let mut tx = Transaction::new();
        let none = BTreeMap::new();
        let had = match &self.applied {
            Some(had) => had,
            None => {
                self.write_frame(&mut tx);
                &none
            }
        };
        self.change(&mut tx, had, &wanted);
        nft.commit(tx)?;
        let first = self.applied.is_none();
        let lost = |(port, old): (&MeshPort, &Target)| {
            let new = wanted.get(port).map(|t| &t.backends);
            old.backends
                .iter()
                .any(|b| new.is_none_or(|n| !n.contains(b)))
        };
        let new_port = wanted.keys().any(|p| !had.contains_key(p));
        let stale = first || new_port || had.iter().any(lost);
        self.applied = Some(wanted);
        Ok(stale.then(|| self.stale_udp()))
    }

    fn change(
        &self,
        tx: &mut Transaction,
        had: &BTreeMap<MeshPort, Target>,
        wanted: &BTreeMap<MeshPort, Target>,
    ) {
        let t = &self.table;
        for port in had.keys().filter(|p| !wanted.contains_key(p)) {
            tx.delete_elements(t, PORTS, &[Element::key(port.key())]);
            tx.delete_chain(t, &port.chain());
        }
        for (port, target) in wanted.iter().filter(|(p, t)| had.get(p) != Some(t)) {
            let rule = t.rule().l4proto(port.protocol.number());
            let rule = rule.dnat_round_robin(&target.backends, Some(target.port));
            tx.set_chain(t, &Chain::regular(&port.chain()), [rule]);
            if !had.contains_key(port) {
                tx.add_elements(t, PORTS, &[Element::jump(port.key(), &port.chain())]);
            }
        }
    }

    fn write_frame(&self, tx: &mut Transaction) {
        let (t, ing) = (&self.table, self.interface.as_str());
        tx.reset_table(t);
        tx.add_set(t, &Set::vmap(PORTS, &[Field::Proto, Field::Port]));
        if self.v4 {
            let loopback = Cidr::new([127, 0, 0, 0].into(), 8);
            let guard = t.rule().iifname(false, "lo").daddr(true, loopback).drop();
            tx.set_chain(t, &Chain::base("raw", Hook::RAW), [guard]);
        }
        for (name, hook) in [("prerouting", Hook::DNAT), ("output", Hook::DNAT_OUTPUT)] {
            tx.set_chain(
                t,
                &Chain::base(name, hook),
                [t.rule().daddr_is_local().service_vmap(PORTS)],
            );
        }
        // The node itself, 127.0.0.1 too; other clients keep their address.
        let own = t.rule().oifname(true, ing).saddr_is_local().masquerade();
        tx.set_chain(t, &Chain::base("postrouting", Hook::SNAT), [own]);
        // Nothing but translated connections and their answers passes, and tasks reach nothing of
        // the host by this way.
        let from = || -> Rule { t.rule().iifname(true, ing) };
        let to = || -> Rule { t.rule().oifname(true, ing) };
        let forward = [
            from().ct_known().ret(),
            from().drop(),
            to().ct_known().ret(),
            to().ct_dnat().ret(),
            to().drop(),
        ];
        tx.set_chain(t, &Chain::base("forward", Hook::FORWARD), forward);
        let mut input = vec![from().ct_known().ret()];
        if !self.v4 {
            // Neighbour discovery.
            input.push(from().l4proto(58).ret());
        }
        input.push(from().drop());
        tx.set_chain(t, &Chain::base("input", Hook::INPUT), input);
    }

    /// A UDP flow keeps its backend, or its lack of one, until it is forgotten.
    fn stale_udp(&self) -> Stale {
        let udp = self
            .applied
            .iter()
            .flatten()
            .filter(|(p, _)| p.protocol == Protocol::Udp);
        let serving: BTreeMap<u16, BTreeSet<IpAddr>> = udp
            .map(|(p, t)| (p.published, t.backends.iter().copied().collect()))
            .collect();
        let stale = move |flow: &Flow| {
            let backends = serving.get(&flow.destination_port);
            flow.protocol == UDP && backends.is_some_and(|b| !b.contains(&flow.reply_source))
        };
        Box::new(stale)
    }
}

impl MeshPort {
    fn chain(self) -> String {
        format!("{}-{}", self.protocol, self.published)
    }

    fn key(self) -> Value {
        Value::proto(self.protocol.number()).and_port(self.published)
    }
}
