//! The packets of an examination: UDP to the data path's port, with the header of a VXLAN segment
//! that no network has, so that the kernel drops them there.
//!
//! ```text
//!  IP | UDP | 08 00 00 00  ff ff ff 00 | "skep" | small 0, full 1 | id (16) | node id | zeros
//!            VXLAN flags,  VNI 0xffffff
//! ```

use std::net::IpAddr;

use socket2::SockFilter;

const VXLAN: [u8; 8] = [8, 0, 0, 0, 0xff, 0xff, 0xff, 0];
const MAGIC: [u8; 4] = *b"skep";
const UDP_HEADER: usize = 8;
const ID: usize = 16;
const NODE: usize = 64;
/// Where senders say that they come from: any port does.
const SOURCE_PORT: u16 = 4790;
/// Do not fragment.
const DONT_FRAGMENT: u8 = 0x40;
const HOPS: u8 = 64;
const UDP: u8 = 17;

/// What one packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: Vec<u8>,
    pub(super) node_id: String,
    pub(super) is_full: bool,
}

impl Said {
    fn payload(&self, bytes: usize) -> Vec<u8> {
        let mut id = self.id.clone();
        id.resize(ID, 0);
        let mut node = self.node_id.clone().into_bytes();
        node.resize(NODE, 0);
        let mut payload = VXLAN.to_vec();
        payload.extend(MAGIC);
        payload.push(u8::from(self.is_full));
        payload.extend(id);
        payload.extend(node);
        payload.resize(payload.len().max(bytes), 0);
        payload
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&VXLAN)?.strip_prefix(&MAGIC)?;
        let (&is_full, rest) = rest.split_first()?;
        let (id, rest) = rest.split_at_checked(ID)?;
        let node = rest.get(..NODE)?;
        let end = node.iter().position(|byte| *byte == 0).unwrap_or(NODE);
        Some(Self {
            id: id.to_vec(),
            node_id: String::from_utf8(node[..end].to_vec()).ok()?,
            is_full: is_full == 1,
        })
    }

    /// The whole packet, IP header included, of so many bytes if that holds it.
    pub(super) fn packet(&self, from: IpAddr, to: IpAddr, port: u16, bytes: usize) -> Vec<u8> {
        let header = ip_header_bytes(to);
        let payload = self.payload(bytes.saturating_sub(header + UDP_HEADER));
        let length = UDP_HEADER + payload.len();
        let mut udp = Vec::with_capacity(length);
        udp.extend(SOURCE_PORT.to_be_bytes());
        udp.extend(port.to_be_bytes());
        udp.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let mut packet = match (from, to) {
            // The kernel fills in length, id and checksum; UDP needs none on IPv4.
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut ip = vec![0; 20];
                ip[0] = 0x45;
                ip[6] = DONT_FRAGMENT;
                (ip[8], ip[9]) = (HOPS, UDP);
                ip[12..16].copy_from_slice(&from.octets());
                ip[16..20].copy_from_slice(&to.octets());
                ip
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut ip = vec![0; 40];
                ip[0] = 0x60;
                ip[4..6].copy_from_slice(&udp[4..6]);
                (ip[6], ip[7]) = (UDP, HOPS);
                ip[8..24].copy_from_slice(&from.octets());
                ip[24..40].copy_from_slice(&to.octets());
                let sum = udp_checksum(&ip[8..40], &udp);
                udp[6..8].copy_from_slice(&sum.to_be_bytes());
                ip
            }
            // Of two families: there is no way.
            _ => Vec::new(),
        };
        packet.extend(udp);
        packet
    }

    /// What a raw socket of UDP has received, and on which port.
    pub(super) fn received(bytes: &[u8], is_v4: bool) -> Option<(u16, Self)> {
        // IPv4 packets come with their header, IPv6 packets without.
        let header = if is_v4 {
            usize::from(bytes.first()? & 0x0f) * 4
        } else {
            0
        };
        let udp = bytes.get(header..)?;
        let port = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
        Some((port, Self::read(udp.get(UDP_HEADER..)?)?))
    }
}

pub(super) fn ip_header_bytes(addr: IpAddr) -> usize {
    if addr.is_ipv4() { 20 } else { 40 }
}

fn udp_checksum(addresses: &[u8], udp: &[u8]) -> u16 {
    let length = u32::try_from(udp.len()).unwrap_or_default();
    let mut all = addresses.to_vec();
    all.extend(length.to_be_bytes());
    all.extend([0, 0, 0, UDP]);
    all.extend(udp);
    match super::super::doctor::checksum(&all) {
        0 => 0xffff,
        sum => sum,
    }
}

/// Lets through these packets only: the socket would get a copy of every UDP packet of the host.
pub(super) fn filter(is_v4: bool) -> Vec<SockFilter> {
    // linux/filter.h; see https://www.kernel.org/doc/html/latest/networking/filter.html
    const LOAD_HEADER_LENGTH: u16 = 0xb1; // x = 4 * (packet[k] & 15)
    const LOAD_X: u16 = 0x01; // x = k
    const LOAD_WORD: u16 = 0x40; // a = packet[x + k]
    const JUMP_UNLESS: u16 = 0x15; // a == k ? jt : jf
    const RETURN: u16 = 0x06;
    let word =
        |at: usize| u32::from_be_bytes([VXLAN[at], VXLAN[at + 1], VXLAN[at + 2], VXLAN[at + 3]]);
    let start = if is_v4 { LOAD_HEADER_LENGTH } else { LOAD_X };
    vec![
        SockFilter::new(start, 0, 0, 0),
        SockFilter::new(LOAD_WORD, 0, 0, 8),
        SockFilter::new(JUMP_UNLESS, 0, 5, word(0)),
        SockFilter::new(LOAD_WORD, 0, 0, 12),
        SockFilter::new(JUMP_UNLESS, 0, 3, word(4)),
        SockFilter::new(LOAD_WORD, 0, 0, 16),
        SockFilter::new(JUMP_UNLESS, 0, 1, u32::from_be_bytes(MAGIC)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_on_arrival_what_it_was_sent_with() {
        let said = Said {
            id: vec![7; 16],
            node_id: "n1".to_owned(),
            is_full: true,
        };
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let packet = said.packet(from, to, 4789, 1500);
            assert_eq!(packet.len(), 1500);
            let received = if to.is_ipv4() {
                &packet[..]
            } else {
                &packet[40..]
            };
            assert_eq!(
                Said::received(received, to.is_ipv4()),
                Some((4789, said.clone()))
            );
            for end in 0..100 {
                assert_eq!(Said::received(&received[..end], to.is_ipv4()), None);
            }
        }
    }
}
