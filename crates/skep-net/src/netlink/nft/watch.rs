//! What others do to the tables of a namespace, as the kernel tells it: nobody has to ask.

use tokio::io::unix::AsyncFd;

use super::{DELRULE, DELTABLE, Family, NEWCHAIN, NEWGEN, Table};
use crate::netlink::{NetlinkError, Reply, Socket, Subsystem};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// Number of the forward hook.
const FORWARD: u32 = 2;

/// A change of the tables of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A table is gone.
    TableGone(Table),
    /// A rule with a comment is gone.
    RuleGone {
        /// The comment.
        comment: String,
    },
    /// A chain drops by policy what is forwarded.
    ForwardDropped,
    /// That was all of a transaction.
    Committed {
        /// Name of the program whose it was.
        program: String,
    },
    /// Something was done that nobody can tell any more.
    Missed,
}

/// An event, and whose doing it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Port of the socket ([`NftSocket::port`](super::NftSocket::port)).
    pub by: u32,
    /// What happened.
    pub event: Event,
}

/// Hears of changes.
#[derive(Debug)]
pub struct NftWatch {
    socket: AsyncFd<Socket>,
}

impl NftWatch {
    /// Listens in the calling thread's network namespace. Must run inside a tokio runtime.
    pub fn open() -> Result<NftWatch, NetlinkError> {
        let socket = Socket::open_in(Subsystem::Netfilter, 1 << (GROUP - 1))?;
        // Its successor is an unsafe function for the sake of types that change their descriptor,
        // which a `Socket` does not.
        #[allow(deprecated, reason = "sound for a Socket")]
        let socket = AsyncFd::new(socket).map_err(NetlinkError::Socket)?;
        Ok(NftWatch { socket })
    }

    /// Waits for something to happen; answers all that has by then.
    pub async fn next(&mut self) -> Result<Vec<Heard>, NetlinkError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(NetlinkError::Socket)?;
            let heard = drain(ready.get_inner())?;
            ready.clear_ready();
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
    }
}

fn drain(socket: &Socket) -> Result<Vec<Heard>, NetlinkError> {
    let mut out = Vec::new();
    loop {
        match socket.receive_now() {
            Ok(Some(replies)) => out.extend(replies.iter().filter_map(heard)),
            Ok(None) => return Ok(out),
            Err(error) if error.is_overrun() => out.push(Heard {
                by: 0,
                event: Event::Missed,
            }),
            Err(error) => return Err(error),
        }
    }
}

/// What a message tells, if it is of interest.
pub(in crate::netlink) fn heard(reply: &Reply) -> Option<Heard> {
    let attrs = reply.attrs(4);
    let event = match reply.kind {
        DELTABLE => {
            let family = Family::from_number(reply.u8_at(0)?)?;
            Event::TableGone(Table::new(family, attrs.find(1)?.string()))
        }
        DELRULE => {
            // A type, a length, and the text.
            let comment = attrs.find(7)?.value.get(2..)?;
            let comment = String::from_utf8_lossy(comment);
            Event::RuleGone {
                comment: comment.trim_end_matches('\0').to_owned(),
            }
        }
        NEWCHAIN => {
            let hook = attrs.find(4)?.nested().find(1)?.u32_be()?;
            let is_drop = attrs.find(5)?.u32_be()? == 0;
            (hook == FORWARD && is_drop).then_some(Event::ForwardDropped)?
        }
        NEWGEN => Event::Committed {
            program: attrs.find(3)?.string(),
        },
        _ => return None,
    };
    let by = reply.port;
    Some(Heard { by, event })
}
