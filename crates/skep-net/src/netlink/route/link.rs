//! Links: bridges, veth pairs, VXLAN devices.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::RouteSocket;
use crate::addr::Mac;
use crate::endpoint::InterfaceStats;
use crate::netlink::NetlinkError;
use crate::netlink::wire::{Attr, Message, Reply, flag};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
/// `struct ifinfomsg`.
const INFO: usize = 16;
const UP: u32 = 1;

// IFLA_*
const ADDRESS: u16 = 1;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const LINK: u16 = 5;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const IFALIAS: u16 = 20;
const STATS64: u16 = 23;
const NET_NS_FD: u16 = 28;
// IFLA_INFO_*
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_DATA: u16 = 5;
const INFO_SLAVE_KIND: u16 = 4;
const VETH_PEER: u16 = 1;
const MACVLAN_MODE: u16 = 1;
const IPVLAN_MODE: u16 = 1;
const IPVLAN_FLAGS: u16 = 2;
const VLAN_ID: u16 = 1;
// IFLA_BRPORT_*
const PORT_HAIRPIN: u16 = 4;
const PORT_ISOLATED: u16 = 33;
// IFLA_BR_*
const BR_FORWARD_DELAY: u16 = 1;
const BR_STP: u16 = 5;
const BR_SNOOPING: u16 = 23;

/// A VXLAN device's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Own outer address.
    pub local: IpAddr,
}

/// What a new link is.
#[derive(Debug)]
pub enum LinkKind<'a> {
    /// A bridge without spanning tree.
    Bridge,
    /// A VXLAN device that learns nothing and answers ARP and ND from its neighbour table.
    Vxlan(Vxlan),
    /// WireGuard in the kernel; its UDP socket is in the namespace that it is made from.
    WireGuard,
    /// An interface on another's wire.
    Macvlan {
        /// Index of the other.
        parent: u32,
        /// `MACVLAN_MODE_…`.
        mode: u32,
    },
    /// An interface on another's wire, with the other's hardware address.
    Ipvlan {
        /// Index of the other.
        parent: u32,
        /// `IPVLAN_MODE_…`.
        mode: u16,
        /// `IPVLAN_F_…`.
        flags: u16,
    },
    /// Another's frames with this tag.
    Vlan {
        /// Index of the other.
        parent: u32,
        /// The tag.
        id: u16,
    },
    /// A wire that leads nowhere.
    Dummy,
    /// A device that drops what is not led elsewhere by rules: without them a wire that leads nowhere.
    Ifb,
    /// A veth pair; the other end with its name, address, MTU and namespace.
    Veth {
        /// Name of the other end.
        peer: String,
        /// Its hardware address.
        peer_mac: Option<Mac>,
        /// The namespace it is made in.
        peer_netns: Option<BorrowedFd<'a>>,
    },
}

/// A link to be made.
#[derive(Debug)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: LinkKind<'a>,
    /// Its MTU; both ends of a veth pair get it.
    pub mtu: Option<u32>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Index of the bridge it joins.
    pub master: Option<u32>,
    /// Set up at once.
    pub up: bool,
    /// The namespace it is made in; a VXLAN device's UDP socket stays in the socket's own.
    pub netns: Option<BorrowedFd<'a>>,
    /// Alias, by which an owner knows its links again (an own request follows where it is set).
    pub alias: Option<&'a str>,
}

impl<'a> NewLink<'a> {
    /// A link that is down, with the kernel's defaults.
    pub fn new(name: &'a str, kind: LinkKind<'a>) -> Self {
        Self {
            name,
            kind,
            mtu: None,
            mac: None,
            master: None,
            up: false,
            netns: None,
            alias: None,
        }
    }
}

/// A link as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `bridge`, `veth`, `vxlan`; empty for others.
    pub kind: String,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// MTU.
    pub mtu: u32,
    /// Index of a veth's other end, in its namespace.
    pub peer: Option<u32>,
    /// Bridge it belongs to.
    pub master: Option<u32>,
    /// Alias.
    pub alias: String,
    /// Administratively up.
    pub is_up: bool,
    /// Counters.
    pub stats: InterfaceStats,
    /// VNI, for VXLAN devices.
    pub vni: Option<u32>,
}

