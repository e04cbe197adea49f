//! The mesh that carries encrypted networks: WireGuard between nodes, in the kernel where it has
//! that, in userspace elsewhere. Nodes of both kinds speak to each other.
//!
//! ```text
//! container -> bridge -> vxlan (local = own tunnel address, port data path + 2)
//!           -> tunnel device -> WireGuard -> UDP (data path + 1) -> the other node
//! ```
//! Rules drop the VXLAN port of encrypted networks on every other interface, in and out: when the
//! tunnel is gone, or the daemon is, nothing is sent in the clear.

mod batch;
mod engine;
mod kernel;
mod key;
mod peer;
mod sync;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use tokio::runtime::Handle;
use tun_rs::DeviceBuilder;

use self::engine::Engine;
use self::kernel::KernelTunnel;
use self::key::network;
pub(crate) use self::key::{NodeKey, address_of};
use self::sync::Keys;
use super::SwarmSpec;
use super::space::Tunnel;
use crate::addr::Cidr;
use crate::error::NetError;
use crate::netlink::nft::{Chain, Family, Hook, NftSocket, Table, Transaction};
use crate::netlink::route::{Route, RouteSocket};
use crate::netns::Netns;

/// WireGuard's part of a packet over IPv4 and over IPv6, and VXLAN's over the tunnel's IPv6.
const OVERHEAD_V4: u32 = 60;
const OVERHEAD_V6: u32 = 80;
const VXLAN_OVERHEAD: u32 = 70;
const UDP: u8 = 17;

/// Who wraps packets up.
enum Carrier {
    Kernel(KernelTunnel),
    Userspace(Engine),
}

/// This node's tunnel.
pub(crate) struct WireGuard {
    carrier: Carrier,
    swarm: SwarmSpec,
    interface: String,
}

impl std::fmt::Debug for WireGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireGuard")
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

fn wireguard_port(swarm: &SwarmSpec) -> u16 {
    swarm.data_path_port.wrapping_add(1)
}

fn vxlan_port(swarm: &SwarmSpec) -> u16 {
    swarm.data_path_port.wrapping_add(2)
}

/// MTU of the tunnel over a network of this MTU.
fn tunnel_mtu(swarm: &SwarmSpec, underlay: u32) -> u32 {
    let v4 = swarm.data_path_addr.is_ipv4();
    underlay.saturating_sub(if v4 { OVERHEAD_V4 } else { OVERHEAD_V6 })
}

/// Where an encrypted network's VXLAN tunnels start.
pub(crate) fn tunnel(swarm: &SwarmSpec, underlay: u32) -> Tunnel {
    let mtu = tunnel_mtu(swarm, underlay).saturating_sub(VXLAN_OVERHEAD);
    Tunnel {
        local: address_of(&swarm.node_id).into(),
        port: vxlan_port(swarm),
        mtu,
    }
}

fn guard_tables(instance: &str) -> [Table; 2] {
    [Family::Ip, Family::Ip6].map(|f| Table::new(f, format!("skep-{instance}-wg")))
}

/// Drops encrypted networks' VXLAN packets everywhere but in the tunnel.
fn guard(instance: &str, interface: &str, port: u16, nft: &mut NftSocket) -> Result<(), NetError> {
    let mut tx = Transaction::new();
    for t in guard_tables(instance) {
        tx.reset_table(&t);
        let out = t
            .rule()
            .oifname(false, interface)
            .l4proto(UDP)
            .dport(port)
            .drop();
        tx.set_chain(&t, &Chain::base("output", Hook::OUTPUT), [out]);
        let into = t
            .rule()
            .iifname(false, interface)
            .l4proto(UDP)
            .dport(port)
            .drop();
        tx.set_chain(&t, &Chain::base("input", Hook::INPUT), [into]);
    }
    nft.commit(tx)
        .map_err(NetError::netlink("guard encrypted networks"))
}

/// Removes the guard: no encrypted network is in the kernel any more.
pub(crate) fn remove_guard(instance: &str, nft: &mut NftSocket) -> Result<(), NetError> {
    let mut tx = Transaction::new();
    for t in guard_tables(instance) {
        tx.remove_table(&t);
    }
    nft.commit(tx)
        .map_err(NetError::netlink("remove guard of encrypted networks"))
}

