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
use crate::overlay::{End, Stale, ended};
use crate::overlay::table::{Balanced, NetworkTable};
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
    pub service: Balanced,
}

impl Target {
    /// Whether both lead to the same backends.
    fn leads_as(&self, other: &Target) -> bool {
        self.port == other.port && self.service.backends == other.service.backends
    }
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
        for (published, port) in ingress_ports(&service.ports) {
            let service = balanced.get(&service.service_id).cloned();
            let service = service.unwrap_or_default();
            out.insert(published, Target { port, service });
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
        let stale = self.stale(had, &wanted);
        self.applied = Some(wanted);
        Ok(stale)
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
        let is_new = |(port, target): &(&MeshPort, &Target)| {
            let old = had.get(port);
            old.is_none_or(|old| !old.leads_as(target))
        };
        for (port, target) in wanted.iter().filter(is_new) {
            let protocol = Some(port.protocol.number());
            let backends = &target.service.backends;
            tx.set_balancer(t, &port.chain(), protocol, backends, Some(target.port));
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

    /// Which connections are to be forgotten by this change, if any.
    fn stale(
        &self,
        had: &BTreeMap<MeshPort, Target>,
        wanted: &BTreeMap<MeshPort, Target>,
    ) -> Option<Stale> {
        let mut ends: BTreeMap<(u8, u16), BTreeMap<IpAddr, End>> = BTreeMap::new();
        for (port, old) in had {
            let ended = ended(&old.service, wanted.get(port).map(|new| &new.service));
            let ended: BTreeMap<IpAddr, End> = ended.into_iter().collect();
            if !ended.is_empty() {
                ends.insert(port.key_of_flow(), ended);
            }
        }
        // A UDP flow keeps its backend, or its lack of one, until it is forgotten.
        let is_new = |port: &&MeshPort| self.applied.is_none() || !had.contains_key(port);
        let udp = wanted.keys().filter(|p| p.protocol == Protocol::Udp);
        let new_udp: BTreeMap<u16, BTreeSet<IpAddr>> = udp
            .filter(is_new)
            .filter_map(|port| Some((port.published, wanted.get(port)?)))
            .map(|(port, target)| (port, target.service.backends.iter().copied().collect()))
            .collect();
        if ends.is_empty() && new_udp.is_empty() {
            return None;
        }
        let stale = move |flow: &Flow| {
            let ended = ends.get(&(flow.protocol, flow.destination_port));
            let end = ended.and_then(|ended| ended.get(&flow.reply_source));
            let backends = new_udp.get(&flow.destination_port);
            let missed = backends.is_some_and(|backends| !backends.contains(&flow.reply_source));
            end.is_some_and(|end| end.forgets(flow)) || (flow.protocol == UDP && missed)
        };
        Some(Box::new(stale))
    }
}

impl MeshPort {
    fn chain(self) -> String {
        format!("{}-{}", self.protocol, self.published)
    }

    /// Protocol number and port of connections to it.
    fn key_of_flow(self) -> (u8, u16) {
        (self.protocol.number(), self.published)
    }

    fn key(self) -> Value {
        Value::proto(self.protocol.number()).and_port(self.published)
    }
}
