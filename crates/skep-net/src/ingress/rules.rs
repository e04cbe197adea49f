//! The host's rules: published ports lead to tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_objects::swarmkit::PortConfig;
use skep_objects::swarmkit::port_config::{Protocol as ProtocolNumber, PublishMode};

use crate::addr::Cidr;
use crate::balance::{Balancer, Share};
use crate::netlink::NetlinkError;
use crate::netlink::conntrack::{Flow, UDP};
use crate::netlink::nft::{Chain, Family, Hook, Key, NftSocket, Rule, Table, Transaction, Value};
use crate::overlay::table::{Balanced, NetworkTable};
use crate::overlay::{End, Stale, ended};
use crate::publish::Protocol;

/// A port that every node answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MeshPort {
    pub protocol: Protocol,
    pub published: u16,
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Target {
    /// The service's id.
    owner: String,
    port: u16,
    service: Arc<Balanced>,
}

impl Target {
    fn share(&self, port: MeshPort) -> Share {
        let backends = self.service.backends.iter();
        Share {
            keys: [port.key()].into(),
            backends: backends
                .map(|ip| Value::ip(*ip).and_port(self.port))
                .collect(),
        }
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

/// The mesh ports of a service, in one family.
fn targets(table: &NetworkTable, id: &str, v4: bool) -> BTreeMap<MeshPort, Target> {
    let Some(service) = table.service(id) else {
        return BTreeMap::new();
    };
    let ports: Vec<_> = ingress_ports(&service.ports).collect();
    if ports.is_empty() {
        return BTreeMap::new();
    }
    let service = Arc::new(table.balanced(id, v4).unwrap_or_default());
    let target = |(published, port)| {
        let (owner, service) = (id.to_owned(), Arc::clone(&service));
        let target = Target {
            owner,
            port,
            service,
        };
        (published, target)
    };
    ports.into_iter().map(target).collect()
}

/// The host's table of one family.
#[derive(Debug)]
pub(crate) struct MeshTable {
    table: Table,
    v4: bool,
    interface: String,
    /// `None` until this run has written the table once.
    applied: Option<BTreeMap<MeshPort, Target>>,
    of_service: BTreeMap<String, BTreeSet<MeshPort>>,
    balancer: Balancer<MeshPort>,
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
            of_service: BTreeMap::new(),
            balancer: Balancer::new(Key::Port, true),
        }
    }

    /// The table, if it ought to be there.
    pub fn written(&self) -> Option<&Table> {
        self.applied.as_ref().map(|_| &self.table)
    }

    /// The kernel has not what was written there: the next [`MeshTable::apply`] writes all.
    pub fn lose(&mut self) {
        self.applied = None;
        self.of_service.clear();
    }

    /// Takes the table away.
    pub fn remove(&mut self, nft: &mut NftSocket) -> Result<(), NetlinkError> {
        let mut tx = Transaction::new();
        tx.remove_table(&self.table);
        self.lose();
        nft.commit(tx)
    }

    /// Brings the host to the table; where it knows the table already, to what it now says of
    /// `services`. Answers which connections are to be forgotten, if any.
    pub fn apply(
        &mut self,
        nft: &mut NftSocket,
        table: &NetworkTable,
        services: Option<&BTreeSet<String>>,
    ) -> Result<Option<Stale>, NetlinkError> {
        let all = || {
            let mut ids = table.service_ids();
            ids.extend(self.of_service.keys().cloned());
            ids
        };
        let is_first = self.applied.is_none();
        let ids = match services {
            Some(services) if !is_first => services.clone(),
            _ => all(),
        };
        let had = self.targets_of(&ids);
        let wanted: BTreeMap<MeshPort, Target> = ids
            .iter()
            .flat_map(|id| targets(table, id, self.v4))
            .collect();
        if had == wanted && !is_first {
            return Ok(None);
        }
        let mut tx = Transaction::new();
        if is_first {
            self.write_frame(&mut tx);
        }
        let gone = had.keys().filter(|port| !wanted.contains_key(port));
        let mut shares: BTreeMap<MeshPort, Option<Share>> =
            gone.map(|port| (*port, None)).collect();
        let share = |(port, target): (&MeshPort, &Target)| (*port, Some(target.share(*port)));
        shares.extend(wanted.iter().map(share));
        let plan = self.balancer.plan(&mut tx, &self.table, shares);
        if let Err(error) = nft.commit(tx) {
            self.lose();
            return Err(error);
        }
        self.balancer.accept(plan);
        let stale = self.stale(&had, &wanted);
        self.note(&had, wanted);
        Ok(stale)
    }

