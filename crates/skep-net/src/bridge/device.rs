//! The bridge device of a local network.

use super::{BridgeSpec, GatewayMode};
use crate::addr::{Cidr, Mac};
use crate::endpoint::{alias, is_of_a_daemon, unmarked_name};
use crate::error::NetError;
use crate::netlink::NetlinkError;
use crate::netlink::route::{Link, LinkKind, NewLink, RouteSocket};
use crate::netns::sysctl;

/// Longest interface name.
const IFNAME_MAX: usize = 15;

/// Refuses what the kernel would, before anything is touched.
pub(crate) fn validate(spec: &BridgeSpec) -> Result<(), NetError> {
    let name = &spec.bridge;
    let fits = !name.is_empty() && name.len() <= IFNAME_MAX;
    let clean = !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if !fits || !clean || name == "." || name == ".." {
        return Err(NetError::Invalid {
            what: "bridge name",
            value: name.clone(),
        });
    }
    Ok(())
}

/// Makes the device, or brings it to the spec; `prepare` runs before it is up. Answers its index.
pub(crate) fn ensure(
    instance: &str,
    spec: &BridgeSpec,
    route: &mut RouteSocket,
    prepare: impl FnOnce() -> Result<(), NetError>,
) -> Result<u32, NetError> {
    let failed = || NetError::netlink(format!("make bridge {}", spec.bridge));
    let mark = alias(instance, &spec.network_id);
    let link = match route.link(&spec.bridge).map_err(failed())? {
        Some(link) if link.alias == mark => link,
        Some(link) if link.alias.starts_with(&alias(instance, "")) => {
            // Ours, of a network that is no more.
            route.set_alias(&spec.bridge, &mark).map_err(failed())?;
            link
        }
        Some(link) if spec.take_over && !is_of_a_daemon(&link.alias) => {
            return take_over(spec, &link, route, prepare);
        }
        Some(_) => {
            return Err(NetError::ForeignInterface {
                name: spec.bridge.clone(),
            });
        }
        None => {
            create(instance, spec, &mark, route).map_err(failed())?;
            route
                .link(&spec.bridge)
                .map_err(failed())?
                .unwrap_or_default()
        }
    };
    if link.mtu != spec.effective_mtu() {
        route
            .set_mtu(link.index, spec.effective_mtu())
            .map_err(failed())?;
    }
    prepare()?;
    if !link.is_up {
        route.set_up(link.index, true).map_err(failed())?;
    }
    let wanted = own_addresses(spec);
    let have = addresses_of(link.index, route).map_err(failed())?;
    for stale in have
        .iter()
        .filter(|a| !wanted.contains(a) && !is_link_local(a))
    {
        route.delete_address(link.index, *stale).map_err(failed())?;
    }
    for missing in wanted.iter().filter(|a| !have.contains(a)) {
        route.add_address(link.index, *missing).map_err(failed())?;
    }
    Ok(link.index)
}

/// Makes the device so that it is marked as ours from the moment that it has its name.
fn create(
    instance: &str,
    spec: &BridgeSpec,
    mark: &str,
    route: &mut RouteSocket,
) -> Result<(), NetlinkError> {
    let new = NewLink {
        mac: spec.subnets.first().map(|s| Mac::from_ip(s.gateway.addr)),
        mtu: Some(spec.effective_mtu()),
        ..NewLink::new(&spec.bridge, LinkKind::Bridge)
    };
    route.create_marked(new, &unmarked_name(instance), mark)
}

/// Uses somebody else's bridge: it gets the addresses that it lacks, and keeps all else.
fn take_over(
    spec: &BridgeSpec,
    link: &Link,
    route: &mut RouteSocket,
    prepare: impl FnOnce() -> Result<(), NetError>,
) -> Result<u32, NetError> {
    let name = spec.bridge.clone();
    if link.kind != "bridge" {
        return Err(NetError::NotABridge { name });
    }
    let failed = || NetError::netlink(format!("take bridge {name} over"));
    prepare()?;
    if !link.is_up {
        route.set_up(link.index, true).map_err(failed())?;
    }
    let have = addresses_of(link.index, route).map_err(failed())?;
    for missing in own_addresses(spec).iter().filter(|a| !have.contains(a)) {
        route.add_address(link.index, *missing).map_err(failed())?;
    }
    Ok(link.index)
}

/// The host's addresses on the network.
fn own_addresses(spec: &BridgeSpec) -> Vec<Cidr> {
    let gateways = spec.subnets.iter().map(|s| s.gateway);
    gateways
        .filter(|g| spec.gateway_mode(g.is_ipv4()) != GatewayMode::Isolated)
        .collect()
}

/// The addresses of an interface.
pub(crate) fn addresses_of(index: u32, route: &mut RouteSocket) -> Result<Vec<Cidr>, NetlinkError> {
    let all = route.addresses()?;
    let mine = all.iter().filter(|a| a.index == index);
    Ok(mine.map(|a| a.cidr).collect())
}

pub(super) fn is_link_local(cidr: &Cidr) -> bool {
    Cidr::new([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10).contains(cidr.addr)
}

/// Switches that the network needs, in the calling thread's namespace.
pub(crate) fn set_sysctls(spec: &BridgeSpec, forward: bool) -> Result<(), NetError> {
    let v6 = spec.subnets.iter().any(|s| !s.gateway.is_ipv4());
    if forward {
        sysctl("ipv4/ip_forward", "1")?;
        if v6 {
            sysctl("ipv6/conf/all/forwarding", "1")?;
        }
    }
    // Published ports answer on 127.0.0.1 too; the raw chain guards what this opens.
    sysctl(&format!("ipv4/conf/{}/route_localnet", spec.bridge), "1")?;
    if v6 && !spec.take_over {
        sysctl(&format!("ipv6/conf/{}/accept_ra", spec.bridge), "0")?;
        // Nothing is forwarded while the link-local address waits to be found unique.
        sysctl(&format!("ipv6/conf/{}/accept_dad", spec.bridge), "0")?;
    }
    Ok(())
}

/// Whether bridged frames of the calling thread's namespace pass the firewall.
pub(crate) fn frames_are_filtered() -> bool {
    ["iptables", "ip6tables"].iter().all(|kind| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{kind}");
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    })
}
