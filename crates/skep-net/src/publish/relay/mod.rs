//! Relays: ports of the host that the kernel cannot translate to the container's.
//!
//! Two kinds: the container has no address of the host's family (`-p [::]:80:80` on a network
//! without IPv6), or the host's address is `::1`, from which nothing that is translated comes back
//! where bridged frames pass the firewall. The daemon then serves the socket that holds the port
//! itself; the container sees the host as its client. Nothing else of published ports passes here.

mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::{Protocol, PublishedPort};
use crate::netns::HostSockets;

/// How long a relay may take to let go of its socket.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where relays run, and where their sockets are.
#[derive(Debug, Clone)]
pub(crate) struct Relays {
    pub runtime: Handle,
    pub host: HostSockets,
    pub room: Room,
}

/// A permit for each connection, and each client without one, of all ports.
pub(crate) type Room = Arc<Semaphore>;

/// Room for half the descriptors that the daemon may have, two each: strangers at relayed ports shall
/// not leave it without.
pub(crate) fn room() -> Room {
    const MOST: u64 = 1 << 14;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from((limit / 4).min(MOST)).unwrap_or_default();
    Arc::new(Semaphore::new(most))
}

/// A running relay. It stops when dropped, with what it carries; its port is free then.
#[derive(Debug)]
pub(crate) struct Relay {
    task: AbortHandle,
    ended: Receiver<()>,
}

/// Where a relay leads, and what it takes of the daemon for that.
struct Target {
    to: SocketAddr,
    host: HostSockets,
    room: Room,
}

/// Held by the relay's task as long as that has the socket.
type Serving = Sender<()>;

impl Relays {
    /// Serves a published port on its socket.
    pub fn start(&self, port: &PublishedPort, socket: OwnedFd) -> io::Result<Relay> {
        let target = Target {
            to: SocketAddr::new(port.container_ip, port.container_port),
            host: self.host.clone(),
            room: self.room.clone(),
        };
        let (serving, ended) = channel();
        let _guard = self.runtime.enter();
        let task = match port.protocol {
            Protocol::Tcp => {
                let relay = tcp::Relay::new(socket.into(), target, serving)?;
                self.runtime.spawn(relay.run())
            }
            Protocol::Udp => {
                let relay = udp::Relay::new(socket.into(), target, serving)?;
                self.runtime.spawn(relay.run())
            }
            Protocol::Sctp => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Relay {
            task: task.abort_handle(),
            ended,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a relay of a published port does not let go of it");
        }
    }
}
