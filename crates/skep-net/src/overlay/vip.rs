//! Service addresses inside a container's namespace.
//!
//! ```text
//! table ip skep {
//!   map vips { ip daddr : jump svc-ID }
//!   chain svc-ID { dnat to numgen inc mod N map { 0 : backend, ... } }
//!   chain svc-IDLE { meta l4proto tcp reject with tcp reset; meta l4proto udp redirect to :0 }
//!   chain output { type nat hook output; ip daddr vmap @vips; ct direction reply return }
//! }
//! ```
//! A service changes in one transaction. Connections keep their backend until it is gone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::table::Balanced;
use crate::netlink::NetlinkError;
use crate::netlink::conntrack::{Flow, UDP};
use crate::netlink::nft::{
    Chain, Element, Family, Field, Hook, NftSocket, Set, Table, Transaction, Value,
};

const VIPS: &str = "vips";

/// Services by chain name. Many namespaces have the same ones.
pub(crate) type Services = BTreeMap<String, Arc<Balanced>>;

/// Which connections are to be forgotten.
pub(crate) type Stale = Box<dyn Fn(&Flow) -> bool + Send>;

/// Services of one family in one namespace, as the kernel has them.
#[derive(Debug)]
pub(crate) struct VipTable {
    table: Table,
    v4: bool,
    /// `None` until this run has written the table once.
    applied: Option<Services>,
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

    /// Whether nothing is known of the namespace yet: [`VipTable::update`] needs all services.
    pub fn is_unknown(&self) -> bool {
        self.applied.is_none()
    }

    /// Brings the namespace to these services, by chain name, and no others. Answers which
    /// connections are to be forgotten, if any.
    pub fn apply(
        &mut self,
        nft: &mut NftSocket,
        wanted: Services,
    ) -> Result<Option<Stale>, NetlinkError> {
        let known = self.applied.iter().flat_map(BTreeMap::keys);
        let gone = known.filter(|chain| !wanted.contains_key(*chain));
        let gone: Vec<String> = gone.cloned().collect();
        let mut changes: BTreeMap<String, Option<Arc<Balanced>>> =
            gone.into_iter().map(|chain| (chain, None)).collect();
        changes.extend(wanted.into_iter().map(|(chain, new)| (chain, Some(new))));
        self.update(nft, changes)
    }

    /// The same where only these services may have changed; `None` is one that is gone.
    pub fn update(
        &mut self,
        nft: &mut NftSocket,
        changes: BTreeMap<String, Option<Arc<Balanced>>>,
    ) -> Result<Option<Stale>, NetlinkError> {
        let (mut had, mut wanted) = (Services::new(), Services::new());
        for (chain, new) in changes {
            let new = new.filter(|service| !service.vips.is_empty());
            let old = self.applied.as_ref().and_then(|all| all.get(&chain));
            if old == new.as_ref() {
                continue;
            }
            if let Some(old) = old {
                had.insert(chain.clone(), Arc::clone(old));
            }
            if let Some(new) = new {
                wanted.insert(chain, new);
            }
        }
        if had.is_empty() && wanted.is_empty() {
            return Ok(None);
        }
        let mut tx = Transaction::new();
        if self.applied.is_none() {
            self.write_frame(&mut tx);
        }
        self.change(&mut tx, &had, &wanted);
        nft.commit(tx)?;
        let gone = gone(&had, &wanted);
        let applied = self.applied.get_or_insert_default();
        for chain in had.keys().filter(|chain| !wanted.contains_key(*chain)) {
            applied.remove(chain);
        }
        applied.extend(wanted);
        let lost = !gone.is_empty();
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
            // The second turns connection tracking on where no rule translates.
            [t.rule().daddr_vmap(VIPS), t.rule().ct_reply(true).ret()],
        );
    }

    fn change(&self, tx: &mut Transaction, had: &Services, wanted: &Services) {
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
                tx.set_balancer(t, chain, None, &new.backends, None);
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
    end: End,
}

/// How a backend left rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It still ends what it began.
    Draining,
    /// What it has not answered yet it never will: such a connection may go elsewhere.
    Lost,
    /// It is not there any more.
    Dead,
}

