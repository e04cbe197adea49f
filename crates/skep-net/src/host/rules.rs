//! Writing the host's table.

use std::collections::BTreeSet;

use crate::addr::Cidr;
use crate::bridge::{BridgeSpec, GatewayMode};
use crate::netlink::NetlinkError;
use crate::netlink::nft::{
    Chain, Element, Family, Field, Hook, NftSocket, Rule, Set, Table, Transaction, Value,
};

/// Numbers of protocols.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Map of ports published on one address.
pub(crate) const PUBLISH: &str = "publish";
/// Map of ports published on every address.
pub(crate) const PUBLISH_ANY: &str = "publish-any";

/// Set of ports that are reached by the container's own address.
pub(crate) const OPEN: &str = "open";

/// The host's tables of one daemon.
#[derive(Debug)]
pub(crate) struct HostRules {
    tables: [Table; 2],
    /// Chains of bridges that are in the kernel, for each table.
    bridge_chains: [BTreeSet<String>; 2],
    /// This run wrote them: they are as it left them, or gone.
    is_written: bool,
}

impl HostRules {
    /// Finds out what an earlier run left.
    pub fn open(instance: &str, nft: &mut NftSocket) -> Result<HostRules, NetlinkError> {
        let name = format!("skep-{instance}");
        let tables = [
            Table::new(Family::Ip, &name),
            Table::new(Family::Ip6, &name),
        ];
        let mut bridge_chains = [BTreeSet::new(), BTreeSet::new()];
        for (table, chains) in tables.iter().zip(&mut bridge_chains) {
            let ours = |c: &String| c.starts_with("from-") || c.starts_with("to-");
            chains.extend(nft.chains(table)?.into_iter().filter(ours));
        }
        Ok(HostRules {
            tables,
            bridge_chains,
            is_written: false,
        })
    }

    /// The table of an address family.
    pub fn table(&self, v4: bool) -> &Table {
        &self.tables[usize::from(!v4)]
    }

    /// Both tables, if they ought to be there.
    pub fn written(&self) -> &[Table] {
        if self.is_written { &self.tables } else { &[] }
    }

    /// Writes the chains for these bridges. Where somebody took the tables away that is an error:
    /// what else was in them is to be written too ([`HostRules::rewrite`]).
    pub fn write(
        &mut self,
        nft: &mut NftSocket,
        bridges: &[&BridgeSpec],
    ) -> Result<(), NetlinkError> {
        let mut tx = Transaction::new();
        if !self.is_written {
            self.tables.iter().for_each(|t| {
                tx.add_table(t);
            });
        }
        self.write_chains(nft, bridges, tx)
    }

    /// Writes all anew, whatever is there: the chains for these bridges, and what `fill` adds to the
    /// table of a family.
    pub fn rewrite(
        &mut self,
        nft: &mut NftSocket,
        bridges: &[&BridgeSpec],
        fill: impl Fn(&mut Transaction, &Table, bool),
    ) -> Result<(), NetlinkError> {
        let mut tx = Transaction::new();
        self.bridge_chains = [BTreeSet::new(), BTreeSet::new()];
        for (table, v4) in self.tables.iter().zip([true, false]) {
            tx.reset_table(table);
            TableRules::new(table, v4, bridges).maps(&mut tx);
            fill(&mut tx, table, v4);
        }
        self.write_chains(nft, bridges, tx)
    }

    fn write_chains(
        &mut self,
        nft: &mut NftSocket,
        bridges: &[&BridgeSpec],
        mut tx: Transaction,
    ) -> Result<(), NetlinkError> {
        let mut written = [BTreeSet::new(), BTreeSet::new()];
        for (i, v4) in [true, false].into_iter().enumerate() {
            let rules = TableRules::new(&self.tables[i], v4, bridges);
            rules.write(&mut tx, &self.bridge_chains[i]);
            written[i] = rules.bridge_chains();
        }
        nft.commit(tx)?;
        self.bridge_chains = written;
        self.is_written = true;
        Ok(())
    }

    /// Removes both tables.
    pub fn remove(&mut self, nft: &mut NftSocket) -> Result<(), NetlinkError> {
        let mut tx = Transaction::new();
        self.tables.iter().for_each(|t| {
            tx.remove_table(t);
        });
        self.bridge_chains = [BTreeSet::new(), BTreeSet::new()];
        self.is_written = false;
        nft.commit(tx)
    }
}

struct TableRules<'a> {
    table: &'a Table,
    v4: bool,
    bridges: &'a [&'a BridgeSpec],
}