fn info(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend(index.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(change.to_ne_bytes());
    out
}

fn raw_fd(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

impl RouteSocket {
    /// Makes a link; the kernel answers `EEXIST` if the name is taken.
    pub fn create_link(&mut self, new: &NewLink<'_>) -> Result<(), NetlinkError> {
        let up = if new.up { UP } else { 0 };
        let mut m = Message::new(NEWLINK, flag::CREATE | flag::EXCL).fixed(&info(0, up, up));
        m.put_str(IFNAME, new.name);
        if let Some(mtu) = new.mtu {
            m.put_u32(MTU, mtu);
        }
        if let Some(mac) = new.mac {
            m.put(ADDRESS, &mac.0);
        }
        if let LinkKind::Macvlan { parent, .. }
        | LinkKind::Ipvlan { parent, .. }
        | LinkKind::Vlan { parent, .. } = &new.kind
        {
            m.put_u32(LINK, *parent);
        }
        if let Some(master) = new.master {
            m.put_u32(MASTER, master);
        }
        if let Some(netns) = new.netns {
            m.put_u32(NET_NS_FD, raw_fd(netns));
        }
        m.nest(LINKINFO, |m| put_kind(m, new));
        self.request(m)?;
        match new.alias {
            Some(alias) if new.netns.is_none() => self.set_alias(new.name, alias),
            _ => Ok(()),
        }
    }

    /// Sets a link's alias.
    pub fn set_alias(&mut self, name: &str, alias: &str) -> Result<(), NetlinkError> {
        let mut m = Message::new(NEWLINK, 0).fixed(&info(0, 0, 0));
        m.put_str(IFNAME, name);
        m.put(IFALIAS, alias.as_bytes());
        self.request(m)
    }

    /// Makes a link so that it has its alias from the moment that it has its name; until then it is
    /// called `unmarked`.
    pub fn create_marked(
        &mut self,
        new: NewLink<'_>,
        unmarked: &str,
        alias: &str,
    ) -> Result<(), NetlinkError> {
        if self.link(unmarked)?.is_some() {
            self.delete_link(unmarked)?;
        }
        let name = new.name;
        self.create_link(&NewLink {
            name: unmarked,
            ..new
        })?;
        self.rename_marked(unmarked, name, alias).inspect_err(|_| {
            // The first error is the one to tell; the next creation or sweep tries this again.
            let _ = self.delete_link(unmarked);
        })
    }

    /// Gives a link its name and its alias in one step.
    fn rename_marked(&mut self, from: &str, name: &str, alias: &str) -> Result<(), NetlinkError> {
        let index = self.link(from)?.unwrap_or_default().index;
        let mut m = Message::new(NEWLINK, 0).fixed(&info(index, 0, 0));
        m.put_str(IFNAME, name);
        m.put(IFALIAS, alias.as_bytes());
        self.request(m)
    }

    /// The link of this name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut m = Message::new(GETLINK, 0).fixed(&info(0, 0, 0));
        m.put_str(IFNAME, name);
        match self.socket.get(m) {
            Ok(reply) => Ok(Some(parse(&reply))),
            Err(e) if e.missing() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All links of the namespace.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let replies = self
            .socket
            .dump(Message::new(GETLINK, 0).fixed(&info(0, 0, 0)))?;
        Ok(replies.iter().map(parse).collect())
    }

    /// Sets a link up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), NetlinkError> {
        let flags = if up { UP } else { 0 };
        self.request(Message::new(NEWLINK, 0).fixed(&info(index, flags, UP)))
    }

    /// Sets a link's MTU.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        let mut m = Message::new(NEWLINK, 0).fixed(&info(index, 0, 0));
        m.put_u32(MTU, mtu);
        self.request(m)
    }

    /// Sets how a bridge treats a port: whether it talks to other isolated ports, and whether
    /// frames may return through it.
    pub fn set_port(
        &mut self,
        index: u32,
        isolated: bool,
        hairpin: bool,
    ) -> Result<(), NetlinkError> {
        let mut m = Message::new(NEWLINK, 0).fixed(&info(index, 0, 0));
        m.nest(LINKINFO, |m| {
            m.put_str(INFO_SLAVE_KIND, "bridge");
            m.nest(INFO_SLAVE_DATA, |m| {
                m.put_u8(PORT_HAIRPIN, u8::from(hairpin));
                m.put_u8(PORT_ISOLATED, u8::from(isolated));
            });
        });
        self.request(m)
    }

    /// Sets a link up without a link-local IPv6 address of its own.
    pub fn set_up_without_ipv6(&mut self, index: u32) -> Result<(), NetlinkError> {
        const AF_SPEC: u16 = 26;
        const ADDR_GEN_MODE: u16 = 8;
        const GEN_NONE: u8 = 1;
        let mut m = Message::new(NEWLINK, 0).fixed(&info(index, 0, 0));
        m.nest(AF_SPEC, |m| {
            m.nest(10, |m| m.put_u8(ADDR_GEN_MODE, GEN_NONE));
        });
        // A kernel without IPv6 refuses, and has no such address either.
        let _ = self.request(m);
        self.set_up(index, true)
    }

    /// Removes a link; one that is not there is no error.
    pub fn delete_link(&mut self, name: &str) -> Result<(), NetlinkError> {
        let mut m = Message::new(DELLINK, 0).fixed(&info(0, 0, 0));
        m.put_str(IFNAME, name);
        match self.request(m) {
            Err(e) if e.missing() => Ok(()),
            other => other,
        }
    }
}

