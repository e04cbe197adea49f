//! The host's interface on the ingress network.

use std::os::fd::AsFd;

use super::IngressSpec;
use crate::endpoint::alias;
use crate::error::NetError;
use crate::netlink::route::{LinkKind, NewLink, Route, RouteSocket};
use crate::netns::{Netns, sysctl};
use crate::overlay::Space;
use crate::overlay::table::mac_for;

/// Name of the end inside the network's namespace.
const INNER: &str = "host";

/// Name of the end in the host's namespace.
pub(crate) fn name(instance: &str) -> String {
    format!("ing-{instance}")
}

/// Makes the interface with this node's addresses, or keeps it.
pub(crate) fn ensure(
    instance: &str,
    spec: &IngressSpec,
    space: &mut Space,
    host: &Netns,
    route: &mut RouteSocket,
    mtu: u32,
) -> Result<(), NetError> {
    let name = name(instance);
    let failed = || NetError::netlink(format!("make ingress interface {name}"));
    let mac = mac_for(spec.node_addresses.iter().map(|c| c.addr));
    let bridge = space.bridge_for(&spec.node_addresses);
    // The hardware address tells tasks who to answer: another one needs another interface.
    let same = |l: &crate::netlink::route::Link| l.mac == mac && l.mtu == mtu;
    let joined = space
        .route
        .link(INNER)
        .map_err(failed())?
        .is_some_and(|l| l.master == bridge);
    let existing = route.link(&name).map_err(failed())?;
    if !(joined && existing.as_ref().is_some_and(same)) {
        route.delete_link(&name).map_err(failed())?;
        space.route.delete_link(INNER).map_err(failed())?;
        let kind = LinkKind::Veth {
            peer: name.clone(),
            peer_mac: mac,
            peer_netns: Some(host.as_fd()),
        };
        let new = NewLink {
            mtu: Some(mtu),
            master: bridge,
            up: true,
            ..NewLink::new(INNER, kind)
        };
        space.route.create_link(&new).map_err(failed())?;
        let mark = alias(instance, &spec.network_id);
        route.set_alias(&name, &mark).map_err(failed())?;
    }
    configure(&name, spec, host, route)
}

fn configure(
    name: &str,
    spec: &IngressSpec,
    host: &Netns,
    route: &mut RouteSocket,
) -> Result<(), NetError> {
    let v6 = spec.node_addresses.iter().any(|a| !a.is_ipv4());
    host.run(|| {
        sysctl("ipv4/ip_forward", "1")?;
        if v6 {
            sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "0")?;
            sysctl("ipv6/conf/all/forwarding", "1")?;
            // Nothing is forwarded while the link-local address waits to be found unique.
            sysctl(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
        }
        // Connections from 127.0.0.1 to a published port; the raw chain guards what this opens.
        sysctl(&format!("ipv4/conf/{name}/route_localnet"), "1")
    })?;
    let failed = || NetError::netlink(format!("set up ingress interface {name}"));
    let index = route.link(name).map_err(failed())?.map_or(0, |l| l.index);
    let have = route.addresses().map_err(failed())?;
    for stale in have.iter().filter(|a| a.index == index && a.cidr.is_ipv4()) {
        if !spec.node_addresses.contains(&stale.cidr) {
            route.delete_address(index, stale.cidr).map_err(failed())?;
        }
    }
    route.set_up(index, true).map_err(failed())?;
    for address in &spec.node_addresses {
        route.add_address(index, *address).map_err(failed())?;
    }
    if v6 {
        // Connections from ::1.
        let loopback = Route::loopback_v6_at(index);
        route.set_route(&loopback).map_err(failed())?;
    }
    Ok(())
}
