//! What a published port is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A transport protocol that ports are published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The protocol's number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// One `--publish` of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Address on the host; `None` is every address of both families that the container has.
    pub host_ip: Option<IpAddr>,
    /// First host port that will do; 0 takes one of the ephemeral range.
    pub host_port: u16,
    /// Last host port that will do (`--publish 8000-8010:80` takes the first free one); not above
    /// `host_port` means exactly `host_port`.
    pub host_port_end: u16,
    /// The container's addresses, one a family.
    pub container_ips: Vec<IpAddr>,
    /// Serve what the kernel cannot translate: a family of the host's that the container has not,
    /// and `::1`.
    pub relay: bool,
    /// Port in the container.
    pub container_port: u16,
}

/// A port that is now published: one for each address family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// `0.0.0.0`, `::` or the address asked for.
    pub host_ip: IpAddr,
    /// The port on the host.
    pub host_port: u16,
    /// Where it leads.
    pub container_ip: IpAddr,
    /// Port in the container.
    pub container_port: u16,
}

impl PublishedPort {
    /// Whether the kernel leads packets to the container.
    pub(crate) fn is_translated(&self) -> bool {
        self.host_ip.is_ipv4() == self.container_ip.is_ipv4() && !is_v6_loopback(self.host_ip)
    }

    /// Whether there is something of it that the kernel does not do.
    pub(crate) fn is_relayed(&self) -> bool {
        let any_v6 = self.host_ip == IpAddr::from(Ipv6Addr::UNSPECIFIED);
        (any_v6 || !self.is_translated()) && self.protocol != Protocol::Sctp
    }
}

fn is_v6_loopback(ip: IpAddr) -> bool {
    ip.is_ipv6() && ip.is_loopback()
}
