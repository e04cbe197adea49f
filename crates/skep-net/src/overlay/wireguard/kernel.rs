//! WireGuard in the kernel: the tunnel device is the kernel's own, and packets never leave it.

use std::net::SocketAddr;

use super::engine::Wanted;
use super::key::NodeKey;
use crate::addr::Cidr;
use crate::error::NetError;
use crate::netlink::route::{LinkKind, NewLink, RouteSocket};
use crate::netlink::wireguard::{Peer, WireGuardSocket};
use crate::netns::Netns;

/// A device of the kernel. It serves on without a daemon, until it is removed.
pub(super) struct KernelTunnel {
    interface: String,
    socket: WireGuardSocket,
    /// What the kernel has.
    peers: Wanted,
}

impl KernelTunnel {
    /// Makes the device; none where the kernel has no WireGuard, or somebody else has the port on
    /// another address, which it cannot leave out.
    pub fn open(
        interface: &str,
        key: &NodeKey,
        port: u16,
        host: &Netns,
        route: &mut RouteSocket,
    ) -> Result<Option<Self>, NetError> {
        let failed = || NetError::netlink(format!("make tunnel device {interface}"));
        let opened = host.run(|| WireGuardSocket::open().map_err(failed()))?;
        let Some(mut socket) = opened else {
            return Ok(None);
        };
        // One that a daemon before this left behind.
        route.delete_link(interface).map_err(failed())?;
        let new = NewLink::new(interface, LinkKind::WireGuard);
        match route.create_link(&new) {
            Err(e) if e.is(libc::EOPNOTSUPP) => return Ok(None),
            made => made.map_err(failed())?,
        }
        let set = socket.set_device(interface, &key.secret.to_bytes(), port);
        // The port is taken when the device is set up.
        let index = route
            .link(interface)
            .map_err(failed())?
            .map_or(0, |l| l.index);
        if let Err(e) = set.and_then(|()| route.set_up_without_ipv6(index)) {
            route.delete_link(interface).map_err(failed())?;
            if e.is(libc::EADDRINUSE) {
                return Ok(None);
            }
            return Err(failed()(e));
        }
        Ok(Some(Self {
            interface: interface.to_owned(),
            socket,
            peers: Wanted::new(),
        }))
    }

    /// Exchanges packets with exactly these nodes.
    pub fn set_peers(&mut self, wanted: Wanted) -> Result<(), NetError> {
        let (set, removed) = changes(&self.peers, &wanted);
        if set.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let failed = NetError::netlink(format!("set peers of {}", self.interface));
        self.socket
            .change_peers(&self.interface, &set, &removed)
            .map_err(failed)?;
        self.peers = wanted;
        Ok(())
    }
}

/// Peers to be set, and keys of those to be removed.
fn changes(had: &Wanted, wanted: &Wanted) -> (Vec<Peer>, Vec<[u8; 32]>) {
    let key = |all: &Wanted, address| {
        all.get(address)
            .map(|(key, _): &([u8; 32], SocketAddr)| *key)
    };
    let new = wanted
        .iter()
        .filter(|(address, what)| had.get(*address) != Some(*what));
    let set = new.map(|(address, (key, endpoint))| Peer {
        key: *key,
        endpoint: *endpoint,
        allowed: Cidr::host((*address).into()),
    });
    let gone = had
        .iter()
        .filter(|(address, (old, _))| key(wanted, *address) != Some(*old));
    (set.collect(), gone.map(|(_, (key, _))| *key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8, key: u8) -> (std::net::Ipv6Addr, ([u8; 32], SocketAddr)) {
        let address = std::net::Ipv6Addr::new(0xfd53, 0, 0, 0, 0, 0, 0, number.into());
        (
            address,
            ([key; 32], SocketAddr::from(([192, 0, 2, number], 4790))),
        )
    }

    #[test]
    fn only_what_changed_is_told_to_the_kernel() {
        let had: Wanted = [node(1, 1), node(2, 2), node(3, 3)].into();
        // One stays, one has another key, one is gone, one is new.
        let wanted: Wanted = [node(1, 1), node(2, 9), node(4, 4)].into();
        let (set, removed) = changes(&had, &wanted);
        let keys: Vec<u8> = set.iter().map(|peer| peer.key[0]).collect();
        assert_eq!(keys, [9, 4]);
        assert_eq!(set[0].allowed.to_string(), "fd53::2/128");
        assert_eq!(removed, [[2; 32], [3; 32]]);
        assert_eq!(changes(&had, &had), (vec![], vec![]));
    }
}
