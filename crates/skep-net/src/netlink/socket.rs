//! A netlink socket. The kernel handles a request while it is being sent, so acknowledgements are
//! in the receive buffer when `send` returns and nothing here ever waits for another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recv, send, setsockopt, socket, sockopt,
};

use super::NetlinkError;
use super::wire::{Message, Reply, flag, split};

/// Message types of the protocol itself.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kernel never sends more in one datagram.
const BUFFER: usize = 256 << 10;
/// A transaction is one datagram, and must fit this.
const SEND_BUFFER: usize = 32 << 20;
/// How often a dump starts again because the table changed under it.
const DUMP_ROUNDS: usize = 8;

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables and conntrack.
    Netfilter,
    /// Families by name (WireGuard).
    Generic,
}

/// A netlink socket of the namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    seq: u32,
}

fn broken(e: Errno) -> NetlinkError {
    NetlinkError::Socket(io::Error::from(e))
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(subsystem: Subsystem) -> Result<Socket, NetlinkError> {
        Socket::open_in(subsystem, 0)
    }

    /// The same for who is told, too, of what concerns these groups: a bit for each.
    pub(super) fn open_in(subsystem: Subsystem, groups: u32) -> Result<Socket, NetlinkError> {
        let protocol = match subsystem {
            Subsystem::Route => SockProtocol::NetlinkRoute,
            Subsystem::Netfilter => SockProtocol::NetlinkNetFilter,
            Subsystem::Generic => SockProtocol::NetlinkGeneric,
        };
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )
        .map_err(broken)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(broken)?;
        if subsystem == Subsystem::Netfilter {
            // Without the privilege the default remains, which is enough for small transactions.
            let _ = setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER);
        }
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &(4 << 20));
        Ok(Socket { fd, seq: 0 })
    }

    /// By what the kernel tells this socket from others.
    pub(super) fn port(&self) -> Result<u32, NetlinkError> {
        let own: NetlinkAddr = getsockname(self.fd.as_raw_fd()).map_err(broken)?;
        Ok(own.pid())
    }

    /// What has arrived and was not asked for; `None` if nothing has.
    pub(super) fn receive_now(&self) -> Result<Option<Vec<Reply>>, NetlinkError> {
        self.receive(MsgFlags::MSG_DONTWAIT)
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }

    /// Sends one request and waits for the kernel's verdict.
    pub fn request(&mut self, message: Message) -> Result<(), NetlinkError> {
        self.many(vec![message])
            .pop()
            .unwrap_or(Err(NetlinkError::Malformed))
    }

    /// Sends many independent requests with few system calls; a verdict for each, in order.
    pub fn many(&mut self, messages: Vec<Message>) -> Vec<Result<(), NetlinkError>> {
        let mut out = Vec::with_capacity(messages.len());
        for chunk in messages.chunks(64) {
            out.extend(self.some(chunk.to_vec()));
        }
        out
    }

    fn some(&mut self, messages: Vec<Message>) -> Vec<Result<(), NetlinkError>> {
        let count = messages.len();
        match self.send_numbered(messages) {
            Err(e) => {
                let mut out: Vec<_> = (1..count).map(|_| Err(NetlinkError::Malformed)).collect();
                out.insert(0, Err(e));
                out
            }
            Ok((first, replies)) => (0..count)
                .map(|i| verdict(&replies, first.wrapping_add(u32::try_from(i).unwrap_or(0))))
                .collect(),
        }
    }

    fn send_numbered(&mut self, messages: Vec<Message>) -> Result<(u32, Vec<Reply>), NetlinkError> {
        let mut bytes = Vec::new();
        let mut first = None;
        for mut message in messages {
            message.add_flags(flag::ACK);
            let seq = self.next_seq();
            first.get_or_insert(seq);
            bytes.extend(message.finish(seq)?);
        }
        self.send_bytes(&bytes)?;
        Ok((first.unwrap_or(0), self.drain()?))
    }

    /// Sends messages as one datagram, as nf_tables wants a transaction; the first refusal is the
    /// answer. Only the last message asks for an acknowledgement.
    pub(super) fn datagram(&mut self, messages: Vec<Message>) -> Result<(), NetlinkError> {
        let mut bytes = Vec::new();
        for message in messages {
            let seq = self.next_seq();
            bytes.extend(message.finish(seq)?);
        }
        self.send_bytes(&bytes)?;
        let mut acknowledged = false;
        for reply in self.drain()? {
            if reply.kind == ERROR {
                check(&reply)?;
                acknowledged = true;
            }
        }
        if acknowledged {
            Ok(())
        } else {
            Err(NetlinkError::Malformed)
        }
    }

    fn send_bytes(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(broken(e)),
            }
        }
    }

    fn receive(&self, flags: MsgFlags) -> Result<Option<Vec<Reply>>, NetlinkError> {
        let mut buf = vec![0; BUFFER];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buf, flags) {
                Ok(n) => return split(&buf[..n]).map(Some),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(e) => return Err(broken(e)),
            }
        }
    }

    fn drain(&self) -> Result<Vec<Reply>, NetlinkError> {
        let mut out = Vec::new();
        while let Some(replies) = self.receive(MsgFlags::MSG_DONTWAIT)? {
            out.extend(replies);
        }
        Ok(out)
    }

    /// Asks for one object.
    pub fn get(&mut self, message: Message) -> Result<Reply, NetlinkError> {
        let seq = self.next_seq();
        let bytes = message.finish(seq)?;
        self.send_bytes(&bytes)?;
        for reply in self.drain()?.into_iter().filter(|r| r.seq == seq) {
            if reply.kind != ERROR {
                return Ok(reply);
            }
            check(&reply)?;
        }
        Err(NetlinkError::Malformed)
    }

    /// Asks for a whole table; starts again if it changed meanwhile.
    pub fn dump(&mut self, mut message: Message) -> Result<Vec<Reply>, NetlinkError> {
        message.add_flags(flag::DUMP);
        let mut last = Err(NetlinkError::Malformed);
        for _ in 0..DUMP_ROUNDS {
            match self.dump_once(message.clone()) {
                Ok((replies, true)) => last = Ok(replies),
                Ok((replies, false)) => return Ok(replies),
                Err(e) => return Err(e),
            }
        }
        // A table that never stands still: the last view is as good as any.
        last
    }

    fn dump_once(&mut self, message: Message) -> Result<(Vec<Reply>, bool), NetlinkError> {
        let seq = self.next_seq();
        let bytes = message.finish(seq)?;
        self.send_bytes(&bytes)?;
        let mut out = Vec::new();
        let mut interrupted = false;
        loop {
            let replies = self
                .receive(MsgFlags::empty())?
                .ok_or(NetlinkError::Malformed)?;
            for reply in replies.into_iter().filter(|r| r.seq == seq) {
                interrupted |= reply.flags & flag::DUMP_INTR != 0;
                match reply.kind {
                    DONE => return Ok((out, interrupted)),
                    ERROR => {
                        check(&reply)?;
                        return Ok((out, interrupted));
                    }
                    _ => out.push(reply),
                }
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check(reply: &Reply) -> Result<(), NetlinkError> {
    let code = reply
        .u32_at(0)
        .ok_or(NetlinkError::Malformed)?
        .cast_signed();
    if code == 0 {
        Ok(())
    } else {
        Err(NetlinkError::Refused { errno: -code })
    }
}

fn verdict(replies: &[Reply], seq: u32) -> Result<(), NetlinkError> {
    let mine = replies.iter().find(|r| r.seq == seq && r.kind == ERROR);
    mine.map_or(Err(NetlinkError::Malformed), check)
}
