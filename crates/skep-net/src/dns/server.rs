//! The name server of one container: sockets in its namespace, served by the daemon's runtime.
//!
//! The sockets have ports of the kernel's choice, since the container may want port 53 itself;
//! rules in the namespace lead 127.0.0.11:53 to them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::EMBEDDED;
use super::answer::{Decision, decide, encode, error};
use super::forward::Forwarder;
use super::zone::{View, Zone};
use crate::addr::Cidr;
use crate::error::NetError;
use crate::netlink::nft::{Chain, Family, Hook, Table, Transaction};
use crate::netns::Netns;

/// How long a TCP connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// TCP connections of one container at once.
const CONNECTIONS: usize = 64;
/// Questions of one container that wait for other servers at once.
const WAITING: usize = 256;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A running name server; it stops when dropped.
#[derive(Debug)]
pub(crate) struct DnsServer {
    zone: Arc<Zone>,
    tasks: [AbortHandle; 2],
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

#[derive(Debug)]
struct Shared {
    zone: Arc<Zone>,
    forwarder: Arc<Forwarder>,
    waiting: Semaphore,
}

impl DnsServer {
    /// Binds the sockets and serves them on the runtime. The answer's transaction leads port 53 to
    /// them; the caller commits it in the namespace.
    pub fn start(
        runtime: &Handle,
        netns: &Netns,
        zone: Zone,
        forwarder: Arc<Forwarder>,
    ) -> Result<(DnsServer, Transaction), NetError> {
        let failed = |source| NetError::Socket {
            attempt: "bind 127.0.0.11".into(),
            source,
        };
        let (udp, tcp) = netns.run(|| {
            let address = SocketAddr::new(EMBEDDED.into(), 0);
            let udp = std::net::UdpSocket::bind(address).map_err(failed)?;
            let tcp = std::net::TcpListener::bind(address).map_err(failed)?;
            udp.set_nonblocking(true).map_err(failed)?;
            tcp.set_nonblocking(true).map_err(failed)?;
            Ok((udp, tcp))
        })?;
        let ports = [
            (UDP, udp.local_addr().map_err(failed)?.port()),
            (TCP, tcp.local_addr().map_err(failed)?.port()),
        ];
        let _guard = runtime.enter();
        let udp = UdpSocket::from_std(udp).map_err(failed)?;
        let tcp = TcpListener::from_std(tcp).map_err(failed)?;
        let zone = Arc::new(zone);
        let waiting = Semaphore::new(WAITING);
        let shared = Arc::new(Shared {
            zone: zone.clone(),
            forwarder,
            waiting,
        });
        let tasks = [
            runtime
                .spawn(serve_udp(Arc::new(udp), shared.clone()))
                .abort_handle(),
            runtime.spawn(serve_tcp(tcp, shared)).abort_handle(),
        ];
        Ok((DnsServer { zone, tasks }, redirect(&ports)))
    }

    /// Changes settings and networks.
    pub fn set_view(&self, view: View) {
        self.zone.set_view(view);
    }

    /// The settings and networks.
    pub fn view(&self) -> Arc<View> {
        self.zone.view()
    }
}

/// 127.0.0.11:53 leads to these ports.
fn redirect(ports: &[(u8, u16)]) -> Transaction {
    let table = Table::new(Family::Ip, "skep-dns");
    let rules = ports.iter().map(|(protocol, port)| {
        let rule = table
            .rule()
            .daddr(true, Cidr::host(EMBEDDED.into()))
            .l4proto(*protocol);
        rule.dport(53).dnat_to(EMBEDDED.into(), *port)
    });
    let mut tx = Transaction::new();
    tx.reset_table(&table);
    tx.set_chain(&table, &Chain::base("output", Hook::DNAT_OUTPUT), rules);
    tx
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buf = vec![0; 4096];
    loop {
        // An error here is about a datagram sent before (its asker is gone).
        let Ok((n, peer)) = socket.recv_from(&mut buf).await else {
            continue;
        };
        let packet = &buf[..n];
        match decide(packet, &*shared.zone) {
            Decision::Ignore => {}
            Decision::Reply(reply) => {
                let limit = usize::from(asked_limit(packet));
                if let Some(bytes) = encode(&reply, limit) {
                    let _ = socket.send_to(&bytes, peer).await;
                }
            }
            Decision::Forward(query) => {
                let (socket, shared, packet) = (socket.clone(), shared.clone(), packet.to_vec());
                tokio::spawn(async move {
                    if let Some(bytes) = shared.elsewhere(&packet, &query, false).await {
                        let _ = socket.send_to(&bytes, peer).await;
                    }
                });
            }
        }
    }
}

fn asked_limit(packet: &[u8]) -> u16 {
    hickory_proto::op::Message::from_vec(packet).map_or(512, |m| m.max_payload())
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // A connection that breaks is its client's business.
                    let _ = serve_connection(stream, &shared).await;
                    drop(permit);
                });
            }
            // Out of descriptors: leave the others time to end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve_connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let Ok(length) = timeout(IDLE, stream.read_u16()).await else {
            return Ok(());
        };
        let mut packet = vec![0; usize::from(length?)];
        timeout(IDLE, stream.read_exact(&mut packet)).await??;
        let answer = match decide(&packet, &*shared.zone) {
            Decision::Ignore => return Ok(()),
            Decision::Reply(reply) => encode(&reply, usize::from(u16::MAX)),
            Decision::Forward(query) => shared.elsewhere(&packet, &query, true).await,
        };
        let Some(bytes) = answer else { return Ok(()) };
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&bytes).await?;
    }
}

impl Shared {
    /// Asks other servers. Too many questions at once are dropped: their askers ask again.
    async fn elsewhere(
        &self,
        packet: &[u8],
        query: &hickory_proto::op::Message,
        tcp: bool,
    ) -> Option<Vec<u8>> {
        let view = self.zone.view();
        let code = if view.spec.no_forward {
            ResponseCode::NXDomain
        } else {
            let _permit = self.waiting.try_acquire().ok()?;
            match self.forwarder.ask(packet, &view.spec.upstreams, tcp).await {
                Some(bytes) => return Some(bytes),
                None => ResponseCode::ServFail,
            }
        };
        match error(query, code) {
            Decision::Reply(reply) => encode(&reply, 512),
            Decision::Ignore | Decision::Forward(_) => None,
        }
    }
}
