//! Making and removing veth pairs.

use super::names::{alias, peer_name};
use super::{Endpoint, EndpointSpec};
use crate::addr::Mac;
use crate::error::NetError;
use crate::ingress::LAST_RESORT;
use crate::netlink::route::{Link, LinkKind, NewLink, Route, RouteSocket};
use crate::netns::sysctl;
use crate::overlay::table::mac_for;
use crate::sandbox::Sandbox;

/// Where the outer end of a pair goes.
#[derive(Debug)]
pub(crate) struct Port<'a> {
    /// rtnetlink of the namespace that the bridge is in.
    pub route: &'a mut RouteSocket,
    /// Index of the bridge.
    pub bridge: u32,
    /// MTU of the network.
    pub mtu: u32,
    /// Ports do not talk to each other.
    pub isolated: bool,
    /// A frame may return to where it came from (a container's own published port).
    pub hairpin: bool,
}

/// An endpoint in the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    pub spec: EndpointSpec,
    pub endpoint: Endpoint,
    /// Index of the inner interface.
    pub index: u32,
}

pub(crate) fn mac_of(spec: &EndpointSpec) -> Mac {
    let derived = || mac_for(spec.addresses.iter().map(|c| c.addr));
    spec.mac.or_else(derived).unwrap_or_else(|| {
        let [a, b, c, d] = rand::random::<[u8; 4]>();
        Mac([0x02, 0x42, a, b, c, d])
    })
}

/// Joins a sandbox to a bridge, or adopts the pair that is there.
pub(crate) fn attach(
    instance: &str,
    spec: &EndpointSpec,
    sandbox: &mut Sandbox,
    port: &mut Port<'_>,
) -> Result<Attached, NetError> {
    let peer = peer_name(instance, &spec.endpoint_id);
    let failed = NetError::netlink(format!("look for interface {peer}"));
    let inner = match port.route.link(&peer).map_err(failed)? {
        Some(outer) => inner_of(sandbox, &outer)?,
        None => None,
    };
    let attached = match inner {
        Some((ifname, mac, index)) => adopted(spec, ifname, peer, mac, index),
        None => create(instance, spec, sandbox, port, peer)?,
    };
    match configure(spec, sandbox, attached.index) {
        Ok(()) => Ok(attached),
        Err(e) => {
            // The first failure is the one to tell.
            let _ = port.route.delete_link(&attached.endpoint.peer_ifname);
            Err(e)
        }
    }
}

/// An endpoint by what it has in the kernel.
pub(crate) fn adopted(
    spec: &EndpointSpec,
    ifname: String,
    peer: String,
    mac: Mac,
    index: u32,
) -> Attached {
    let endpoint = Endpoint {
        endpoint_id: spec.endpoint_id.clone(),
        ifname,
        peer_ifname: peer,
        mac,
    };
    Attached {
        spec: spec.clone(),
        endpoint,
        index,
    }
}

type Inner = (String, Mac, u32);

/// The inner end, if it is in this sandbox. Indexes are per namespace: each end must name the other.
fn inner_of(sandbox: &mut Sandbox, outer: &Link) -> Result<Option<Inner>, NetError> {
    let failed = NetError::netlink("list interfaces");
    let links = sandbox.route.links().map_err(failed)?;
    let ours =
        |l: &Link| l.kind == "veth" && Some(l.index) == outer.peer && l.peer == Some(outer.index);
    let link = links.into_iter().find(ours);
    Ok(link.and_then(|l| Some((l.name, l.mac?, l.index))))
}

/// The first name of the prefix that is free.
pub(crate) fn free_name(sandbox: &mut Sandbox, prefix: &str) -> Result<String, NetError> {
    let links = sandbox
        .route
        .links()
        .map_err(NetError::netlink("list interfaces"))?;
    let taken = |name: &str| links.iter().any(|l| l.name == name);
    let names = (0..=links.len()).map(|n| format!("{prefix}{n}"));
    names
        .into_iter()
        .find(|n| !taken(n))
        .ok_or(NetError::Invalid {
            what: "number of interfaces",
            value: links.len().to_string(),
        })
}