fn put_kind(m: &mut Message, new: &NewLink<'_>) {
    match &new.kind {
        LinkKind::Bridge => {
            m.put_str(INFO_KIND, "bridge");
            m.nest(INFO_DATA, |m| {
                m.put_u32(BR_FORWARD_DELAY, 0);
                m.put_u32(BR_STP, 0);
                m.put_u8(BR_SNOOPING, 0);
            });
        }
        LinkKind::WireGuard => m.put_str(INFO_KIND, "wireguard"),
        LinkKind::Macvlan { mode, .. } => {
            m.put_str(INFO_KIND, "macvlan");
            m.nest(INFO_DATA, |m| m.put_u32(MACVLAN_MODE, *mode));
        }
        LinkKind::Ipvlan { mode, flags, .. } => {
            m.put_str(INFO_KIND, "ipvlan");
            m.nest(INFO_DATA, |m| {
                m.put(IPVLAN_MODE, &mode.to_ne_bytes());
                m.put(IPVLAN_FLAGS, &flags.to_ne_bytes());
            });
        }
        LinkKind::Vlan { id, .. } => {
            m.put_str(INFO_KIND, "vlan");
            m.nest(INFO_DATA, |m| m.put(VLAN_ID, &id.to_ne_bytes()));
        }
        LinkKind::Dummy => m.put_str(INFO_KIND, "dummy"),
        LinkKind::Ifb => m.put_str(INFO_KIND, "ifb"),
        LinkKind::Vxlan(vxlan) => {
            m.put_str(INFO_KIND, "vxlan");
            m.nest(INFO_DATA, |m| put_vxlan(m, vxlan));
        }
        LinkKind::Veth {
            peer,
            peer_mac,
            peer_netns,
        } => {
            m.put_str(INFO_KIND, "veth");
            m.nest(INFO_DATA, |m| {
                m.nest(VETH_PEER, |m| {
                    m.raw(&info(0, 0, 0));
                    m.put_str(IFNAME, peer);
                    if let Some(mtu) = new.mtu {
                        m.put_u32(MTU, mtu);
                    }
                    if let Some(mac) = peer_mac {
                        m.put(ADDRESS, &mac.0);
                    }
                    if let Some(netns) = peer_netns {
                        m.put_u32(NET_NS_FD, raw_fd(*netns));
                    }
                });
            });
        }
    }
}

// IFLA_VXLAN_*
fn put_vxlan(m: &mut Message, vxlan: &Vxlan) {
    m.put_u32(1, vxlan.vni);
    match vxlan.local {
        IpAddr::V4(_) => m.put_ip(4, vxlan.local),
        IpAddr::V6(_) => m.put_ip(17, vxlan.local),
    }
    m.put_u8(7, 0); // learning
    m.put_u8(11, 1); // proxy
    m.put_u16_be(15, vxlan.port);
    m.put_u8(18, 1); // UDP checksums
}

pub(super) fn parse(reply: &Reply) -> Link {
    let mut link = Link {
        index: reply.u32_at(4).unwrap_or(0),
        is_up: reply.u32_at(8).unwrap_or(0) & UP != 0,
        ..Link::default()
    };
    for attr in reply.attrs(INFO) {
        match attr.kind {
            IFNAME => link.name = attr.string(),
            ADDRESS => link.mac = attr.value.try_into().ok().map(Mac),
            MTU => link.mtu = attr.u32().unwrap_or(0),
            LINK => link.peer = attr.u32(),
            MASTER => link.master = attr.u32(),
            IFALIAS => link.alias = attr.string(),
            STATS64 => link.stats = parse_stats(&attr),
            LINKINFO => {
                link.kind = attr
                    .nested()
                    .find(INFO_KIND)
                    .map(|a| a.string())
                    .unwrap_or_default();
                if link.kind == "vxlan" {
                    let data = attr.nested().find(INFO_DATA);
                    link.vni = data.and_then(|d| d.nested().find(1)).and_then(|a| a.u32());
                }
            }
            _ => {}
        }
    }
    link
}

fn parse_stats(attr: &Attr<'_>) -> InterfaceStats {
    let at = |i: usize| {
        let bytes = attr
            .value
            .get(i * 8..i * 8 + 8)
            .and_then(|b| b.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    InterfaceStats {
        rx_packets: at(0),
        tx_packets: at(1),
        rx_bytes: at(2),
        tx_bytes: at(3),
        rx_errors: at(4),
        tx_errors: at(5),
        rx_dropped: at(6),
        tx_dropped: at(7),
    }
}
