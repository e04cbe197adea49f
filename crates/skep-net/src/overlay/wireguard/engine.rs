//! WireGuard in userspace: packets between the tunnel device, the peers' sessions and the socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::batch::{Batch, join_incoming, receive};
use super::key::NodeKey;
use super::peer::{NODES, Peer, number_of};

/// How often sessions look at their timers.
const TICK: Duration = Duration::from_millis(250);
/// Handshakes a second before cookies are asked for.
const HANDSHAKES: u64 = 100;
/// Room for a packet with WireGuard's overhead.
const BUFFER: usize = 65536;

/// A node by its tunnel address: its key, and where it is.
pub(super) type Wanted = BTreeMap<Ipv6Addr, ([u8; 32], SocketAddr)>;

#[derive(Default)]
struct Peers {
    by_address: BTreeMap<Ipv6Addr, Arc<Peer>>,
    by_key: BTreeMap<[u8; 32], Arc<Peer>>,
    by_number: BTreeMap<u32, Arc<Peer>>,
    next_number: u32,
}

/// A key of ours that others may ask for.
struct Own {
    key: NodeKey,
    limiter: RateLimiter,
}

impl Own {
    fn new(key: NodeKey) -> Arc<Own> {
        let limiter = RateLimiter::new(&key.public, HANDSHAKES);
        Arc::new(Own { key, limiter })
    }
}

struct Shared {
    /// The newest last; there is always one.
    own: RwLock<Vec<Arc<Own>>>,
    device: AsyncFd<OwnedFd>,
    socket: UdpSocket,
    peers: RwLock<Peers>,
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
        // Its successor is an unsafe function for the sake of types that change their descriptor,
        // which an `OwnedFd` does not.
        #[allow(deprecated, reason = "sound for an OwnedFd")]
        let device = AsyncFd::new(device)?;
        let socket = UdpSocket::from_std(socket)?;
        join_incoming(&socket);
        let shared = Arc::new(Shared {
            own: RwLock::new(vec![Own::new(key)]),
            device,
            socket,
            peers: RwLock::default(),
        });
        let tasks = vec![
            runtime.spawn(shared.clone().outbound()).abort_handle(),
            runtime.spawn(shared.clone().inbound()).abort_handle(),
            runtime.spawn(shared.clone().timers()).abort_handle(),
        ];
        Ok(Engine { shared, tasks })
    }

    /// Exchanges packets with exactly these nodes; sessions with those that remain go on.
    pub fn set_peers(&self, wanted: &Wanted) {
        let Some(own) = self.shared.newest() else {
            return;
        };
        let peers = self.shared.peers.write();
        let mut peers = peers.unwrap_or_else(PoisonError::into_inner);
        peers.by_address.retain(|address, peer| {
            let wanted = wanted.get(address);
            wanted.is_some_and(|(_, endpoint)| *endpoint == peer.endpoint)
        });
        for (address, (theirs, endpoint)) in wanted {
            if let Some(peer) = peers.by_address.get(address) {
                peer.learn(&own.key, *theirs);
                continue;
            }
            let number = peers.free_number();
            let peer = Peer::new(number, *address, *endpoint, &own.key, *theirs);
            peers.by_address.insert(*address, Arc::new(peer));
        }
        peers.index();
    }

    /// Others may ask for this key from now on, and for those before.
    pub fn add_key(&self, key: NodeKey) {
        let own = self.shared.own.write();
        own.unwrap_or_else(PoisonError::into_inner)
            .push(Own::new(key));
    }

    /// Nobody may ask for keys before the newest any more.
    pub fn retire_keys(&self) {
        let kept = {
            let own = self.shared.own.write();
            let mut own = own.unwrap_or_else(PoisonError::into_inner);
            let older = own.len().saturating_sub(1);
            own.drain(..older);
            own.iter()
                .map(|own| *own.key.public.as_bytes())
                .collect::<Vec<_>>()
        };
        let peers = self.shared.peers.read();
        let peers = peers.unwrap_or_else(PoisonError::into_inner);
        peers
            .by_address
            .values()
            .for_each(|peer| peer.retain(&kept));
    }
}