fn create(
    instance: &str,
    spec: &EndpointSpec,
    sandbox: &mut Sandbox,
    port: &mut Port<'_>,
    peer: String,
) -> Result<Attached, NetError> {
    let ifname = match &spec.ifname {
        Some(name) => name.clone(),
        None => free_name(sandbox, &spec.ifname_prefix)?,
    };
    let mac = mac_of(spec);
    let netns = sandbox.netns.clone();
    let kind = LinkKind::Veth {
        peer: ifname.clone(),
        peer_mac: Some(mac),
        peer_netns: Some(std::os::fd::AsFd::as_fd(&netns)),
    };
    let alias = alias(instance, &spec.endpoint_id);
    let new = NewLink {
        mtu: Some(if spec.mtu == 0 { port.mtu } else { spec.mtu }),
        master: Some(port.bridge),
        up: true,
        alias: Some(&alias),
        ..NewLink::new(&peer, kind)
    };
    // One of this name whose other end is not in the sandbox is left over from a namespace that
    // is still going away.
    let failed = || {
        NetError::netlink(format!(
            "make interface {ifname} of endpoint {}",
            spec.endpoint_id
        ))
    };
    port.route.delete_link(&peer).map_err(failed())?;
    port.route.create_link(&new).map_err(failed())?;
    if port.isolated || port.hairpin {
        let outer = port.route.link(&peer).map_err(failed())?;
        let index = outer.map_or(0, |l| l.index);
        port.route
            .set_port(index, port.isolated, port.hairpin)
            .map_err(failed())?;
    }
    let inner = sandbox.route.link(&ifname).map_err(failed())?;
    let index = inner.map_or(0, |l| l.index);
    Ok(adopted(spec, ifname, peer, mac, index))
}

/// Sets an interface up with its addresses.
pub(crate) fn configure(
    spec: &EndpointSpec,
    sandbox: &mut Sandbox,
    index: u32,
) -> Result<(), NetError> {
    let route = &mut sandbox.route;
    let failed = || NetError::netlink(format!("set up interface of endpoint {}", spec.endpoint_id));
    if spec.addresses.iter().any(|a| !a.is_ipv4()) {
        route.set_up(index, true).map_err(failed())?;
    } else {
        route.set_up_without_ipv6(index).map_err(failed())?;
    }
    for address in spec.addresses.iter().chain(&spec.link_local) {
        let failed = NetError::netlink(format!("set address {address} of {}", spec.endpoint_id));
        route.add_address(index, *address).map_err(failed)?;
    }
    if spec.sysctls.is_empty() {
        return Ok(());
    }
    let link = sandbox.route.links().map_err(failed())?;
    let name = link.into_iter().find(|l| l.index == index);
    let name = name.map(|l| l.name).unwrap_or_default();
    sandbox.netns.run(|| {
        for (key, value) in &spec.sysctls {
            sysctl(&key.replace("IFNAME", &name), value)?;
        }
        Ok(())
    })
}

/// Takes a container's addresses away, where its interfaces go with the namespace: until the kernel
/// has got round to that, nobody answers for them.
pub(crate) fn silence(sandbox: &mut Sandbox, attached: &Attached) -> Result<(), NetError> {
    for address in &attached.spec.addresses {
        let failed = NetError::netlink(format!("take address {address} back"));
        sandbox
            .route
            .delete_address(attached.index, *address)
            .map_err(failed)?;
    }
    Ok(())
}

/// The default route that an endpoint is for.
fn way_out(attached: &Attached, v4: bool) -> Option<Route> {
    let (spec, index) = (&attached.spec, attached.index);
    let gateway = spec.default_gateways.iter().find(|g| g.is_ipv4() == v4);
    let by_link = || {
        let has_family = spec.addresses.iter().any(|a| a.is_ipv4() == v4);
        (spec.default_link && has_family).then(|| Route::default_by(index, v4))
    };
    gateway
        .map(|gateway| Route::default_via(*gateway, index))
        .or_else(by_link)
}

/// Sets the default routes of a sandbox to those of its last endpoint that has gateways.
pub(crate) fn set_default_routes(
    sandbox: &mut Sandbox,
    attached: &[&Attached],
) -> Result<(), NetError> {
    let failed = || NetError::netlink("set default route");
    for v4 in [true, false] {
        let mut ways = attached.iter().rev();
        let Some(wanted) = ways.find_map(|a| way_out(a, v4)) else {
            continue;
        };
        let index = wanted.index;
        let routes = sandbox.route.routes().map_err(failed())?;
        let is_default =
            |r: &&Route| r.v4 == v4 && r.to.is_none() && r.table == 0 && r.metric != LAST_RESORT;
        let old: Vec<&Route> = routes.iter().filter(is_default).collect();
        if old
            .iter()
            .any(|r| r.gateway == wanted.gateway && r.index == index)
        {
            continue;
        }
        sandbox.route.set_route(&wanted).map_err(failed())?;
        for stale in old.into_iter().filter(|r| !v4 && r.gateway.is_some()) {
            // IPv6 keeps one route for each gateway where IPv4 replaces.
            sandbox.route.delete_route(stale).map_err(failed())?;
        }
    }
    Ok(())
}
