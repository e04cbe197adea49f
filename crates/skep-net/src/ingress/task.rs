//! A task's side of the mesh: answers go back through the node that the client chose.
//!
//! Marks are hardware address bytes, raw: 10.0.0.2 is the mark 0x0200000a on a little-endian
//! machine. The rule for answers tests the network's bits of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::rules::MeshPort;
use crate::addr::{Cidr, Mac};
use crate::error::NetError;
use crate::netlink::NetlinkError;
use crate::netlink::nft::{
    Chain, Element, Family, Field, Hook, NftSocket, Set, Table, Transaction, Value,
};
use crate::netlink::route::{Neighbour, Route, RouteSocket, Rule};
use crate::netns::{Netns, sysctl};
use crate::publish::Protocol;

const PORTS: &str = "ports";
const FLOWS: &str = "uflows";
/// Routing table and rule of answers.
const ROUTES: u32 = 1000;
const PRIORITY: u32 = 100;
/// Metric of a default route that any other wins against.
pub(crate) const LAST_RESORT: u32 = 65000;
/// How long a UDP flow is known without packets, and how many at once.
const FLOW_MS: u64 = 180_000;
const FLOW_COUNT: u32 = 65535;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMPV6: u8 = 58;

/// The rules inside one task's namespace.
#[derive(Debug, Default)]
pub(crate) struct TaskRules {
    /// Ports that the mesh may reach; `None` until written.
    ports: Option<BTreeSet<(Protocol, u16)>>,
}

/// Bits by which a mark is a node's address.
#[derive(Debug, Clone, Copy)]
struct Marks {
    value: u32,
    mask: u32,
}

impl Marks {
    fn of(address: Cidr) -> Option<Marks> {
        let IpAddr::V4(network) = address.network().addr else {
            return None;
        };
        let mask: [u8; 4] = address.mask().try_into().ok()?;
        Some(Marks {
            value: u32::from_ne_bytes(network.octets()),
            mask: u32::from_ne_bytes(mask),
        })
    }
}

/// The first address of a network, which no endpoint has.
fn gateway(address: Cidr) -> IpAddr {
    match address.network().addr {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) | 1).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) | 1).into()),
    }
}

/// Routes and switches of a task that has just been attached to the ingress network.
pub(crate) fn prepare(
    netns: &Netns,
    route: &mut RouteSocket,
    ifname: &str,
    index: u32,
    addresses: &[Cidr],
) -> Result<(), NetError> {
    let invalid = || NetError::Invalid {
        what: "ingress endpoint without IPv4 address",
        value: ifname.to_owned(),
    };
    let marks = addresses
        .iter()
        .find_map(|a| Marks::of(*a))
        .ok_or_else(invalid)?;
    netns.run(|| {
        // Clients' addresses are not routed where their packets come from.
        sysctl("ipv4/conf/all/rp_filter", "0")?;
        sysctl(&format!("ipv4/conf/{ifname}/rp_filter"), "0")
    })?;
    let failed = || NetError::netlink(format!("set ingress routes of {ifname}"));
    for address in addresses {
        let via = gateway(*address);
        let neighbour = Neighbour {
            ip: via,
            mac: Mac::from_ip(via),
        };
        route
            .set_neighbours(index, &[neighbour])
            .map_err(failed())?;
        let default = Route {
            table: ROUTES,
            ..Route::default_via(via, index)
        };
        route.set_route(&default).map_err(failed())?;
        if !address.is_ipv4() {
            // An answer needs some route before its mark can choose the right one, and
            // docker_gwbridge has no IPv6 as a rule.
            let last = Route {
                metric: LAST_RESORT,
                ..Route::default_via(via, index)
            };
            route.set_route(&last).map_err(failed())?;
        }
        let rule = Rule {
            priority: PRIORITY,
            mark: marks.value,
            mask: marks.mask,
            table: ROUTES,
            v4: address.is_ipv4(),
        };
        route.add_rule(&rule).map_err(failed())?;
    }
    Ok(())
}

impl TaskRules {
    /// Brings the namespace to these target ports.
    pub fn apply(
        &mut self,
        nft: &mut NftSocket,
        ifname: &str,
        addresses: &[Cidr],
        wanted: BTreeSet<(Protocol, u16)>,
    ) -> Result<(), NetlinkError> {
        if self.ports.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let outcome = nft.commit(self.change(ifname, addresses, &wanted, true));
        if self.ports.is_none() && outcome.is_err() {
            // A kernel without zones: two connections that look alike are one, as anywhere.
            nft.commit(self.change(ifname, addresses, &wanted, false))?;
        } else {
            outcome?;
        }
        self.ports = Some(wanted);
        Ok(())
    }

