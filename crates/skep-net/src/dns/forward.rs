//! Asking the host's name servers, from the host's namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ResolvConf;
use crate::netns::{HostSockets, Netns};

/// How long one server may take; stub resolvers ask again after five seconds.
const PER_SERVER: Duration = Duration::from_secs(2);
/// The first two servers that do not answer are enough to give up in time.
const SERVERS: usize = 2;
/// Questions that wait for other servers at once, for the whole daemon.
const IN_FLIGHT: usize = 1024;

/// The way to the outside.
#[derive(Debug)]
pub(crate) struct Forwarder {
    host: HostSockets,
    configured: Vec<IpAddr>,
    resolv_conf: PathBuf,
    cached: Mutex<Option<(SystemTime, Vec<IpAddr>)>>,
    permits: Semaphore,
}

impl Forwarder {
    pub fn new(host: Netns, configured: Vec<IpAddr>) -> Forwarder {
        Forwarder {
            host: HostSockets::new(host),
            configured,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            cached: Mutex::new(None),
            permits: Semaphore::new(IN_FLIGHT),
        }
    }

    /// The servers to ask: the container's, else the daemon's, else the host's.
    fn servers(&self, own: &[IpAddr]) -> Vec<IpAddr> {
        if !own.is_empty() {
            return own.to_vec();
        }
        if !self.configured.is_empty() {
            return self.configured.clone();
        }
        let changed = std::fs::metadata(&self.resolv_conf).and_then(|m| m.modified());
        let changed = changed.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, servers)) = &*cached
            && *at == changed
        {
            return servers.clone();
        }
        let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let servers = ResolvConf::parse(&text).nameservers;
        *cached = Some((changed, servers.clone()));
        servers
    }

    /// The first answer of the servers, unchanged; `None` if there is none in time.
    pub async fn ask(&self, packet: &[u8], own: &[IpAddr], tcp: bool) -> Option<Vec<u8>> {
        let _permit = self.permits.acquire().await.ok()?;
        for server in self.servers(own).into_iter().take(SERVERS) {
            let server = SocketAddr::new(server, 53);
            let answer = if tcp {
                timeout(PER_SERVER, self.ask_tcp(packet, server)).await
            } else {
                timeout(PER_SERVER, self.ask_udp(packet, server)).await
            };
            match answer {
                Ok(Ok(bytes)) => return Some(bytes),
                Ok(Err(error)) => tracing::debug!(%server, %error, "name server cannot be asked"),
                Err(_) => tracing::debug!(%server, "name server does not answer"),
            }
        }
        None
    }

    async fn ask_udp(&self, packet: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
        // A port of its own for each question, which answers are hard to forge for.
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = self.host.run(|| std::net::UdpSocket::bind((any, 0)))?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        socket.connect(server).await?;
        socket.send(packet).await?;
        let mut buf = vec![0; 65535];
        loop {
            let n = socket.recv(&mut buf).await?;
            if n >= 12 && buf[..2] == packet[..2] {
                buf.truncate(n);
                return Ok(buf);
            }
        }
    }

    async fn ask_tcp(&self, packet: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
        let make = || match server {
            SocketAddr::V4(_) => socket2::Socket::new(
                socket2::Domain::IPV4,
                socket2::Type::STREAM.nonblocking(),
                None,
            ),
            SocketAddr::V6(_) => socket2::Socket::new(
                socket2::Domain::IPV6,
                socket2::Type::STREAM.nonblocking(),
                None,
            ),
        };
        let socket = TcpSocket::from_std_stream(self.host.run(make)?.into());
        let mut stream = socket.connect(server).await?;
        let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(packet).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}
