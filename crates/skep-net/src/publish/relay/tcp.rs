//! Connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Serving, Target};
use crate::netns::HostSockets;

/// How long a container may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is silent before its ends are asked, and between two questions: as Go has it.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Connections of one port at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 4096;

pub(super) struct Relay {
    listener: TcpListener,
    target: Target,
    // After the listener: it tells that the port is free.
    _serving: Serving,
}

impl Relay {
    pub fn new(
        socket: std::net::TcpListener,
        target: Target,
        serving: Serving,
    ) -> io::Result<Relay> {
        socket.set_nonblocking(true)?;
        Ok(Relay {
            listener: TcpListener::from_std(socket)?,
            target,
            _serving: serving,
        })
    }

    pub async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => {
                    match accepted {
                        Ok((client, _)) => {
                            // Others' connections may have to end first: this one waits, and those
                            // behind it in the kernel's queue.
                            let place = Arc::clone(&self.target.room).acquire_owned().await;
                            let carried = carry(client, self.target.to, self.target.host.clone());
                            connections.spawn(async move {
                                carried.await;
                                drop(place);
                            });
                        }
                        // Out of descriptors: leave the others time to end.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Carries one connection to its end. One that breaks is its two ends' business.
async fn carry(mut client: TcpStream, to: SocketAddr, host: HostSockets) {
    match timeout(CONNECT, connect(to, &host)).await {
        Ok(Ok(mut server)) => {
            let _ = client.set_nodelay(true);
            // An end that has vanished without a word is noticed.
            let alive = TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE);
            for end in [&client, &server] {
                let _ = SockRef::from(end).set_tcp_keepalive(&alive);
            }
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        failed => {
            let error = failed.map(|connected| connected.map(drop));
            tracing::debug!(%to, ?error, "container takes no connection of a published port");
            // Nobody is there: the client is told so, as far as that can still be.
            let _ = client.set_zero_linger();
        }
    }
}

async fn connect(to: SocketAddr, host: &HostSockets) -> io::Result<TcpStream> {
    let make = || {
        let (domain, kind) = (socket2::Domain::for_address(to), socket2::Type::STREAM);
        socket2::Socket::new(domain, kind.nonblocking(), None)
    };
    let socket = TcpSocket::from_std_stream(host.run(make)?.into());
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
