//! Datagrams: a socket towards the container for each client, until both have been silent.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
    sockopt::Ipv6RecvPacketInfo,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Serving, Target};

/// How long a client is known without a datagram in either direction.
const SILENCE: Duration = Duration::from_secs(90);
/// Clients of one port at once.
const CLIENTS: usize = 1024;

/// A client, and the address of the host that it asked: it is to answer.
type Client = (SocketAddr, Option<Asked>);
type Asked = libc::in6_pktinfo;

pub(super) struct Relay {
    socket: Arc<UdpSocket>,
    v6: bool,
    target: Target,
    // After the socket: it tells that the port is free.
    serving: Serving,
}

/// One client's way to the container.
struct Way {
    server: UdpSocket,
    heard: Mutex<Instant>,
    /// Its place among all that is relayed.
    _place: OwnedSemaphorePermit,
}

impl Relay {
    pub fn new(socket: std::net::UdpSocket, target: Target, serving: Serving) -> io::Result<Relay> {
        socket.set_nonblocking(true)?;
        let v6 = socket.local_addr()?.is_ipv6();
        if v6 {
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Relay {
            socket: Arc::new(UdpSocket::from_std(socket)?),
            v6,
            target,
            serving,
        })
    }

    pub async fn run(self) {
        let mut ways: HashMap<SocketAddr, Arc<Way>> = HashMap::new();
        let mut answers = JoinSet::new();
        let mut buf = vec![0; 65535];
        loop {
            tokio::select! {
                received = self.receive(&mut buf) => {
                    // An error here is about a datagram sent before (its client is gone).
                    let Ok((n, client)) = received else { continue };
                    let way = match ways.get(&client.0) {
                        Some(way) => Arc::clone(way),
                        None if ways.len() >= CLIENTS => continue,
                        None => match self.connect() {
                            Ok(way) => {
                                let way = Arc::new(way);
                                ways.insert(client.0, Arc::clone(&way));
                                let socket = Arc::downgrade(&self.socket);
                                let serving = self.serving.clone();
                                answers.spawn(answer(Arc::clone(&way), serving, socket, client));
                                way
                            }
                            Err(error) => {
                                tracing::debug!(to = %self.target.to, %error, "no way to a published port");
                                continue;
                            }
                        },
                    };
                    way.hear();
                    // Like any datagram it may be lost.
                    let _ = way.server.send(&buf[..n]).await;
                }
                Some(ended) = answers.join_next() => {
                    if let Ok(client) = ended {
                        ways.remove(&client);
                    }
                }
            }
        }
    }

    fn connect(&self) -> io::Result<Way> {
        let any: IpAddr = match self.target.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let place = Arc::clone(&self.target.room).try_acquire_owned();
        let place = place.map_err(|_| io::ErrorKind::QuotaExceeded)?;
        let socket = self.target.host.run(|| {
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.connect(self.target.to)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        Ok(Way {
            server: UdpSocket::from_std(socket)?,
            heard: Mutex::new(Instant::now()),
            _place: place,
        })
    }

    async fn receive(&self, buf: &mut [u8]) -> io::Result<(usize, Client)> {
        if !self.v6 {
            let (n, client) = self.socket.recv_from(buf).await?;
            return Ok((n, (client, None)));
        }
        let fd = self.socket.as_raw_fd();
        let receive = || receive_v6(fd, buf);
        self.socket.async_io(Interest::READABLE, receive).await
    }
}

impl Way {
    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_silent(&self) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.elapsed() >= SILENCE
    }
}

/// Sends a client what the container answers; says who it was when both are silent.
///
/// `_serving` is before the socket, and so goes after what the task has of it.
async fn answer(
    way: Arc<Way>,
    _serving: Serving,
    socket: std::sync::Weak<UdpSocket>,
    client: Client,
) -> SocketAddr {
    let mut buf = vec![0; 65535];
    loop {
        match timeout(SILENCE, way.server.recv(&mut buf)).await {
            Ok(Ok(n)) => {
                way.hear();
                let Some(socket) = socket.upgrade() else {
                    return client.0;
                };
                let _ = send(&socket, &buf[..n], &client).await;
            }
            // Nobody listens there now; whoever does next is found by the same way.
            Ok(Err(_)) => {}
            Err(_) if way.is_silent() => return client.0,
            Err(_) => {}
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], client: &Client) -> io::Result<()> {
    match client {
        (SocketAddr::V6(to), Some(asked)) => {
            let fd = socket.as_raw_fd();
            let send = || send_v6(fd, bytes, *to, asked);
            socket.async_io(Interest::WRITABLE, send).await
        }
        (to, _) => socket.send_to(bytes, to).await.map(drop),
    }
}

fn receive_v6(fd: RawFd, buf: &mut [u8]) -> io::Result<(usize, Client)> {
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buf)];
    let message = recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let client = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let mut asked = None;
    for one in message.cmsgs()? {
        if let ControlMessageOwned::Ipv6PacketInfo(info) = one {
            asked = Some(info);
        }
    }
    let client = SocketAddr::V6(SocketAddrV6::from(client));
    Ok((message.bytes, (client, asked)))
}

fn send_v6(fd: RawFd, bytes: &[u8], to: SocketAddrV6, asked: &Asked) -> io::Result<()> {
    let mut from = *asked;
    if !Ipv6Addr::from(from.ipi6_addr.s6_addr).is_unicast_link_local() {
        // By whatever interface leads there now.
        from.ipi6_ifindex = 0;
    }
    let control = [ControlMessage::Ipv6PacketInfo(&from)];
    let to = SockaddrIn6::from(to);
    let flags = MsgFlags::MSG_DONTWAIT;
    sendmsg(fd, &[IoSlice::new(bytes)], &control, flags, Some(&to))?;
    Ok(())
}
