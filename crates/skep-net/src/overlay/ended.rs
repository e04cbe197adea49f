//! Backends that left rotation, and which of their connections are to be forgotten.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::table::Balanced;
use super::vip::Services;
use crate::netlink::conntrack::{Flow, UDP};

/// Which connections are to be forgotten.
pub(crate) type Stale = Box<dyn Fn(&Flow) -> bool + Send>;

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

/// The connections of a namespace to forget by a change of its services, if any.
pub(crate) fn stale_flows(had: &Services, wanted: &Services) -> Option<Stale> {
    let gone = gone(had, wanted);
    let lost = !gone.is_empty();
    let stale = move |flow: &Flow| gone.iter().any(|g| g.holds(flow));
    lost.then(|| Box::new(stale) as Stale)
}

fn gone(had: &Services, wanted: &Services) -> Vec<Gone> {
    let mut out = Vec::new();
    for (id, old) in had {
        for (backend, end) in ended(old, wanted.get(id).map(Arc::as_ref)) {
            let vips = old.vips.iter().copied();
            out.extend(vips.map(|vip| Gone { vip, backend, end }));
        }
        if wanted.get(id).is_some_and(|new| new.wakes(old)) {
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