impl End {
    /// Whether a connection to the backend is to be forgotten. UDP knows no connections: it goes
    /// to somebody else at once.
    pub fn forgets(self, flow: &Flow) -> bool {
        flow.protocol == UDP
            || match self {
                End::Draining => false,
                End::Lost => !flow.answered,
                End::Dead => true,
            }
    }
}

/// The backends of a service that take no traffic any more, each with how it left.
pub(crate) fn ended(old: &Balanced, new: Option<&Balanced>) -> Vec<(IpAddr, End)> {
    let none = Balanced::default();
    let new = new.unwrap_or(&none);
    let mut out = Vec::new();
    for ip in old.present.iter().filter(|ip| !new.backends.contains(ip)) {
        if !new.present.contains(ip) {
            out.push((*ip, End::Dead));
        } else if new.lost.contains(ip) && !old.lost.contains(ip) {
            out.push((*ip, End::Lost));
        } else if old.backends.contains(ip) {
            out.push((*ip, End::Draining));
        }
    }
    out
}

impl Gone {
    /// Whether this connection is to be forgotten with the backend.
    fn holds(&self, flow: &Flow) -> bool {
        let to_it = self.vip == flow.destination && self.backend == flow.reply_source;
        to_it && self.end.forgets(flow)
    }
}

/// Where packets go while a service has no backends.
fn nobody(vip: IpAddr) -> IpAddr {
    if vip.is_ipv4() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    }
}

fn gone(had: &Services, wanted: &Services) -> Vec<Gone> {
    let mut out = Vec::new();
    for (chain, old) in had {
        for (backend, end) in ended(old, wanted.get(chain).map(Arc::as_ref)) {
            let vips = old.vips.iter().copied();
            out.extend(vips.map(|vip| Gone { vip, backend, end }));
        }
        if wanted.get(chain).is_some_and(|new| new.wakes(old)) {
            let end = End::Dead;
            out.extend(old.vips.iter().map(|vip| Gone {
                vip: *vip,
                backend: nobody(*vip),
                end,
            }));
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

    fn services(backends: &[u8], present: &[u8], lost: &[u8]) -> Services {
        let web = Balanced {
            vips: [ip(2)].into(),
            backends: backends.iter().map(|n| ip(*n)).collect(),
            present: present.iter().map(|n| ip(*n)).collect(),
            lost: lost.iter().map(|n| ip(*n)).collect(),
        };
        [("svc-web".to_owned(), Arc::new(web))].into()
    }

    fn gone_of(old: (&[u8], &[u8]), new: (&[u8], &[u8])) -> Vec<(IpAddr, End)> {
        let gone = gone(&services(old.0, old.1, &[]), &services(new.0, new.1, &[]));
        gone.into_iter().map(|g| (g.backend, g.end)).collect()
    }

    #[test]
    fn a_draining_backend_keeps_its_connections() {
        assert_eq!(
            gone_of((&[3, 4], &[3, 4]), (&[3], &[3, 4])),
            [(ip(4), End::Draining)]
        );
    }

    #[test]
    fn a_removed_backend_loses_them() {
        assert_eq!(
            gone_of((&[3, 4], &[3, 4]), (&[3], &[3])),
            [(ip(4), End::Dead)]
        );
        assert_eq!(gone_of((&[3], &[3, 4]), (&[3], &[3])), [(ip(4), End::Dead)]);
    }

    #[test]
    fn a_service_that_wakes_forgets_that_it_slept() {
        assert_eq!(
            gone_of((&[], &[3]), (&[3], &[3])),
            [([127, 0, 0, 1].into(), End::Dead)]
        );
    }

    #[test]
    fn an_unchanged_service_forgets_nothing() {
        assert_eq!(gone_of((&[3], &[3]), (&[3, 4], &[3, 4])), []);
    }

    #[test]
    fn a_lost_backend_loses_what_it_has_not_answered() {
        let gone = gone(
            &services(&[3, 4], &[3, 4], &[]),
            &services(&[3], &[3, 4], &[4]),
        );
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].end, End::Lost);
    }
}
