//! rtnetlink: links, addresses, routes, rules and neighbours.

mod addr;
mod link;
mod neigh;
mod routes;
#[cfg(test)]
mod tests;

pub use addr::Address;
pub use link::{Link, LinkKind, NewLink, Vxlan};
pub use neigh::{FdbEntry, Neighbour};
pub use routes::{Route, Rule};

use super::{Message, NetlinkError, Socket, Subsystem};

/// An rtnetlink socket of one namespace.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            socket: Socket::open(Subsystem::Route)?,
        })
    }

    fn request(&mut self, message: Message) -> Result<(), NetlinkError> {
        self.socket.request(message)
    }
}

/// Address family number of an IP address.
fn family(v4: bool) -> u8 {
    if v4 { FAMILY_V4 } else { FAMILY_V6 }
}

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const FAMILY_BRIDGE: u8 = 7;

/// Reads an answer as whatever it may be, for fuzzing.
pub(super) fn parse_any(reply: &super::Reply) {
    let _ = (link::parse(reply), routes::parse(reply));
}