    /// The ports that the host has now.
    pub fn ports(&self) -> impl Iterator<Item = MeshPort> + '_ {
        self.applied.iter().flat_map(BTreeMap::keys).copied()
    }

    /// What the host has of these services.
    fn targets_of(&self, ids: &BTreeSet<String>) -> BTreeMap<MeshPort, Target> {
        let ports = ids.iter().filter_map(|id| self.of_service.get(id));
        let applied = self.applied.as_ref();
        ports
            .flatten()
            .filter_map(|port| Some((*port, applied?.get(port)?.clone())))
            .collect()
    }

    fn note(&mut self, had: &BTreeMap<MeshPort, Target>, wanted: BTreeMap<MeshPort, Target>) {
        let applied = self.applied.get_or_insert_default();
        for port in had.keys() {
            applied.remove(port);
        }
        for target in had.values() {
            self.of_service.remove(&target.owner);
        }
        for (port, target) in wanted {
            let owner = target.owner.clone();
            // A port may change hands before its former owner is heard to have let go.
            if let Some(before) = applied.insert(port, target)
                && let Some(ports) = self.of_service.get_mut(&before.owner)
            {
                ports.remove(&port);
            }
            self.of_service.entry(owner).or_default().insert(port);
        }
    }

    fn write_frame(&mut self, tx: &mut Transaction) {
        let (t, ing) = (&self.table, self.interface.as_str());
        tx.reset_table(t);
        self.balancer.write_frame(tx, t, self.v4);
        if self.v4 {
            let loopback = Cidr::new([127, 0, 0, 0].into(), 8);
            let guard = t.rule().iifname(false, "lo").daddr(true, loopback).drop();
            tx.set_chain(t, &Chain::base("raw", Hook::RAW), [guard]);
        }
        for (name, hook) in [("prerouting", Hook::DNAT), ("output", Hook::DNAT_OUTPUT)] {
            tx.set_chain(
                t,
                &Chain::base(name, hook),
                [self.balancer.rule_for(t.rule().daddr_is_local())],
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
            let ended = ended(&old.service, wanted.get(port).map(|new| &*new.service));
            let ended: BTreeMap<IpAddr, End> = ended.into_iter().collect();
            if !ended.is_empty() {
                ends.insert(port.key_of_flow(), ended);
            }
        }
        // A UDP flow keeps its backend, or its lack of one, until it is forgotten.
        let is_new = |(port, target): &(&MeshPort, &Target)| {
            let old = had.get(port).filter(|_| self.applied.is_some());
            old.is_none_or(|old| target.service.wakes(&old.service))
        };
        let udp = wanted.iter().filter(|(p, _)| p.protocol == Protocol::Udp);
        let new_udp: BTreeMap<u16, BTreeSet<IpAddr>> = udp
            .filter(is_new)
            .map(|(port, target)| {
                let backends = target.service.backends.iter().copied().collect();
                (port.published, backends)
            })
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
    /// Protocol number and port of connections to it.
    fn key_of_flow(self) -> (u8, u16) {
        (self.protocol.number(), self.published)
    }

    fn key(self) -> Value {
        Value::proto(self.protocol.number()).and_port(self.published)
    }
}
