//! The mesh that carries encrypted networks: WireGuard between nodes, in userspace.
//!
//! ```text
//! container -> bridge -> vxlan (local = own tunnel address, port data path + 2)
//!           -> tunnel device -> WireGuard -> UDP (data path + 1) -> the other node
//! ```
//! Rules drop the VXLAN port of encrypted networks on every other interface, in and out: when the
//! tunnel is gone, or the daemon is, nothing is sent in the clear.

mod batch;
mod engine;
mod key;
mod sync;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use tokio::runtime::Handle;
use tun_rs::DeviceBuilder;

use self::engine::Engine;
use self::key::network;
pub(crate) use self::key::{NodeKey, address_of};
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

/// This node's tunnel.
pub(crate) struct WireGuard {
    engine: Engine,
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
pub(crate) fn tunnel(swarm: &SwarmSpec, key: &NodeKey, underlay: u32) -> Tunnel {
    let mtu = tunnel_mtu(swarm, underlay).saturating_sub(VXLAN_OVERHEAD);
    Tunnel {
        local: key.address().into(),
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
        let interface = format!("wg-{instance}");
        guard(instance, &interface, vxlan_port(swarm), nft)?;
        let failed = |attempt: String| move |source| NetError::Socket { attempt, source };
        let failed_device = failed(format!("make tunnel device {interface}"));
        let address = SocketAddr::new(swarm.data_path_addr, wireguard_port(swarm));
        let failed_socket = failed(format!("bind {address}/udp"));
        let (device, socket) = host.run(|| {
            let socket = std::net::UdpSocket::bind(address).map_err(failed_socket)?;
            let make = || {
                socket.set_nonblocking(true)?;
                let device = DeviceBuilder::new()
                    .name(&interface)
                    .enable(false)
                    .build_sync()?;
                // The device lives as long as a descriptor of it.
                let device = device.as_fd().try_clone_to_owned()?;
                set_nonblocking(device.as_fd())?;
                Ok(device)
            };
            Ok((make().map_err(failed_device)?, socket))
        })?;
        let failed = || NetError::netlink(format!("set up tunnel device {interface}"));
        let index = route
            .link(&interface)
            .map_err(failed())?
            .map_or(0, |l| l.index);
        route
            .set_mtu(index, tunnel_mtu(swarm, 1500))
            .map_err(failed())?;
        route.set_up_without_ipv6(index).map_err(failed())?;
        let own = Cidr::host(key.address().into());
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
        let engine = Engine::start(runtime, key.clone(), device, socket);
        let attempt = format!("serve tunnel device {interface}");
        let engine = engine.map_err(|source| NetError::Socket { attempt, source })?;
        Ok(WireGuard {
            engine,
            swarm: swarm.clone(),
            interface,
        })
    }

    /// Whether it still is this node's tunnel.
    pub fn serves(&self, swarm: &SwarmSpec) -> bool {
        self.swarm == *swarm
    }

    /// Exchanges packets with nodes of these keys and data path addresses.
    pub fn set_peers(&self, nodes: &BTreeMap<[u8; 32], IpAddr>) {
        let port = wireguard_port(&self.swarm);
        let at = |(key, addr): (&[u8; 32], &IpAddr)| (*key, SocketAddr::new(*addr, port));
        self.engine.set_peers(&nodes.iter().map(at).collect());
    }
}

fn set_nonblocking(fd: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(
        fd,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}

/// The tunnel address of a node with this key, if it is one.
pub(crate) fn tunnel_address(key: &[u8]) -> Option<([u8; 32], Ipv6Addr)> {
    let key: [u8; 32] = key.try_into().ok()?;
    Some((key, address_of(&key)))
}
