//! WireGuard in userspace: packets between the tunnel device, the peers' sessions and the socket.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::PublicKey;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::batch::{Batch, join_incoming, receive};
use super::key::{NodeKey, address_of};

/// How often sessions look at their timers.
const TICK: Duration = Duration::from_millis(250);
/// Handshakes a second before cookies are asked for.
const HANDSHAKES: u64 = 100;
/// Room for a packet with WireGuard's overhead.
const BUFFER: usize = 65536;

/// A node that packets are exchanged with.
struct Peer {
    session: Mutex<Tunn>,
    address: Ipv6Addr,
    endpoint: SocketAddr,
    index: u32,
}

#[derive(Default)]
struct Peers {
    by_key: BTreeMap<[u8; 32], Arc<Peer>>,
    by_address: BTreeMap<Ipv6Addr, Arc<Peer>>,
    by_index: BTreeMap<u32, Arc<Peer>>,
    next_index: u32,
}

struct Shared {
    key: NodeKey,
    device: AsyncFd<OwnedFd>,
    socket: UdpSocket,
    peers: RwLock<Peers>,
    limiter: RateLimiter,
}

/// A running tunnel; it ends when dropped.
pub(super) struct Engine {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Engine {
    /// Serves a tunnel device over a socket; both are non-blocking.
    pub fn start(
        runtime: &Handle,
        key: NodeKey,
        device: OwnedFd,
        socket: std::net::UdpSocket,
    ) -> io::Result<Engine> {
        let _guard = runtime.enter();
        let limiter = RateLimiter::new(&key.public, HANDSHAKES);
        // Its successor is an unsafe function for the sake of types that change their descriptor,
        // which an `OwnedFd` does not.
        #[allow(deprecated, reason = "sound for an OwnedFd")]
        let device = AsyncFd::new(device)?;
        let socket = UdpSocket::from_std(socket)?;
        join_incoming(&socket);
        let shared = Arc::new(Shared {
            key,
            device,
            socket,
            peers: RwLock::default(),
            limiter,
        });
        let tasks = vec![
            runtime.spawn(shared.clone().outbound()).abort_handle(),
            runtime.spawn(shared.clone().inbound()).abort_handle(),
            runtime.spawn(shared.clone().timers()).abort_handle(),
        ];
        Ok(Engine { shared, tasks })
    }

    /// Exchanges packets with exactly these nodes; sessions with those that remain go on.
    pub fn set_peers(&self, wanted: &BTreeMap<[u8; 32], SocketAddr>) {
        let mut peers = self
            .shared
            .peers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        peers
            .by_key
            .retain(|key, peer| wanted.get(key) == Some(&peer.endpoint));
        for (key, endpoint) in wanted {
            if peers.by_key.contains_key(key) {
                continue;
            }
            // A session's index has 24 bits.
            peers.next_index = (peers.next_index + 1) & 0x00ff_ffff;
            let index = peers.next_index;
            let secret = self.shared.key.secret.clone();
            let session = Tunn::new(secret, PublicKey::from(*key), None, None, index, None);
            let peer = Peer {
                session: Mutex::new(session),
                address: address_of(key),
                endpoint: *endpoint,
                index,
            };
            peers.by_key.insert(*key, Arc::new(peer));
        }
        peers.by_address = peers
            .by_key
            .values()
            .map(|p| (p.address, p.clone()))
            .collect();
        peers.by_index = peers
            .by_key
            .values()
            .map(|p| (p.index, p.clone()))
            .collect();
    }
}

impl Shared {
    fn find(&self, f: impl FnOnce(&Peers) -> Option<&Arc<Peer>>) -> Option<Arc<Peer>> {
        f(&self.peers.read().unwrap_or_else(PoisonError::into_inner)).cloned()
    }

    /// Packets of the device are taken as long as there are any, and sent together.
    async fn outbound(self: Arc<Self>) {
        let (mut packet, mut out) = (vec![0; BUFFER], vec![0; BUFFER + 256]);
        let mut batch = Batch::default();
        loop {
            let Ok(mut ready) = self.device.readable().await else {
                return;
            };
            loop {
                let read =
                    ready.try_io(|device| Ok(rustix::io::read(device.get_ref(), &mut packet)?));
                match read {
                    Ok(Ok(n)) => self.encapsulate(&packet[..n], &mut out, &mut batch),
                    Ok(Err(_)) => return,
                    // Nothing more for now.
                    Err(_) => break,
                }
                if batch.is_full() {
                    break;
                }
            }
            batch.send(&self.socket).await;
        }
    }

