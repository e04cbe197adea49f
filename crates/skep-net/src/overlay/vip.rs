//! Service addresses inside a container's namespace.
//!
//! ```text
//! table ip skep {
//!   map vips { ip daddr : jump svc-ID }
//!   chain svc-ID { dnat to numgen inc mod N map { 0 : backend, ... } }
//!   chain output { type nat hook output; ip daddr vmap @vips }
//! }
//! ```
//! A service changes in one transaction. Connections keep their backend until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::table::Balanced;
use crate::netlink::NetlinkError;
use crate::netlink::conntrack::{Flow, UDP};
use crate::netlink::nft::{
    Chain, Element, Family, Field, Hook, NftSocket, Set, Table, Transaction, Value,
};

const VIPS: &str = "vips";

/// Which connections are to be forgotten.
pub(crate) type Stale = Box<dyn Fn(&Flow) -> bool + Send>;

/// Services of one family in one namespace, as the kernel has them.
#[derive(Debug)]
pub(crate) struct VipTable {
    table: Table,
    v4: bool,
    /// `None` until this run has written the table once.
    applied: Option<BTreeMap<String, Balanced>>,
}

impl VipTable {
    pub fn new(v4: bool) -> VipTable {
        let family = if v4 { Family::Ip } else { Family::Ip6 };
        VipTable {
            table: Table::new(family, "skep"),
            v4,
            applied: None,
        }
    }

    /// Brings the namespace to these services, by chain name. Answers which connections are to be
    /// forgotten, if any.
    pub fn apply(
        &mut self,
        nft: &mut NftSocket,
        wanted: BTreeMap<String, Balanced>,
    ) -> Result<Option<Stale>, NetlinkError> {
        let wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .filter(|(_, b)| !b.vips.is_empty())
            .collect();
        if self.applied.as_ref() == Some(&wanted) || (self.applied.is_none() && wanted.is_empty()) {
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
        let gone = gone(had, &wanted);
        let lost = !gone.is_empty();
        self.applied = Some(wanted);
        let stale = move |flow: &Flow| gone.iter().any(|g| g.holds(flow));
        Ok(lost.then(|| Box::new(stale) as Stale))
    }

    fn write_frame(&self, tx: &mut Transaction) {
        let (t, addr) = (&self.table, Field::address(self.v4));
        tx.reset_table(t);
        tx.add_set(t, &Set::vmap(VIPS, &[addr]));
        tx.set_chain(
            t,
            &Chain::base("output", Hook::DNAT_OUTPUT),
            [t.rule().daddr_vmap(VIPS)],
        );
    }

    fn change(
        &self,
        tx: &mut Transaction,
        had: &BTreeMap<String, Balanced>,
        wanted: &BTreeMap<String, Balanced>,
    ) {
        let t = &self.table;
        let element = |vip: &IpAddr, chain: &str| Element::jump(Value::ip(*vip), chain);
        let key = |vip: &IpAddr| Element::key(Value::ip(*vip));
        let mut removed = Vec::new();
        let mut stale_chains = Vec::new();
        for (chain, old) in had {
            let keep = wanted.get(chain).map(|b| &b.vips);
            removed.extend(
                old.vips
                    .iter()
                    .filter(|v| keep.is_none_or(|k| !k.contains(v)))
                    .map(key),
            );
            if keep.is_none() {
                stale_chains.push(chain);
            }
        }
        tx.delete_elements(t, VIPS, &removed);
        for chain in stale_chains {
            tx.delete_chain(t, chain);
        }
        for (chain, new) in wanted {
            let old = had.get(chain);
            if old.is_none_or(|o| o.backends != new.backends) {
                let rule = t.rule().dnat_round_robin(&new.backends, None);
                tx.set_chain(t, &Chain::regular(chain), [rule]);
            }
            let added = new
                .vips
                .iter()
                .filter(|v| old.is_none_or(|o| !o.vips.contains(v)));
            let added: Vec<Element> = added.map(|v| element(v, chain)).collect();
            tx.add_elements(t, VIPS, &added);
        }
    }
}

/// A backend that takes no more traffic of a service.
#[derive(Debug, PartialEq, Eq)]
struct Gone {
    vip: IpAddr,
    backend: IpAddr,
    /// Not only out of rotation, where it still ends what it began.
    dead: bool,
}

impl Gone {
    /// Whether this connection is to be forgotten with the backend.
    fn holds(&self, flow: &Flow) -> bool {
        let to_it = self.vip == flow.destination && self.backend == flow.reply_source;
        to_it && (self.dead || flow.protocol == UDP)
    }
}

fn gone(had: &BTreeMap<String, Balanced>, wanted: &BTreeMap<String, Balanced>) -> Vec<Gone> {
    let mut out = Vec::new();
    for (chain, old) in had {
        let new = wanted.get(chain);
        let present = |ip| new.is_some_and(|n: &Balanced| n.present.contains(ip));
        let serving: BTreeSet<&IpAddr> = new.iter().flat_map(|n| &n.backends).collect();
        for backend in old.present.iter().filter(|ip| !serving.contains(ip)) {
            let dead = !present(backend);
            if dead || old.backends.contains(backend) {
                out.extend(old.vips.iter().map(|vip| Gone {
                    vip: *vip,
                    backend: *backend,
                    dead,
                }));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        [10, 0, 1, n].into()
    }

    fn services(backends: &[u8], present: &[u8]) -> BTreeMap<String, Balanced> {
        let web = Balanced {
            vips: [ip(2)].into(),
            backends: backends.iter().map(|n| ip(*n)).collect(),
            present: present.iter().map(|n| ip(*n)).collect(),
        };
        [("svc-web".to_owned(), web)].into()
    }

    fn gone_of(old: (&[u8], &[u8]), new: (&[u8], &[u8])) -> Vec<(IpAddr, bool)> {
        let gone = gone(&services(old.0, old.1), &services(new.0, new.1));
        gone.into_iter().map(|g| (g.backend, g.dead)).collect()
    }

    #[test]
    fn a_draining_backend_keeps_its_connections() {
        assert_eq!(
            gone_of((&[3, 4], &[3, 4]), (&[3], &[3, 4])),
            [(ip(4), false)]
        );
    }

    #[test]
    fn a_removed_backend_loses_them() {
        assert_eq!(gone_of((&[3, 4], &[3, 4]), (&[3], &[3])), [(ip(4), true)]);
        assert_eq!(gone_of((&[3], &[3, 4]), (&[3], &[3])), [(ip(4), true)]);
    }

    #[test]
    fn an_unchanged_service_forgets_nothing() {
        assert_eq!(gone_of((&[3], &[3]), (&[3, 4], &[3, 4])), []);
    }
}
