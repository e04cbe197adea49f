//! WireGuard in the kernel, over generic netlink: the commands and attributes of
//! [`linux/wireguard.h`](https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/include/uapi/linux/wireguard.h).

use std::net::{IpAddr, SocketAddr};

use super::wire::Message;
use super::{NetlinkError, Socket, Subsystem};
use crate::addr::Cidr;

/// The family by which families are found: `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const NAME: &str = "wireguard";
/// `struct genlmsghdr`.
const HEADER: usize = 4;
const VERSION: u8 = 1;
const SET_DEVICE: u8 = 1;
// WGDEVICE_A_*
const IFNAME: u16 = 2;
const PRIVATE_KEY: u16 = 3;
const DEVICE_FLAGS: u16 = 5;
const LISTEN_PORT: u16 = 6;
const PEERS: u16 = 8;
const REPLACE_PEERS: u32 = 1;
// WGPEER_A_*
const PUBLIC_KEY: u16 = 1;
const PEER_FLAGS: u16 = 3;
const ENDPOINT: u16 = 4;
const ALLOWED_IPS: u16 = 9;
const REMOVE_ME: u32 = 1;
const REPLACE_ALLOWED_IPS: u32 = 2;
// WGALLOWEDIP_A_*
const FAMILY: u16 = 1;
const ADDRESS: u16 = 2;
const MASK: u16 = 3;
/// Peers in one message: an attribute is 64 KB at most.
const CHUNK: usize = 256;

/// A peer as the kernel is to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its public key.
    pub key: [u8; 32],
    /// Where it is.
    pub endpoint: SocketAddr,
    /// The only addresses that it may speak for.
    pub allowed: Cidr,
}

/// The kernel's WireGuard, in the namespace it was opened in.
#[derive(Debug)]
pub struct WireGuardSocket {
    socket: Socket,
    family: u16,
}

impl WireGuardSocket {
    /// Opens a socket in the calling thread's namespace; none where the kernel has no WireGuard.
    pub fn open() -> Result<Option<Self>, NetlinkError> {
        let mut socket = Socket::open(Subsystem::Generic)?;
        let family = match socket.get(ask_family()) {
            Ok(reply) => reply.attrs(HEADER).find(FAMILY_ID).and_then(|a| a.u16()),
            Err(e) if e.missing() => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(family.map(|family| Self { socket, family }))
    }

    /// Gives a device its key and port, and no peers.
    pub fn set_device(
        &mut self,
        name: &str,
        secret: &[u8; 32],
        port: u16,
    ) -> Result<(), NetlinkError> {
        self.socket.request(device(self.family, name, secret, port))
    }

    /// Sets peers of a device, and removes those of these keys.
    pub fn change_peers(
        &mut self,
        name: &str,
        set: &[Peer],
        removed: &[[u8; 32]],
    ) -> Result<(), NetlinkError> {
        let gone = removed
            .chunks(CHUNK)
            .map(|c| peers_gone(self.family, name, c));
        let new = set.chunks(CHUNK).map(|c| peers(self.family, name, c));
        // An address is one peer's: who had it before is gone first.
        let messages: Vec<Message> = gone.chain(new).collect();
        self.socket.many(messages).into_iter().collect()
    }
}

fn header(command: u8) -> [u8; HEADER] {
    [command, VERSION, 0, 0]
}

fn ask_family() -> Message {
    let mut m = Message::new(CONTROL, 0).fixed(&header(GET_FAMILY));
    m.put_str(FAMILY_NAME, NAME);
    m
}

fn of_device(family: u16, name: &str) -> Message {
    let mut m = Message::new(family, 0).fixed(&header(SET_DEVICE));
    m.put_str(IFNAME, name);
    m
}

fn device(family: u16, name: &str, secret: &[u8; 32], port: u16) -> Message {
    let mut m = of_device(family, name);
    m.put(PRIVATE_KEY, secret);
    m.put(LISTEN_PORT, &port.to_ne_bytes());
    m.put_u32(DEVICE_FLAGS, REPLACE_PEERS);
    m
}

fn peers(family: u16, name: &str, peers: &[Peer]) -> Message {
    let mut m = of_device(family, name);
    m.nest(PEERS, |m| {
        for peer in peers {
            m.nest(0, |m| {
                m.put(PUBLIC_KEY, &peer.key);
                m.put_u32(PEER_FLAGS, REPLACE_ALLOWED_IPS);
                m.put(ENDPOINT, &socket_address(peer.endpoint));
                m.nest(ALLOWED_IPS, |m| {
                    m.nest(0, |m| put_allowed(m, peer.allowed));
                });
            });
        }
    });
    m
}

fn peers_gone(family: u16, name: &str, keys: &[[u8; 32]]) -> Message {
    let mut m = of_device(family, name);
    m.nest(PEERS, |m| {
        for key in keys {
            m.nest(0, |m| {
                m.put(PUBLIC_KEY, key);
                m.put_u32(PEER_FLAGS, REMOVE_ME);
            });
        }
    });
    m
}

fn put_allowed(m: &mut Message, allowed: Cidr) {
    let family = address_family(allowed.addr);
    m.put(FAMILY, &family.to_ne_bytes());
    m.put_ip(ADDRESS, allowed.addr);
    m.put_u8(MASK, allowed.prefix);
}

fn address_family(ip: IpAddr) -> u16 {
    let family = if ip.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u16::try_from(family).unwrap_or(0)
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn socket_address(address: SocketAddr) -> Vec<u8> {
    let mut out = address_family(address.ip()).to_ne_bytes().to_vec();
    out.extend(address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            out.extend(v4.ip().octets());
            out.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            out.extend(v6.flowinfo().to_be_bytes());
            out.extend(v6.ip().octets());
            out.extend(v6.scope_id().to_ne_bytes());
        }
    }
    out
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    /// The bytes after netlink's own header, as groups of hexadecimal digits.
    fn check(message: Message, expect: &[&str]) {
        let bytes = message.finish(7).unwrap();
        let hex: String = bytes[16..].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expect.concat().replace(' ', ""));
    }

