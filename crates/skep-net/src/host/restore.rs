//! Writing the host's tables again where another program took them away.

use crate::error::NetError;
use crate::forget::Forgetting;
use crate::net::{Net, State};
use crate::netlink::conntrack::Flow;
use crate::netlink::nft::{Element, Family, Table, Transaction};
use crate::publish::{OpenPort, PublishedPort, change};

/// What another program took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Tables of ours.
    pub tables: Vec<Table>,
    /// The way past a chain of the host's that drops what it does not know.
    pub passage: bool,
    /// Perhaps more: the kernel could not tell all.
    pub is_unknown: bool,
    /// Which program it was.
    pub program: String,
}

impl Net {
    /// Puts back what another program took.
    pub(crate) fn restore(&self, loss: &Loss) {
        let mut state = self.state();
        let restored = state.restore(loss);
        if let Err(error) = self.finish(state, restored) {
            tracing::error!(%error, "firewall rules that another program removed are not back");
        }
    }
}

impl State {
    fn restore(&mut self, loss: &Loss) -> Result<(), NetError> {
        let mut gone = loss.tables.clone();
        if loss.is_unknown {
            gone.extend(self.missing_tables()?);
        }
        let mut errors = Vec::new();
        let host = self.rules.written().iter().any(|t| gone.contains(t));
        if host {
            errors.extend(self.rewrite_host_tables().err());
        }
        if host || loss.passage || loss.is_unknown {
            errors.extend(self.admit_traffic().err());
        }
        let [guard, mesh] = [self.restore_guard(&gone), self.restore_mesh(&gone)];
        let is_any = host || matches!(guard, Ok(true)) || matches!(mesh, Ok(true));
        errors.extend([guard.err(), mesh.err()].into_iter().flatten());
        if is_any {
            tracing::warn!(program = %loss.program, "another program removed this daemon's firewall tables; they are written again");
        }
        NetError::collect(errors)
    }

    /// Tables that ought to be there and are not.
    fn missing_tables(&mut self) -> Result<Vec<Table>, NetError> {
        let failed = || NetError::netlink("look for firewall tables");
        let mut wanted = self.rules.written().to_vec();
        wanted.extend(self.mesh_tables());
        wanted.extend(self.guard_tables());
        for family in [Family::Ip, Family::Ip6] {
            let have = self.nft.tables(family).map_err(failed())?;
            wanted.retain(|t| t.family != family || !have.contains(&t.name));
        }
        Ok(wanted)
    }

    /// Commits a change of the host's tables that the state knows of already: where they are not as
    /// this daemon left them they are written whole, and it is in them.
    pub(crate) fn commit_host(
        &mut self,
        change: Transaction,
        attempt: &'static str,
    ) -> Result<(), NetError> {
        match self.nft.commit(change) {
            Err(error) if error.missing() => self.rewrite_host_tables(),
            other => other.map_err(NetError::netlink(attempt)),
        }
    }

    /// Writes the host's tables whole, with the published ports.
    pub(crate) fn rewrite_host_tables(&mut self) -> Result<(), NetError> {
        let State {
            bridges,
            rules,
            nft,
            ports,
            open,
            ..
        } = self;
        let specs: Vec<_> = bridges.values().map(|b| &b.spec).collect();
        let published: Vec<PublishedPort> = ports.published().cloned().collect();
        let fill = |tx: &mut Transaction, table: &Table, v4: bool| {
            let of_family = |p: &&PublishedPort| p.host_ip.is_ipv4() == v4 && p.is_translated();
            let mine: Vec<&PublishedPort> = published.iter().filter(of_family).collect();
            change(tx, table, &mine, true);
            let open = open.values().flatten();
            let open = open.filter(|p| p.container_ip.is_ipv4() == v4);
            let elements: Vec<Element> = open.map(|p| Element::key(OpenPort::key(p))).collect();
            tx.add_elements(table, super::OPEN, &elements);
        };
        rules
            .rewrite(nft, &specs, fill)
            .map_err(NetError::netlink("write firewall rules"))?;
        self.ports_are_known = true;
        self.forget_udp(&published);
        self.forget_unmasqueraded();
        Ok(())
    }

    /// What containers sent to the outside while nothing hid their addresses is not answered, and
    /// would go on as it began.
    fn forget_unmasqueraded(&mut self) {
        for v4 in [true, false] {
            let hidden = self.bridges.values().filter(|b| b.spec.masquerade);
            let subnets = hidden.flat_map(|b| &b.spec.subnets);
            let subnets = subnets.map(|s| s.gateway.network());
            let subnets: Vec<_> = subnets.filter(|s| s.is_ipv4() == v4).collect();
            if subnets.is_empty() {
                continue;
            }
            let stale = move |flow: &Flow| {
                let within = |ip| subnets.iter().any(|s| s.contains(ip));
                let is_bare = flow.reply_destination == flow.source;
                is_bare && !flow.answered && within(flow.source) && !within(flow.destination)
            };
            let netns = self.host.clone();
            self.forgetting.push(Forgetting {
                netns,
                v4,
                stale: Box::new(stale),
            });
        }
    }
}
