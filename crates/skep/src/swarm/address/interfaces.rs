//! The host's interfaces, as the kernel lists them.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// The interface is up.
    pub is_up: bool,
    /// The address belongs to a network of this engine.
    pub is_ours: bool,
}

impl HostAddress {
    /// Whether other hosts may know this one by it.
    pub(super) fn is_candidate(&self) -> bool {
        let is_reachable = match self.ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        self.is_up && !self.is_ours && is_reachable && !self.ip.is_loopback()
    }
}

/// All addresses; `is_ours` says which interfaces an engine made.
pub fn host_addresses(is_ours: impl Fn(&str) -> bool) -> io::Result<Vec<HostAddress>> {
    let mut out = Vec::new();
    for entry in getifaddrs().map_err(io::Error::from)? {
        let Some(storage) = entry.address else {
            continue;
        };
        let ip = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => continue,
        };
        out.push(HostAddress {
            is_ours: is_ours(&entry.interface_name),
            interface: entry.interface_name,
            ip,
            is_up: entry.flags.contains(InterfaceFlags::IFF_UP),
        });
    }
    Ok(out)
}