    fn encapsulate(&self, packet: &[u8], out: &mut [u8], batch: &mut Batch) {
        let Some(IpAddr::V6(to)) = Tunn::dst_address(packet) else {
            return;
        };
        let Some(peer) = self.find(|p| p.by_address.get(&to)) else {
            return;
        };
        let mut session = peer.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let TunnResult::WriteToNetwork(bytes) = session.encapsulate(packet, out) {
            batch.push(peer.endpoint, bytes);
        }
    }

    /// A datagram that is lost is the business of whoever is inside the tunnel.
    async fn send(&self, bytes: Option<Vec<u8>>, to: SocketAddr) {
        if let Some(bytes) = bytes {
            let _ = self.socket.send_to(&bytes, to).await;
        }
    }

    async fn inbound(self: Arc<Self>) {
        let (mut packet, mut out) = (vec![0; BUFFER], vec![0; BUFFER + 256]);
        loop {
            let Ok(received) = receive(&self.socket, &mut packet).await else {
                continue;
            };
            for datagram in packet[..received.len].chunks(received.size) {
                self.take(datagram, received.from, &mut out).await;
            }
        }
    }

    async fn take(&self, datagram: &[u8], from: SocketAddr, out: &mut [u8]) {
        let (peer, cookie) = self.sender_of(datagram, from, out);
        self.send(cookie, from).await;
        let Some(peer) = peer else { return };
        let mut input = datagram;
        // Once the packet is taken, the session may have queued ones to send.
        while let Some(bytes) = self.decapsulate(&peer, from, input, out) {
            self.send(Some(bytes), peer.endpoint).await;
            input = &[];
        }
    }

    /// Whose packet it is; a cookie to answer with under load.
    fn sender_of(
        &self,
        packet: &[u8],
        from: SocketAddr,
        out: &mut [u8],
    ) -> (Option<Arc<Peer>>, Option<Vec<u8>>) {
        let parsed = match self.limiter.verify_packet(Some(from.ip()), packet, out) {
            Ok(parsed) => parsed,
            Err(answer) => return (None, to_network(answer)),
        };
        let by_index = |index: u32| self.find(|p| p.by_index.get(&(index >> 8)));
        let peer = match parsed {
            Packet::HandshakeInit(init) => {
                let half = parse_handshake_anon(&self.key.secret, &self.key.public, &init);
                half.ok()
                    .and_then(|h| self.find(|p| p.by_key.get(&h.peer_static_public)))
            }
            Packet::HandshakeResponse(p) => by_index(p.receiver_idx),
            Packet::PacketCookieReply(p) => by_index(p.receiver_idx),
            Packet::PacketData(p) => by_index(p.receiver_idx),
        };
        (peer, None)
    }

    /// Takes a packet; answers bytes to be sent, after which it is to be called again.
    fn decapsulate(
        &self,
        peer: &Peer,
        from: SocketAddr,
        input: &[u8],
        out: &mut [u8],
    ) -> Option<Vec<u8>> {
        let mut session = peer.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.decapsulate(Some(from.ip()), input, out) {
            TunnResult::WriteToNetwork(bytes) => Some(bytes.to_vec()),
            TunnResult::WriteToTunnelV6(bytes, source) => {
                // A node speaks for its own address only. A device that is full drops.
                if source == peer.address {
                    let _ = rustix::io::write(self.device.get_ref(), bytes);
                }
                None
            }
            TunnResult::WriteToTunnelV4(..) | TunnResult::Done | TunnResult::Err(_) => None,
        }
    }

    async fn timers(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        let mut out = vec![0; 2048];
        loop {
            tick.tick().await;
            self.limiter.reset_count();
            let peers: Vec<Arc<Peer>> = {
                let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
                peers.by_key.values().cloned().collect()
            };
            for peer in peers {
                let sent = {
                    let mut session = peer.session.lock().unwrap_or_else(PoisonError::into_inner);
                    to_network(session.update_timers(&mut out))
                };
                self.send(sent, peer.endpoint).await;
            }
        }
    }
}

fn to_network(result: TunnResult<'_>) -> Option<Vec<u8>> {
    match result {
        TunnResult::WriteToNetwork(bytes) => Some(bytes.to_vec()),
        TunnResult::Done
        | TunnResult::Err(_)
        | TunnResult::WriteToTunnelV4(..)
        | TunnResult::WriteToTunnelV6(..) => None,
    }
}
