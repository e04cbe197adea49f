//! One overlay network's namespace on this node: a bridge and a VXLAN device for each VNI.
//!
//! The namespace keeps bridged frames away from the host's firewall and lets subnets overlap. The
//! VXLAN devices' sockets stay in the host's namespace.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::peers::{PeerChange, Peers, Places};
use super::{OverlaySpec, SwarmSpec, Warning};
use crate::addr::Cidr;
use crate::endpoint::Endpoint;
use crate::error::NetError;
use crate::netlink::NetlinkError;
use crate::netlink::route::{LinkKind, Neighbour, NewLink, RouteSocket, Vxlan};
use crate::netns::{Netns, sysctl};

/// VXLAN's part of a packet over IPv4 and over IPv6.
const OVERHEAD_V4: u32 = 50;
const OVERHEAD_V6: u32 = 70;

/// The kernel's side of an overlay network.
#[derive(Debug)]
pub(crate) struct Space {
    pin: PathBuf,
    netns: Netns,
    pub route: RouteSocket,
    segments: Vec<Segment>,
    /// Whether the network lacks VXLAN devices for now.
    incomplete: bool,
}

/// One VNI.
#[derive(Debug)]
struct Segment {
    vni: u32,
    subnets: Vec<Cidr>,
    bridge: u32,
    vxlan: Option<u32>,
    /// What the kernel has; `None` until read.
    known: Option<Peers>,
}

/// Where the tunnels of a network start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub local: IpAddr,
    pub port: u16,
    pub mtu: u32,
}

impl Tunnel {
    /// Plain VXLAN over the data path.
    pub fn plain(swarm: &SwarmSpec, underlay_mtu: u32) -> Tunnel {
        let local = swarm.data_path_addr;
        let overhead = if local.is_ipv4() {
            OVERHEAD_V4
        } else {
            OVERHEAD_V6
        };
        Tunnel {
            local,
            port: swarm.data_path_port,
            mtu: underlay_mtu.saturating_sub(overhead),
        }
    }

    fn mark(&self) -> String {
        format!("{}#{}", self.local, self.port)
    }
}

/// The VNIs of a network with their subnets; IPv6 subnets go with the first IPv4 one.
fn segments_of(spec: &OverlaySpec) -> Vec<(u32, Vec<Cidr>)> {
    let mut out: Vec<(u32, Vec<Cidr>)> = Vec::new();
    let (v4, v6): (Vec<_>, Vec<_>) = spec.subnets.iter().partition(|s| s.subnet.is_ipv4());
    for s in v4 {
        out.push((s.vni, vec![s.subnet]));
    }
    for s in v6 {
        match out.first_mut() {
            Some((_, subnets)) => subnets.push(s.subnet),
            None => out.push((s.vni, vec![s.subnet])),
        }
    }
    out
}

impl Space {
    /// Opens the namespace, or makes it with its bridges.
    pub fn open(pin: &Path, spec: &OverlaySpec, mtu: u32) -> Result<Space, NetError> {
        let sockets = || {
            // Frames between containers are no business of a firewall.
            for name in ["iptables", "ip6tables", "arptables"] {
                sysctl(&format!("bridge/bridge-nf-call-{name}"), "0")?;
            }
            RouteSocket::open().map_err(NetError::netlink("open rtnetlink socket"))
        };
        let (netns, mut route) = match Netns::open(pin)? {
            Some(netns) => {
                let route = netns.run(sockets)?;
                (netns, route)
            }
            None => Netns::create(pin, sockets)?,
        };
        let mut segments = Vec::new();
        for (vni, subnets) in segments_of(spec) {
            let bridge = ensure_bridge(&mut route, &format!("br{vni}"), mtu)?;
            segments.push(Segment {
                vni,
                subnets,
                bridge,
                vxlan: None,
                known: None,
            });
        }
        Ok(Space {
            pin: pin.to_owned(),
            netns,
            route,
            segments,
            incomplete: true,
        })
    }

    /// Removes the VXLAN devices, whose numbers others may want at once, and the namespace.
    pub fn close(mut self) -> Result<(), NetError> {
        let mut errors = Vec::new();
        for segment in &self.segments {
            let name = vxlan_name(segment.vni);
            let failed = NetError::netlink(format!("remove {name}"));
            errors.extend(self.route.delete_link(&name).map_err(failed).err());
        }
        let pin = self.pin.clone();
        drop(self);
        errors.extend(Netns::unpin(&pin).err());
        NetError::collect(errors)
    }

