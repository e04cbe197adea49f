//! A container's namespace, with netlink sockets into it that any thread can use.

use std::path::Path;

use crate::dns::DnsServer;
use crate::error::NetError;
use crate::ingress::TaskRules;
use crate::netlink::nft::NftSocket;
use crate::netlink::route::RouteSocket;
use crate::netns::Netns;
use crate::overlay::VipTable;

/// A container's namespace.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub netns: Netns,
    pub route: RouteSocket,
    pub nft: NftSocket,
    /// Ids of its endpoints, in the order in which they were attached.
    pub endpoints: Vec<String>,
    /// Service addresses, IPv4 and IPv6.
    pub vips: [VipTable; 2],
    /// The mesh's rules, for tasks that are on it.
    pub mesh: TaskRules,
    /// Its name server, if it has one.
    pub dns: Option<DnsServer>,
}

fn open_sockets() -> Result<(RouteSocket, NftSocket), NetError> {
    let route = RouteSocket::open().map_err(NetError::netlink("open rtnetlink socket"))?;
    let nft = NftSocket::open().map_err(NetError::netlink("open nf_tables socket"))?;
    Ok((route, nft))
}

impl Sandbox {
    /// Opens the namespace pinned here, or makes it, with its loopback up.
    pub fn open_or_create(pin: &Path) -> Result<Sandbox, NetError> {
        let (netns, (mut route, nft), is_fresh) = match Netns::open(pin)? {
            Some(netns) => {
                let sockets = netns.run(open_sockets)?;
                (netns, sockets, false)
            }
            None => {
                let (netns, sockets) = Netns::create(pin, open_sockets)?;
                (netns, sockets, true)
            }
        };
        let up = |route: &mut RouteSocket| route.set_up(LOOPBACK, true);
        up(&mut route).map_err(NetError::netlink("set loopback up"))?;
        Ok(Sandbox {
            netns,
            route,
            nft,
            endpoints: Vec::new(),
            vips: [true, false].map(|v4| VipTable::new(v4, is_fresh)),
            mesh: TaskRules::default(),
            dns: None,
        })
    }
}

/// The loopback has this index in every namespace.
const LOOPBACK: u32 = 1;
