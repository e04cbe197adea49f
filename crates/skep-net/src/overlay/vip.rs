//! Service addresses inside a container's namespace.
//!
//! ```text
//! table ip skep {
//!   maps and chains of `balance`, by ip daddr
//!   chain output { type nat hook output; ip daddr map @lanes vmap @chains; ct direction reply return }
//! }
//! ```
//! A service changes in one transaction. Connections keep their backend until it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ended::{Stale, stale_flows};
use super::table::Balanced;
use crate::balance::{Balancer, Share};
use crate::netlink::NetlinkError;
use crate::netlink::nft::{Chain, Family, Hook, Key, NftSocket, Table, Transaction, Value};

/// Services by network and id. Many namespaces have the same ones.
pub(crate) type Services = BTreeMap<String, Arc<Balanced>>;

/// Services of one family in one namespace, as the kernel has them.
#[derive(Debug)]
pub(crate) struct VipTable {
    table: Table,
    v4: bool,
    /// Whether the table is there, written by this run.
    is_written: bool,
    /// `None` until this run knows what the namespace has.
    applied: Option<Services>,
    balancer: Balancer<String>,
}

impl VipTable {
    /// Of a namespace that was just made, or of one that may have a table already.
    pub fn new(v4: bool, is_fresh: bool) -> VipTable {
        let family = if v4 { Family::Ip } else { Family::Ip6 };
        VipTable {
            table: Table::new(family, "skep"),
            v4,
            is_written: false,
            applied: is_fresh.then(Services::new),
            balancer: Balancer::new(Key::Address, false),
        }
    }

    /// Whether nothing is known of the namespace yet: [`VipTable::update`] needs all services.
    pub fn is_unknown(&self) -> bool {
        self.applied.is_none()
    }

    /// Brings the namespace to these services, and no others. Answers which
    /// connections are to be forgotten, if any.
    pub fn apply(
        &mut self,
        nft: &mut NftSocket,
        wanted: Services,
    ) -> Result<Option<Stale>, NetlinkError> {
        let known = self.applied.iter().flat_map(BTreeMap::keys);
        let gone = known.filter(|id| !wanted.contains_key(*id));
        let gone: Vec<String> = gone.cloned().collect();
        let mut changes: BTreeMap<String, Option<Arc<Balanced>>> =
            gone.into_iter().map(|id| (id, None)).collect();
        changes.extend(wanted.into_iter().map(|(id, new)| (id, Some(new))));
        self.update(nft, changes)
    }

    /// The same where only these services may have changed; `None` is one that is gone.
    pub fn update(
        &mut self,
        nft: &mut NftSocket,
        changes: BTreeMap<String, Option<Arc<Balanced>>>,
    ) -> Result<Option<Stale>, NetlinkError> {
        let (mut had, mut wanted) = (Services::new(), Services::new());
        for (id, new) in changes {
            let new = new.filter(|service| !service.vips.is_empty());
            let old = self.applied.as_ref().and_then(|all| all.get(&id));
            if old == new.as_ref() {
                continue;
            }
            if let Some(old) = old {
                had.insert(id.clone(), Arc::clone(old));
            }
            if let Some(new) = new {
                wanted.insert(id, new);
            }
        }
        if had.is_empty() && wanted.is_empty() {
            return self.drop_leftovers(nft);
        }
        let mut tx = Transaction::new();
        if !self.is_written {
            self.write_frame(&mut tx);
        }
        let gone = had.keys().filter(|id| !wanted.contains_key(*id));
        let mut shares: BTreeMap<String, Option<Share>> =
            gone.map(|id| (id.clone(), None)).collect();
        let share = |(id, service): (&String, &Arc<Balanced>)| (id.clone(), Some(share(service)));
        shares.extend(wanted.iter().map(share));
        let plan = self.balancer.plan(&mut tx, &self.table, shares);
        nft.commit(tx)?;
        self.is_written = true;
        self.balancer.accept(plan);
        let stale = stale_flows(&had, &wanted);
        let applied = self.applied.get_or_insert_default();
        for id in had.keys() {
            applied.remove(id);
        }
        applied.extend(wanted);
        Ok(stale)
    }

    /// An earlier run may have left services that are not there any more.
    fn drop_leftovers(&mut self, nft: &mut NftSocket) -> Result<Option<Stale>, NetlinkError> {
        if self.is_unknown() {
            let mut tx = Transaction::new();
            tx.remove_table(&self.table);
            nft.commit(tx)?;
            self.applied = Some(Services::new());
        }
        Ok(None)
    }

    fn write_frame(&mut self, tx: &mut Transaction) {
        let t = &self.table;
        tx.reset_table(t);
        self.balancer.write_frame(tx, t, self.v4);
        // The second turns connection tracking on where no rule translates.
        let rules = [self.balancer.rule(t), t.rule().ct_reply(true).ret()];
        tx.set_chain(t, &Chain::base("output", Hook::DNAT_OUTPUT), rules);
    }
}

fn share(service: &Balanced) -> Share {
    Share {
        keys: service.vips.iter().map(|vip| Value::ip(*vip)).collect(),
        backends: service.backends.iter().map(|ip| Value::ip(*ip)).collect(),
    }
}