    fn change(
        &self,
        ifname: &str,
        addresses: &[Cidr],
        wanted: &BTreeSet<(Protocol, u16)>,
        zones: bool,
    ) -> Transaction {
        let mut tx = Transaction::new();
        for address in addresses {
            let t = table(*address);
            if self.ports.is_none() {
                write_frame(&mut tx, &t, ifname, *address);
                if zones {
                    write_zones(&mut tx, &t, ifname);
                }
            }
            tx.flush_set(&t, PORTS);
            let key = |(protocol, port): &(Protocol, u16)| {
                Element::key(Value::proto(protocol.number()).and_port(*port))
            };
            let elements: Vec<Element> = wanted.iter().map(key).collect();
            tx.add_elements(&t, PORTS, &elements);
        }
        if self.ports.is_none()
            && let Some(marks) = addresses.iter().find_map(|a| Marks::of(*a))
        {
            let t = Table::new(Family::Netdev, "skep-task");
            tx.reset_table(&t);
            let answer = t
                .rule()
                .mark_within(marks.value, marks.mask)
                .destination_mac_from_mark();
            tx.set_chain(&t, &Chain::base("egress", Hook::egress(ifname)), [answer]);
        }
        tx
    }
}

/// The target ports of a service as [`TaskRules`] wants them.
pub(crate) fn target_ports(
    ports: impl Iterator<Item = (MeshPort, u16)>,
) -> BTreeSet<(Protocol, u16)> {
    ports
        .map(|(port, target)| (port.protocol, target))
        .collect()
}

fn table(address: Cidr) -> Table {
    let family = if address.is_ipv4() {
        Family::Ip
    } else {
        Family::Ip6
    };
    Table::new(family, "skep-task")
}

fn write_frame(tx: &mut Transaction, t: &Table, ifname: &str, own: Cidr) {
    let addr = Field::address(own.is_ipv4());
    tx.reset_table(t);
    tx.add_set(t, &Set::plain(PORTS, &[Field::Proto, Field::Port]));
    tx.add_set(
        t,
        &Set::dynamic(
            FLOWS,
            &[addr, Field::Port, Field::Port],
            FLOW_MS,
            FLOW_COUNT,
        ),
    );
    // A client's next connection may come by another node: each packet says by which.
    let arrival = [
        t.rule().ct_reply(false).ct_mark_from_source_mac(),
        t.rule().mark_from_ct(),
        t.rule().l4proto(UDP).remember_flow(FLOWS),
    ];
    tx.set_chain(t, &Chain::regular("from-ingress"), arrival);
    let jump = t.rule().iifname(true, ifname).jump("from-ingress");
    tx.set_chain(t, &Chain::base("pre", Hook::MANGLE), [jump]);
    // A UDP server on the wildcard address answers from the address of the default route.
    let own_only = Cidr::host(own.addr);
    let answer = t
        .rule()
        .l4proto(UDP)
        .saddr(false, own_only)
        .answers_flow(FLOWS);
    tx.set_chain(
        t,
        &Chain::base("rawout", Hook::RAW_OUTPUT),
        [answer.set_saddr(own.addr)],
    );
    let marked = t.rule().ct_reply(true).ct_marked().mark_from_ct();
    tx.set_chain(t, &Chain::base("out", Hook::ROUTE_OUTPUT), [marked]);
    // The network is everybody's: only published ports are reached over it.
    let from = || t.rule().iifname(true, ifname);
    let mut input = vec![from().ct_known().ret(), from().service_in(PORTS).ret()];
    if !own.is_ipv4() {
        input.push(from().l4proto(ICMPV6).ret());
    }
    input.push(from().drop());
    tx.set_chain(t, &Chain::base("input", Hook::INPUT), input);
}

/// A client that asks two nodes from one port of its own, as any client may, looks to the task as
/// if it asked twice on one connection. So what comes by each node is a zone of its own; where two
/// look alike, the later one is shown with another port.
fn write_zones(tx: &mut Transaction, t: &Table, ifname: &str) {
    let by_node = |protocol| {
        let arrives = t.rule().iifname(true, ifname).l4proto(protocol);
        arrives.ct_zone_from_source_mac()
    };
    tx.set_chain(t, &Chain::base("raw", Hook::RAW), [TCP, SCTP].map(by_node));
    // Empty: it is there for its hook, which tells them apart.
    tx.set_chain(t, &Chain::base("alike", Hook::SNAT_INPUT), []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_the_network_in_raw_bytes() {
        let marks = Marks::of("172.31.4.9/20".parse().unwrap()).unwrap();
        let node = u32::from_ne_bytes([172, 31, 7, 200]);
        let other = u32::from_ne_bytes([172, 31, 16, 1]);
        assert_eq!(node & marks.mask, marks.value);
        assert_ne!(other & marks.mask, marks.value);
        assert!(Marks::of("fd00::1/64".parse().unwrap()).is_none());
    }

    #[test]
    fn the_gateway_is_the_network_s_first_address() {
        assert_eq!(
            gateway("10.0.0.77/24".parse().unwrap()),
            IpAddr::from([10, 0, 0, 1])
        );
        assert_eq!(
            gateway("fd00::77/64".parse().unwrap()).to_string(),
            "fd00::1"
        );
    }
}