impl Peers {
    fn free_number(&mut self) -> u32 {
        let taken: BTreeSet<u32> = self.by_address.values().map(|p| p.number).collect();
        loop {
            self.next_number = (self.next_number + 1) % NODES;
            if !taken.contains(&self.next_number) {
                return self.next_number;
            }
        }
    }

    fn index(&mut self) {
        let all = || self.by_address.values();
        let keys = all().flat_map(|p| p.keys().into_iter().map(|key| (key, p.clone())));
        let by_key = keys.collect();
        self.by_number = all().map(|p| (p.number, p.clone())).collect();
        self.by_key = by_key;
    }
}

/// A peer, and the session a packet of its is of.
type Sender = (Arc<Peer>, u32);

impl Shared {
    fn find(&self, f: impl FnOnce(&Peers) -> Option<&Arc<Peer>>) -> Option<Arc<Peer>> {
        f(&self.peers.read().unwrap_or_else(PoisonError::into_inner)).cloned()
    }

    fn newest(&self) -> Option<Arc<Own>> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.last().cloned()
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
        let (Some(peer), Some(own)) = (self.find(|p| p.by_address.get(&to)), self.newest()) else {
            return;
        };
        if let Some(bytes) = peer.encapsulate(&own.key, packet, out) {
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
        let (sender, cookie) = self.sender_of(datagram, from, out);
        self.send(cookie, from).await;
        let Some((peer, index)) = sender else { return };
        let mut input = datagram;
        // Once the packet is taken, the session may have queued ones to send.
        while let Some(bytes) = self.decapsulate(&peer, index, from, input, out) {
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
    ) -> (Option<Sender>, Option<Vec<u8>>) {
        let own = self
            .own
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // A handshake names by its checksum the key that it is meant for.
        for own in own.iter().rev() {
            match own.limiter.verify_packet(Some(from.ip()), packet, out) {
                Ok(parsed) => return (self.sender_of_parsed(&own.key, parsed), None),
                Err(TunnResult::WriteToNetwork(cookie)) => return (None, Some(cookie.to_vec())),
                Err(_) => {}
            }
        }
        (None, None)
    }

    fn sender_of_parsed(&self, own: &NodeKey, parsed: Packet<'_>) -> Option<Sender> {
        let by_index = |receiver: u32| {
            let peer = self.find(|p| p.by_number.get(&number_of(receiver)))?;
            Some((peer, receiver >> 8))
        };
        match parsed {
            Packet::HandshakeInit(init) => {
                let half = parse_handshake_anon(&own.secret, &own.public, &init).ok()?;
                let theirs = half.peer_static_public;
                let peer = self.find(|p| p.by_key.get(&theirs))?;
                let index = peer.session_for(own, theirs)?;
                Some((peer, index))
            }
            Packet::HandshakeResponse(p) => by_index(p.receiver_idx),
            Packet::PacketCookieReply(p) => by_index(p.receiver_idx),
            Packet::PacketData(p) => by_index(p.receiver_idx),
        }
    }

    /// Takes a packet; answers bytes to be sent, after which it is to be called again.
    fn decapsulate(
        &self,
        peer: &Peer,
        index: u32,
        from: SocketAddr,
        input: &[u8],
        out: &mut [u8],
    ) -> Option<Vec<u8>> {
        match peer.decapsulate(index, from.ip(), input, out) {
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
            {
                let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
                own.iter().for_each(|own| own.limiter.reset_count());
            }
            let peers: Vec<Arc<Peer>> = {
                let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
                peers.by_address.values().cloned().collect()
            };
            let mut sent = Vec::new();
            for peer in peers {
                peer.tick(&mut out, |bytes| sent.push((bytes, peer.endpoint)));
            }
            for (bytes, to) in sent {
                self.send(Some(bytes), to).await;
            }
        }
    }
}