    #[test]
    fn a_family_is_asked_for_by_name() {
        check(
            ask_family(),
            &["03010000", "0e00 0200 776972656775617264 00 0000"],
        );
    }

    #[test]
    fn a_device_gets_key_and_port_and_loses_its_peers() {
        check(
            device(0x1c, "wg-a", &[0xaa; 32], 4790),
            &[
                "01010000",
                "0900 0200 77672d61 00 000000",
                "2400 0300",
                &"aa".repeat(32),
                "0600 0600 b612 0000",
                "0800 0500 01000000",
            ],
        );
    }

    #[test]
    fn a_peer_has_a_key_a_place_and_one_address() {
        let peer = Peer {
            key: [0xbb; 32],
            endpoint: "192.0.2.2:4790".parse().unwrap(),
            allowed: "fd53:6b70::1/128".parse().unwrap(),
        };
        check(
            peers(0x1c, "wg-a", &[peer]),
            &[
                "01010000",
                "0900 0200 77672d61 00 000000",
                // Peers, the first of them: 36 + 8 + 20 + 44 bytes, and headers of four.
                "7400 0880",
                "7000 0080",
                "2400 0100",
                &"bb".repeat(32),
                "0800 0300 02000000",
                "1400 0400 0200 12b6 c0000202 0000000000000000",
                "2c00 0980",
                "2800 0080",
                "0600 0100 0a00 0000",
                "1400 0200 fd536b70000000000000000000000001",
                "0500 0300 80 000000",
            ],
        );
    }

    #[test]
    fn a_peer_over_ipv6_is_a_longer_address() {
        let address = socket_address("[2001:db8::2]:4790".parse().unwrap());
        assert_eq!(address.len(), 28);
        assert_eq!(address[..4], [10, 0, 0x12, 0xb6]);
        assert_eq!(address[8..10], [0x20, 0x01]);
    }

    #[test]
    fn a_peer_that_is_gone_is_named_by_its_key() {
        check(
            peers_gone(0x1c, "wg-a", &[[0xcc; 32]]),
            &[
                "01010000",
                "0900 0200 77672d61 00 000000",
                "3400 0880",
                "3000 0080",
                "2400 0100",
                &"cc".repeat(32),
                "0800 0300 01000000",
            ],
        );
    }

    #[test]
    fn the_kernel_says_whether_it_has_wireguard() {
        // Either answer is right: that it is an answer shows that the question was.
        WireGuardSocket::open().unwrap();
    }
}
