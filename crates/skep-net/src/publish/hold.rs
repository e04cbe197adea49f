//! Sockets that keep published ports from other processes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use super::Protocol;

/// A held port; `None` inside where the kernel has no such protocol (SCTP), or the host has no such
/// family.
#[derive(Debug)]
pub(crate) struct Held(Option<OwnedFd>);

impl Held {
    /// The socket, for who serves it.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        match &self.0 {
            Some(socket) => socket.try_clone(),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Binds a port that will be served.
pub(crate) fn hold_to_serve(protocol: Protocol, address: SocketAddr) -> io::Result<Held> {
    bind(protocol, address, protocol == Protocol::Tcp)
}

/// Binds a port, so that nobody else can.
pub(crate) fn hold(protocol: Protocol, address: SocketAddr) -> io::Result<Held> {
    match bind(protocol, address, false) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && protocol == Protocol::Tcp => {
            // Only connections in TIME-WAIT? Then a listening socket may be had.
            bind(protocol, address, true).map_err(|_| e)
        }
        other => other,
    }
}

fn bind(protocol: Protocol, address: SocketAddr, listen: bool) -> io::Result<Held> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (Type::STREAM, None),
        Protocol::Udp => (Type::DGRAM, None),
        Protocol::Sctp => (Type::STREAM, Some(socket2::Protocol::from(132))),
    };
    let socket = match Socket::new(Domain::for_address(address), kind, number) {
        Ok(socket) => socket,
        Err(e) => {
            let absent = [
                libc::EPROTONOSUPPORT,
                libc::EAFNOSUPPORT,
                libc::ESOCKTNOSUPPORT,
            ];
            return match e.raw_os_error() {
                Some(code) if absent.contains(&code) => Ok(Held(None)),
                _ => Err(e),
            };
        }
    };
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(listen)?;
    socket.bind(&address.into())?;
    if listen {
        socket.listen(BACKLOG)?;
    }
    Ok(Held(Some(socket.into())))
}
