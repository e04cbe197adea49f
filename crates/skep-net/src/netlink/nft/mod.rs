//! nf_tables: rules, sets and atomic transactions.
//!
//! A [`Transaction`] is applied whole or not at all. Objects are "added", which the kernel takes as
//! "add or keep", so that transactions can be repeated.

mod dump;
mod expr;
mod rule;
mod set;
#[cfg(test)]
mod tests;
mod transaction;
mod typeof_data;
mod watch;

pub use dump::{BaseChain, Elem};
pub use rule::{Key, Rule, Turn};
pub use set::{Element, Field, Set, Value};
pub use transaction::{Chain, Hook, Policy, Table, Transaction};
pub(super) use watch::heard;
pub use watch::{Event, Heard, NftWatch};

use super::{NetlinkError, Socket, Subsystem};

/// Address family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// A device's ingress and egress.
    Netdev,
}

impl Family {
    /// `NFPROTO_*`.
    pub fn number(self) -> u8 {
        match self {
            Family::Ip => 2,
            Family::Ip6 => 10,
            Family::Inet => 1,
            Family::Netdev => 5,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Family> {
        let all = [Family::Ip, Family::Ip6, Family::Inet, Family::Netdev];
        all.into_iter().find(|family| family.number() == number)
    }

    /// The family of an address.
    pub fn of(addr: std::net::IpAddr) -> Family {
        if addr.is_ipv4() {
            Family::Ip
        } else {
            Family::Ip6
        }
    }
}

/// An nf_tables socket of one namespace. It may be used from any thread.
#[derive(Debug)]
pub struct NftSocket {
    pub(super) socket: Socket,
}

impl NftSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            socket: Socket::open(Subsystem::Netfilter)?,
        })
    }

    /// By what [`NftWatch`] tells this socket's changes from others'.
    pub fn port(&self) -> Result<u32, NetlinkError> {
        self.socket.port()
    }

    /// Applies a transaction. An empty one does nothing.
    pub fn commit(&mut self, transaction: Transaction) -> Result<(), NetlinkError> {
        match transaction.into_messages() {
            Some(messages) => self.socket.datagram(messages),
            None => Ok(()),
        }
    }
}

const SUBSYSTEM: u16 = 10 << 8;
const NEWGEN: u16 = SUBSYSTEM | 15;
const NEWTABLE: u16 = SUBSYSTEM;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const DELCHAIN: u16 = SUBSYSTEM | 5;
const NEWRULE: u16 = SUBSYSTEM | 6;
const GETRULE: u16 = SUBSYSTEM | 7;
const DELRULE: u16 = SUBSYSTEM | 8;
const NEWSET: u16 = SUBSYSTEM | 9;
const DELSET: u16 = SUBSYSTEM | 11;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const GETSETELEM: u16 = SUBSYSTEM | 13;
const DELSETELEM: u16 = SUBSYSTEM | 14;
const GETTABLE: u16 = SUBSYSTEM | 1;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `struct nfgenmsg`.
fn genmsg(family: u8, resource: u16) -> [u8; 4] {
    let [a, b] = resource.to_be_bytes();
    [family, 0, a, b]
}