    /// The file name of the pin.
    pub fn pin_name(network_id: &str) -> String {
        format!("ov-{}", network_id.get(..16).unwrap_or(network_id))
    }

    /// Index of the bridge for an endpoint with these addresses.
    pub fn bridge_for(&self, addresses: &[Cidr]) -> Option<u32> {
        let of = |a: &Cidr| self.segments.iter().find(|s| s.has(a.addr));
        let found = addresses.iter().find_map(of).or(self.segments.first());
        found.map(|s| s.bridge)
    }

    /// An endpoint is here from now on, whatever the bridge has learned of its address while that
    /// was another node's.
    pub fn welcome(&mut self, endpoint: &Endpoint) -> Result<(), NetError> {
        let name = &endpoint.peer_ifname;
        let failed = || NetError::netlink(format!("set the place of {name}"));
        let Some(port) = self.route.link(name).map_err(failed())? else {
            return Ok(());
        };
        self.route
            .pin_to_port(port.index, endpoint.mac)
            .map_err(failed())
    }

    /// An endpoint is not here any more: its address may be another node's before the kernel has
    /// taken the interface away.
    pub fn part(&mut self, endpoint: &Endpoint) -> Result<(), NetError> {
        let name = &endpoint.peer_ifname;
        let failed = || NetError::netlink(format!("forget the place of {name}"));
        let Some(port) = self.route.link(name).map_err(failed())? else {
            return Ok(());
        };
        self.route
            .unpin_from_port(port.index, endpoint.mac)
            .map_err(failed())
    }

    /// Makes the VXLAN devices that are missing. What stands in the way is a warning: the network
    /// then works on this host only.
    pub fn connect(
        &mut self,
        network_id: &str,
        tunnel: &Tunnel,
        host: &mut RouteSocket,
    ) -> Result<Option<Warning>, NetError> {
        if !self.incomplete {
            return Ok(None);
        }
        let mut warning = None;
        for i in 0..self.segments.len() {
            let vni = self.segments[i].vni;
            match self.connect_segment(i, tunnel, host) {
                Ok(()) => {}
                Err(e) if e.exists() => {
                    warning = Some(Warning::VniTaken {
                        network_id: network_id.to_owned(),
                        vni,
                    });
                }
                Err(e) if e.is(libc::EADDRINUSE) => {
                    warning = Some(Warning::DataPathPortTaken { port: tunnel.port });
                }
                Err(e) => {
                    return Err(NetError::netlink(format!("make {}", vxlan_name(vni)))(e));
                }
            }
        }
        self.incomplete = warning.is_some();
        Ok(warning)
    }

    fn connect_segment(
        &mut self,
        i: usize,
        tunnel: &Tunnel,
        host: &mut RouteSocket,
    ) -> Result<(), NetlinkError> {
        let segment = &mut self.segments[i];
        let name = vxlan_name(segment.vni);
        let mark = tunnel.mark();
        if let Some(link) = self.route.link(&name)? {
            if link.alias == mark && link.is_up {
                segment.vxlan = Some(link.index);
                return Ok(());
            }
            self.route.delete_link(&name)?;
        }
        segment.known = None;
        segment.vxlan = None;
        let vxlan = Vxlan {
            vni: segment.vni,
            port: tunnel.port,
            local: tunnel.local,
        };
        let new = NewLink {
            mtu: Some(tunnel.mtu),
            master: Some(segment.bridge),
            netns: Some(std::os::fd::AsFd::as_fd(&self.netns)),
            ..NewLink::new(&name, LinkKind::Vxlan(vxlan))
        };
        host.create_link(&new)?;
        let made = self.route.link(&name)?.ok_or(NetlinkError::Malformed)?;
        // The socket is bound when the device is set up.
        if let Err(e) = self.route.set_up_without_ipv6(made.index) {
            self.route.delete_link(&name)?;
            return Err(e);
        }
        self.route.set_alias(&name, &mark)?;
        segment.vxlan = Some(made.index);
        Ok(())
    }

    /// The tunnels start elsewhere now: the devices are made anew at the next [`Space::connect`].
    pub fn disconnect(&mut self) {
        self.incomplete = true;
    }