impl WireGuard {
    /// Makes the tunnel device and serves it, behind its guard.
    pub fn open(
        instance: &str,
        runtime: &Handle,
        key: &NodeKey,
        swarm: &SwarmSpec,
        host: &Netns,
        sockets: (&mut RouteSocket, &mut NftSocket),
    ) -> Result<WireGuard, NetError> {
        let (route, nft) = sockets;
        let interface = interface_of(instance);
        guard(instance, &interface, vxlan_port(swarm), nft)?;
        let carrier = match KernelTunnel::open(&interface, key, wireguard_port(swarm), host, route)?
        {
            Some(tunnel) => Carrier::Kernel(tunnel),
            None => Carrier::Userspace(userspace(&interface, runtime, key, swarm, host)?),
        };
        let failed = || NetError::netlink(format!("set up tunnel device {interface}"));
        let index = route
            .link(&interface)
            .map_err(failed())?
            .map_or(0, |l| l.index);
        route
            .set_mtu(index, tunnel_mtu(swarm, 1500))
            .map_err(failed())?;
        route.set_up_without_ipv6(index).map_err(failed())?;
        let own = Cidr::host(address_of(&swarm.node_id).into());
        route.add_address(index, own).map_err(failed())?;
        let to = network();
        let all = Route {
            to: Some(to),
            gateway: None,
            index,
            table: 0,
            metric: 0,
            v4: false,
            local: false,
        };
        route.set_route(&all).map_err(failed())?;
        Ok(WireGuard {
            carrier,
            swarm: swarm.clone(),
            interface,
        })
    }

    /// Writes the guard again.
    pub fn restore_guard(&self, instance: &str, nft: &mut NftSocket) -> Result<(), NetError> {
        guard(instance, &self.interface, vxlan_port(&self.swarm), nft)
    }

    /// Whether it still is this node's tunnel.
    pub fn serves(&self, swarm: &SwarmSpec) -> bool {
        self.swarm == *swarm
    }

    /// Exchanges packets with these nodes.
    pub fn set_peers(&mut self, nodes: &Keys) -> Result<(), NetError> {
        let port = wireguard_port(&self.swarm);
        let at = |(key, address, outer): &([u8; 32], _, _)| {
            (*address, (*key, SocketAddr::new(*outer, port)))
        };
        let wanted = nodes.values().map(at).collect();
        match &mut self.carrier {
            Carrier::Kernel(tunnel) => tunnel.set_peers(wanted),
            Carrier::Userspace(engine) => {
                engine.set_peers(&wanted);
                Ok(())
            }
        }
    }

    /// Takes the tunnel away.
    pub fn close(self, route: &mut RouteSocket) -> Result<(), NetError> {
        match self.carrier {
            // Its device goes with it.
            Carrier::Userspace(_) => Ok(()),
            Carrier::Kernel(_) => remove_device(&self.interface, route),
        }
    }

    /// Where keys can be replaced while packets pass: in the kernel a device has one.
    fn engine(&self) -> Option<&Engine> {
        match &self.carrier {
            Carrier::Kernel(_) => None,
            Carrier::Userspace(engine) => Some(engine),
        }
    }
}

/// Removes the kernel's device of this name, if there is one.
fn remove_device(interface: &str, route: &mut RouteSocket) -> Result<(), NetError> {
    let failed = NetError::netlink(format!("remove tunnel device {interface}"));
    route.delete_link(interface).map_err(failed)
}

/// Removes a device that a daemon before this left behind.
pub(crate) fn sweep(instance: &str, route: &mut RouteSocket) -> Result<(), NetError> {
    remove_device(&interface_of(instance), route)
}

fn interface_of(instance: &str) -> String {
    format!("wg-{instance}")
}

/// A device of our own, and those who serve it.
fn userspace(
    interface: &str,
    runtime: &Handle,
    key: &NodeKey,
    swarm: &SwarmSpec,
    host: &Netns,
) -> Result<Engine, NetError> {
    let failed = |attempt: String| move |source| NetError::Socket { attempt, source };
    let address = SocketAddr::new(swarm.data_path_addr, wireguard_port(swarm));
    let (device, socket) = host.run(|| {
        let socket = std::net::UdpSocket::bind(address);
        let socket = socket.map_err(failed(format!("bind {address}/udp")))?;
        let device = socket
            .set_nonblocking(true)
            .and_then(|()| device(interface))
            .map_err(failed(format!("make tunnel device {interface}")))?;
        Ok((device, socket))
    })?;
    Engine::start(runtime, key.clone(), device, socket)
        .map_err(failed(format!("serve tunnel device {interface}")))
}

/// The device lives as long as a descriptor of it.
fn device(interface: &str) -> std::io::Result<OwnedFd> {
    let device = DeviceBuilder::new()
        .name(interface)
        .enable(false)
        .build_sync()?;
    let device = device.as_fd().try_clone_to_owned()?;
    set_nonblocking(device.as_fd())?;
    Ok(device)
}

fn set_nonblocking(fd: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(
        fd,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}
