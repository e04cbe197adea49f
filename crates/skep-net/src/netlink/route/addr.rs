//! Addresses of links.

use std::net::{IpAddr, Ipv4Addr};

use super::{RouteSocket, family};
use crate::addr::Cidr;
use crate::netlink::NetlinkError;
use crate::netlink::wire::{Message, flag};

const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
// IFA_*
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const BROADCAST: u16 = 4;
const FLAGS: u16 = 8;
/// No duplicate address detection: the allocator gave the address to one endpoint only.
const NODAD: u32 = 0x02;

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Link.
    pub index: u32,
    /// The address.
    pub cidr: Cidr,
}

fn message(kind: u16, flags: u16, index: u32, cidr: Cidr) -> Message {
    let mut fixed = vec![family(cidr.is_ipv4()), cidr.prefix, 0, 0];
    fixed.extend(index.to_ne_bytes());
    let mut m = Message::new(kind, flags).fixed(&fixed);
    m.put_ip(LOCAL, cidr.addr);
    m.put_ip(ADDRESS, cidr.addr);
    match broadcast(cidr) {
        Some(ip) => m.put_ip(BROADCAST, ip),
        None if !cidr.is_ipv4() => m.put_u32(FLAGS, NODAD),
        None => {}
    }
    m
}

/// The last address of an IPv4 subnet; links between two hosts have none.
fn broadcast(cidr: Cidr) -> Option<IpAddr> {
    let IpAddr::V4(ip) = cidr.addr else {
        return None;
    };
    let hosts = u32::MAX.checked_shr(u32::from(cidr.prefix)).unwrap_or(0);
    (cidr.prefix < 31).then(|| IpAddr::V4(Ipv4Addr::from(u32::from(ip) | hosts)))
}

impl RouteSocket {
    /// Gives a link an address; one that it has is no error.
    pub fn add_address(&mut self, index: u32, cidr: Cidr) -> Result<(), NetlinkError> {
        match self.request(message(NEWADDR, flag::CREATE | flag::EXCL, index, cidr)) {
            Err(e) if e.exists() => Ok(()),
            other => other,
        }
    }

    /// Takes an address from a link; one that it has not is no error.
    pub fn delete_address(&mut self, index: u32, cidr: Cidr) -> Result<(), NetlinkError> {
        match self.request(message(DELADDR, 0, index, cidr)) {
            Err(e) if e.missing() => Ok(()),
            other => other,
        }
    }

    /// All addresses of the namespace.
    pub fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        let replies = self.socket.dump(Message::new(GETADDR, 0).fixed(&[0; 8]))?;
        let parse = |r: &crate::netlink::Reply| {
            let local = r
                .attrs(8)
                .find(LOCAL)
                .or_else(|| r.attrs(8).find(ADDRESS))?;
            let cidr = Cidr::new(local.ip()?, r.u8_at(1)?);
            Some(Address {
                index: r.u32_at(4)?,
                cidr,
            })
        };
        Ok(replies.iter().filter_map(parse).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_of_a_subnet_is_for_all() {
        for (cidr, expect) in [
            ("172.17.0.2/16", Some("172.17.255.255")),
            ("10.1.2.130/25", Some("10.1.2.255")),
            ("10.1.2.0/31", None),
            ("10.1.2.3/32", None),
            ("fd00::2/64", None),
        ] {
            let cidr: Cidr = cidr.parse().expect(cidr);
            assert_eq!(broadcast(cidr).map(|ip| ip.to_string()).as_deref(), expect);
        }
    }
}