    /// Removes the VXLAN devices: the network must not leave this host.
    pub fn cut(&mut self) -> Result<(), NetError> {
        self.incomplete = true;
        for segment in &mut self.segments {
            let name = vxlan_name(segment.vni);
            let failed = NetError::netlink(format!("remove {name}"));
            self.route.delete_link(&name).map_err(failed)?;
            (segment.vxlan, segment.known) = (None, None);
        }
        Ok(())
    }

    /// Whether all devices are there, and what they have is known.
    pub fn is_settled(&self) -> bool {
        let mut segments = self.segments.iter();
        !self.incomplete && segments.all(|s| s.vxlan.is_some() && s.known.is_some())
    }

    /// Brings neighbours and forwarding entries to these.
    pub fn set_peers(&mut self, peers: &Peers) -> Result<(), NetError> {
        let first = self.segments.first().map_or(0, |s| s.vni);
        for segment in &mut self.segments {
            let Some(index) = segment.vxlan else { continue };
            let mine = |n: &&Neighbour| segment.has(n.ip) || segment.vni == first;
            let neighbours = peers.neighbours.iter().filter(mine);
            let neighbours: BTreeSet<Neighbour> = neighbours.copied().collect();
            let macs: BTreeSet<_> = neighbours.iter().map(|n| n.mac).collect();
            let fdb = peers.fdb.iter().filter(|e| macs.contains(&e.mac));
            let wanted = Peers {
                fdb: fdb.copied().collect(),
                neighbours,
            };
            // Until this succeeds the kernel's state is unknown.
            let known = match segment.known.take() {
                Some(known) => known,
                None => read_peers(&mut self.route, index)?,
            };
            carry_out(&known.change_to(&wanted), index, &mut self.route)?;
            segment.known = Some(wanted);
        }
        Ok(())
    }

    /// The same for these addresses alone, where the devices are settled.
    pub fn move_peers(&mut self, places: &Places) -> Result<(), NetError> {
        let first = self.segments.first().map_or(0, |s| s.vni);
        for segment in &mut self.segments {
            let mine = |ip: IpAddr| segment.has(ip) || segment.vni == first;
            let places = places.iter().filter(|(ip, _)| mine(**ip));
            let places: Places = places.map(|(ip, place)| (*ip, *place)).collect();
            let (Some(index), Some(mut known)) = (segment.vxlan, segment.known.take()) else {
                continue;
            };
            let change = known.change_at(&places);
            carry_out(&change, index, &mut self.route)?;
            known.apply(&change);
            segment.known = Some(known);
        }
        Ok(())
    }
}

fn read_peers(route: &mut RouteSocket, index: u32) -> Result<Peers, NetError> {
    let failed = || NetError::netlink("read peers of an overlay network");
    let neighbours = route.neighbours(index).map_err(failed())?;
    let fdb = route.fdb(index).map_err(failed())?;
    Ok(Peers {
        neighbours: neighbours.into_iter().collect(),
        fdb: fdb.into_iter().collect(),
    })
}

fn carry_out(change: &PeerChange, index: u32, route: &mut RouteSocket) -> Result<(), NetError> {
    let mut all = || {
        route.delete_neighbours(index, &change.stale_neighbours)?;
        route.delete_fdb(index, &change.stale_fdb)?;
        route.set_fdb(index, &change.new_fdb)?;
        route.set_neighbours(index, &change.new_neighbours)
    };
    all().map_err(NetError::netlink("set peers of an overlay network"))
}

impl Segment {
    fn has(&self, ip: IpAddr) -> bool {
        self.subnets.iter().any(|s| s.contains(ip))
    }
}

fn vxlan_name(vni: u32) -> String {
    format!("vx{vni}")
}

fn ensure_bridge(route: &mut RouteSocket, name: &str, mtu: u32) -> Result<u32, NetError> {
    let failed = || NetError::netlink(format!("make bridge {name} of an overlay network"));
    if route.link(name).map_err(failed())?.is_none() {
        let new = NewLink {
            mtu: Some(mtu),
            ..NewLink::new(name, LinkKind::Bridge)
        };
        route.create_link(&new).map_err(failed())?;
    }
    let link = route.link(name).map_err(failed())?.unwrap_or_default();
    if !link.is_up {
        route.set_up_without_ipv6(link.index).map_err(failed())?;
    }
    Ok(link.index)
}
