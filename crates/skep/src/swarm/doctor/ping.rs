//! The way to another host, tried with ICMP echoes: a small one, and one that fills an Ethernet
//! frame, which is what a full packet of an overlay network needs.

use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const DEADLINE: Duration = Duration::from_millis(800);
const HEADER: usize = 8;
/// Of the frame that an overlay network fills.
const FULL: usize = 1500;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) small: Option<Duration>,
    pub(super) full: Option<Duration>,
}

/// Tries the way to a host. Blocks up to two deadlines.
pub(super) fn ping(to: IpAddr) -> io::Result<Answers> {
    let ip_header = if to.is_ipv4() { 20 } else { 40 };
    let small = echo(to, 32)?;
    let full = match small {
        Some(_) => echo(to, FULL - ip_header - HEADER)?,
        None => None,
    };
    Ok(Answers { small, full })
}

fn echo(to: IpAddr, payload: usize) -> io::Result<Option<Duration>> {
    let (domain, protocol, kind, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let id: u16 = rand::random();
    let mut packet = vec![0; HEADER + payload];
    packet[0] = kind;
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    // The kernel sums up ICMPv6 itself.
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    let start = Instant::now();
    match socket.send_to(&packet, &SocketAddr::new(to, 0).into()) {
        Ok(_) => {}
        // Larger than the interface or the known path takes.
        Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Ok(None),
        Err(error) if is_no_way(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = [0; 2048];
    loop {
        let Some(left) = DEADLINE
            .checked_sub(start.elapsed())
            .filter(|d| !d.is_zero())
        else {
            return Ok(None);
        };
        socket.set_read_timeout(Some(left))?;
        let length = match (&socket).read(&mut bytes) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if is_no_way(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // An IPv4 packet comes with its header, which names the sender.
        let bytes = &bytes[..length];
        let (message, is_from) = match to {
            IpAddr::V4(to) => (bytes.get(20..), bytes.get(12..16) == Some(&to.octets()[..])),
            IpAddr::V6(_) => (Some(bytes), true),
        };
        let is_ours = message.is_some_and(|m| {
            m.first() == Some(&reply) && m.get(4..6) == Some(id.to_be_bytes().as_slice())
        });
        if is_ours && is_from {
            return Ok(Some(start.elapsed()));
        }
    }
}

fn is_no_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::ConnectionRefused
    )
}

/// Of RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| (u32::from(pair[0]) << 8) | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_rfc_1071() {
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(checksum(&[0xff]), 0x00ff);
    }
}
