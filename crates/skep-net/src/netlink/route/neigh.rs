//! Neighbours, and the forwarding entries of bridges and VXLAN devices.

use std::net::IpAddr;

use super::{FAMILY_BRIDGE, RouteSocket, family};
use crate::addr::Mac;
use crate::netlink::NetlinkError;
use crate::netlink::wire::{Message, flag};

const NEWNEIGH: u16 = 28;
const DELNEIGH: u16 = 29;
const GETNEIGH: u16 = 30;
// NDA_*
const DST: u16 = 1;
const LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NUD_NOARP: u16 = 0x40;
const NTF_SELF: u8 = 0x02;
const NTF_MASTER: u8 = 0x04;

/// A permanent neighbour: who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The IP address.
    pub ip: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}

/// A forwarding entry of a VXLAN device: behind which node a hardware address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbEntry {
    /// The hardware address.
    pub mac: Mac,
    /// The node's outer address.
    pub node: IpAddr,
}

fn fixed(family: u8, index: u32, flags: u8) -> Vec<u8> {
    fixed_as(NUD_PERMANENT, family, index, flags)
}

fn fixed_as(state: u16, family: u8, index: u32, flags: u8) -> Vec<u8> {
    let mut out = vec![family, 0, 0, 0];
    out.extend(index.to_ne_bytes());
    out.extend(state.to_ne_bytes());
    out.extend([flags, 0]);
    out
}

fn neighbour(kind: u16, flags: u16, index: u32, entry: &Neighbour) -> Message {
    let mut m = Message::new(kind, flags).fixed(&fixed(family(entry.ip.is_ipv4()), index, 0));
    m.put_ip(DST, entry.ip);
    m.put(LLADDR, &entry.mac.0);
    m
}

fn fdb(kind: u16, flags: u16, index: u32, entry: &FdbEntry) -> Message {
    let mut m = Message::new(kind, flags).fixed(&fixed(FAMILY_BRIDGE, index, NTF_SELF));
    m.put(LLADDR, &entry.mac.0);
    m.put_ip(DST, entry.node);
    m
}

fn port_entry(kind: u16, flags: u16, port: u32, mac: Mac) -> Message {
    let fixed = fixed_as(NUD_NOARP, FAMILY_BRIDGE, port, NTF_MASTER);
    let mut m = Message::new(kind, flags).fixed(&fixed);
    m.put(LLADDR, &mac.0);
    m
}

/// The first failure that is not "already so".
fn all(results: Vec<Result<(), NetlinkError>>) -> Result<(), NetlinkError> {
    results
        .into_iter()
        .find(|r| matches!(r, Err(e) if !e.missing()))
        .unwrap_or(Ok(()))
}

impl RouteSocket {
    /// Sets permanent neighbours of a link.
    pub fn set_neighbours(
        &mut self,
        index: u32,
        entries: &[Neighbour],
    ) -> Result<(), NetlinkError> {
        let set = |e| neighbour(NEWNEIGH, flag::CREATE | flag::REPLACE, index, e);
        all(self.socket.many(entries.iter().map(set).collect()))
    }

    /// Removes neighbours of a link.
    pub fn delete_neighbours(
        &mut self,
        index: u32,
        entries: &[Neighbour],
    ) -> Result<(), NetlinkError> {
        let delete = |e| neighbour(DELNEIGH, 0, index, e);
        all(self.socket.many(entries.iter().map(delete).collect()))
    }

    /// The permanent neighbours of a link.
    pub fn neighbours(&mut self, index: u32) -> Result<Vec<Neighbour>, NetlinkError> {
        let mut out = Vec::new();
        for v4 in [true, false] {
            let replies =
                self.socket
                    .dump(Message::new(GETNEIGH, 0).fixed(&fixed(family(v4), 0, 0)))?;
            for reply in replies.iter().filter(|r| r.u32_at(4) == Some(index)) {
                let attrs = reply.attrs(12);
                let ip = attrs.find(DST).and_then(|a| a.ip());
                let mac = attrs
                    .find(LLADDR)
                    .and_then(|a| a.value.try_into().ok())
                    .map(Mac);
                let permanent = reply.u16_at(8).unwrap_or(0) & NUD_PERMANENT != 0;
                if let (Some(ip), Some(mac), true) = (ip, mac, permanent) {
                    out.push(Neighbour { ip, mac });
                }
            }
        }
        Ok(out)
    }

    /// Sets forwarding entries of a VXLAN device. An entry of the same hardware address is replaced.
    pub fn set_fdb(&mut self, index: u32, entries: &[FdbEntry]) -> Result<(), NetlinkError> {
        let set = |e| fdb(NEWNEIGH, flag::CREATE | flag::REPLACE, index, e);
        all(self.socket.many(entries.iter().map(set).collect()))
    }

    /// Removes forwarding entries of a VXLAN device.
    pub fn delete_fdb(&mut self, index: u32, entries: &[FdbEntry]) -> Result<(), NetlinkError> {
        let delete = |e| fdb(DELNEIGH, 0, index, e);
        all(self.socket.many(entries.iter().map(delete).collect()))
    }

    /// Says behind which port of its bridge a hardware address is, whatever the bridge has learned.
    pub fn pin_to_port(&mut self, port: u32, mac: Mac) -> Result<(), NetlinkError> {
        self.request(port_entry(
            NEWNEIGH,
            flag::CREATE | flag::REPLACE,
            port,
            mac,
        ))
    }

    /// Forgets that a hardware address is behind a port of a bridge, said or learned.
    pub fn unpin_from_port(&mut self, port: u32, mac: Mac) -> Result<(), NetlinkError> {
        match self.request(port_entry(DELNEIGH, 0, port, mac)) {
            Err(e) if e.missing() => Ok(()),
            other => other,
        }
    }

    /// The forwarding entries of a VXLAN device.
    pub fn fdb(&mut self, index: u32) -> Result<Vec<FdbEntry>, NetlinkError> {
        let replies =
            self.socket
                .dump(Message::new(GETNEIGH, 0).fixed(&fixed(FAMILY_BRIDGE, 0, 0)))?;
        let mut out = Vec::new();
        for reply in replies.iter().filter(|r| r.u32_at(4) == Some(index)) {
            let attrs = reply.attrs(12);
            let node = attrs.find(DST).and_then(|a| a.ip());
            let mac = attrs
                .find(LLADDR)
                .and_then(|a| a.value.try_into().ok())
                .map(Mac);
            if let (Some(node), Some(mac)) = (node, mac) {
                out.push(FdbEntry { mac, node });
            }
        }
        Ok(out)
    }
}