impl<'a> TableRules<'a> {
    fn new(table: &'a Table, v4: bool, bridges: &'a [&'a BridgeSpec]) -> Self {
        Self { table, v4, bridges }
    }

    fn rule(&self) -> Rule {
        self.table.rule()
    }

    fn bridge_chains(&self) -> BTreeSet<String> {
        let names = self.bridges.iter().map(|b| &b.bridge);
        names
            .flat_map(|b| [format!("from-{b}"), format!("to-{b}")])
            .collect()
    }

    fn write(&self, tx: &mut Transaction, old_chains: &BTreeSet<String>) {
        let t = self.table;
        self.maps(tx);
        self.translation(tx);
        self.isolation(tx);
        for stale in old_chains.difference(&self.bridge_chains()) {
            tx.delete_chain(t, stale);
        }
    }

    fn maps(&self, tx: &mut Transaction) {
        let (addr, t) = (Field::address(self.v4), self.table);
        let to = [addr, Field::Port];
        tx.add_set(
            t,
            &Set::map(PUBLISH, &[Field::Proto, addr, Field::Port], &to),
        );
        tx.add_set(t, &Set::map(PUBLISH_ANY, &[Field::Proto, Field::Port], &to));
        tx.add_set(t, &Set::plain(OPEN, &[Field::Proto, addr, Field::Port]));
        for name in ["from", "to"] {
            tx.add_set(t, &Set::vmap(name, &[Field::Ifname]))
                .flush_set(t, name);
        }
    }

    fn translation(&self, tx: &mut Transaction) {
        let t = self.table;
        let loopback = Cidr::new([127, 0, 0, 0].into(), 8);
        let v6_loopback = Cidr::host([0, 0, 0, 0, 0, 0, 0, 1].into());
        if self.v4 {
            let guard = self
                .rule()
                .iifname(false, "lo")
                .daddr(true, loopback)
                .drop();
            tx.set_chain(t, &Chain::base("raw", Hook::RAW), [guard]);
        }
        for (name, hook) in [("prerouting", Hook::DNAT), ("output", Hook::DNAT_OUTPUT)] {
            let mut rules = vec![
                self.rule().dnat_to_mapped(true, PUBLISH),
                self.rule()
                    .daddr_is_local()
                    .dnat_to_mapped(false, PUBLISH_ANY),
            ];
            if !self.v4 {
                // Answers to ::1 do not pass a bridge whose frames are filtered: the daemon itself
                // serves it.
                rules.insert(0, self.rule().daddr(true, v6_loopback).ret());
            }
            tx.set_chain(t, &Chain::base(name, hook), rules);
        }
        let mut rules = Vec::new();
        for spec in self.bridges {
            let bridge = spec.bridge.as_str();
            // The host's own loopback is no source that a container could answer to.
            let source = if self.v4 { loopback } else { v6_loopback };
            rules.push(
                self.rule()
                    .oifname(true, bridge)
                    .saddr(true, source)
                    .masquerade(),
            );
            for subnet in spec
                .subnets
                .iter()
                .filter(|s| s.gateway.is_ipv4() == self.v4)
            {
                let net = subnet.gateway.network();
                // Containers that reach their own network by a published port. (Where bridged
                // frames pass these hooks the frame is bridged and has no input interface here.)
                let hairpin = self.rule().oifname(true, bridge).saddr(true, net);
                rules.push(hairpin.ct_dnat().masquerade());
                let routed = spec.gateway_mode(self.v4) == GatewayMode::Routed;
                if spec.masquerade && !spec.internal && !routed {
                    rules.push(
                        self.rule()
                            .saddr(true, net)
                            .oifname(false, bridge)
                            .masquerade(),
                    );
                }
            }
        }
        tx.set_chain(t, &Chain::base("postrouting", Hook::SNAT), rules);
    }

    /// What may pass between bridges and the outside. An accept here only ends this table's part.
    fn isolation(&self, tx: &mut Transaction) {
        let t = self.table;
        for spec in self.bridges {
            let bridge = spec.bridge.as_str();
            let (from, to) = (format!("from-{bridge}"), format!("to-{bridge}"));
            tx.set_chain(t, &Chain::regular(&from), self.leaving(spec));
            tx.set_chain(t, &Chain::regular(&to), self.entering(spec));
            let key = Value::ifname(bridge);
            tx.add_elements(t, "from", &[Element::jump(key.clone(), &from)]);
            tx.add_elements(t, "to", &[Element::jump(key, &to)]);
        }
        let rules = [
            self.rule().iifname_vmap("from"),
            self.rule().oifname_vmap("to"),
        ];
        tx.set_chain(t, &Chain::base("forward", Hook::FORWARD), rules);
    }

    fn leaving(&self, spec: &BridgeSpec) -> Vec<Rule> {
        let within = || self.rule().oifname(true, &spec.bridge);
        let mut rules = Vec::new();
        if spec.icc {
            rules.push(within().ret());
        } else {
            rules.extend([
                within().ct_dnat().ret(),
                within().ct_known().ret(),
                within().drop(),
            ]);
        }
        if spec.internal {
            rules.push(self.rule().drop());
        }
        rules
    }

    fn entering(&self, spec: &BridgeSpec) -> Vec<Rule> {
        let mut rules = vec![self.rule().iifname(true, &spec.bridge).ret()];
        if !spec.internal && spec.gateway_mode(self.v4) == GatewayMode::NatUnprotected {
            return rules;
        }
        if !spec.internal {
            // Published ports only, and answers.
            rules.extend([self.rule().ct_known().ret(), self.rule().ct_dnat().ret()]);
            rules.push(self.rule().service_at(OPEN).ret());
            if spec.gateway_mode(self.v4) == GatewayMode::Routed {
                // Who routes wants to know whether anybody is there.
                let icmp = if self.v4 { ICMP } else { ICMPV6 };
                rules.push(self.rule().l4proto(icmp).ret());
            }
        }
        rules.push(self.rule().drop());
        rules
    }
}
