//! The other nodes, and the sessions with each.
//!
//! There is a session for each pair of keys in use: one, and while a node changes its key, two. What
//! is sent takes the newest that both sides have; what comes is taken from any. So a change of keys
//! loses nothing, however long it takes the nodes to hear of it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::PublicKey;

use super::key::NodeKey;

/// After this a session is not to be sent by any more: WireGuard's "reject after", and some grace.
const LIFE: Duration = Duration::from_secs(170);
/// A session of newer keys that is so old has shown that it works.
const SETTLED: Duration = Duration::from_secs(30);
/// Bits of an index that number the sessions of one node; WireGuard leaves 24 in all.
const SESSION_BITS: u32 = 6;
const INDEX_BITS: u32 = 24;

/// How many nodes can be told apart.
pub(super) const NODES: u32 = 1 << (INDEX_BITS - SESSION_BITS);

/// The node's number out of a receiver's index on the wire.
pub(super) fn number_of(receiver: u32) -> u32 {
    receiver >> 8 >> SESSION_BITS
}

/// A node that packets are exchanged with.
pub(super) struct Peer {
    /// Tells it from the others in indexes.
    pub number: u32,
    /// The only address that it may speak for in the tunnel.
    pub address: Ipv6Addr,
    pub endpoint: SocketAddr,
    sessions: Mutex<Sessions>,
}

struct Sessions {
    /// The key that the managers told last.
    told: [u8; 32],
    /// The newest last.
    all: Vec<Session>,
    next: u32,
}

struct Session {
    own: [u8; 32],
    theirs: [u8; 32],
    /// Of the 24 bits.
    index: u32,
    tunnel: Tunn,
    /// To be begun without waiting for a packet to send.
    is_due: bool,
}

impl Session {
    /// How long ago both sides had it.
    fn age(&self) -> Option<Duration> {
        self.tunnel.time_since_last_handshake()
    }

    /// Whether the other side sends by it, and so needs none before it.
    fn is_settled(&self) -> bool {
        let (age, _, received, ..) = self.tunnel.stats();
        received > 0 && age.is_some_and(|age| age > SETTLED && age < LIFE)
    }
}

impl Peer {
    pub fn new(
        number: u32,
        address: Ipv6Addr,
        endpoint: SocketAddr,
        key: &NodeKey,
        theirs: [u8; 32],
    ) -> Peer {
        let mut sessions = Sessions {
            told: theirs,
            all: Vec::new(),
            next: 0,
        };
        sessions.add(number, key, theirs, false);
        Peer {
            number,
            address,
            endpoint,
            sessions: Mutex::new(sessions),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's keys that are in use.
    pub fn keys(&self) -> Vec<[u8; 32]> {
        let sessions = self.sessions();
        let mut keys: Vec<[u8; 32]> = sessions.all.iter().map(|s| s.theirs).collect();
        keys.push(sessions.told);
        keys
    }

    /// The managers tell this key of the node.
    pub fn learn(&self, key: &NodeKey, theirs: [u8; 32]) {
        let mut sessions = self.sessions();
        if sessions.told != theirs {
            sessions.told = theirs;
            sessions.add(self.number, key, theirs, true);
        }
    }

    /// Somebody who has one of the node's keys begins a session with this one of ours; answers its
    /// index. A key that was replaced, and is in no session any more, is nobody's.
    pub fn session_for(&self, own: &NodeKey, theirs: [u8; 32]) -> Option<u32> {
        let mut sessions = self.sessions();
        let same = |s: &&Session| s.own == *own.public.as_bytes() && s.theirs == theirs;
        if let Some(session) = sessions.all.iter().find(same) {
            return Some(session.index);
        }
        let is_known = sessions.told == theirs || sessions.all.iter().any(|s| s.theirs == theirs);
        is_known.then(|| sessions.add(self.number, own, theirs, false))
    }

    /// Drops the sessions with keys of ours that are not among these.
    pub fn retain(&self, own: &[[u8; 32]]) {
        self.sessions().all.retain(|s| own.contains(&s.own));
    }

    /// Wraps a packet up.
    pub fn encapsulate<'a>(
        &self,
        key: &NodeKey,
        packet: &[u8],
        out: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let mut sessions = self.sessions();
        if sessions.all.is_empty() {
            let told = sessions.told;
            sessions.add(self.number, key, told, false);
        }
        let is_ready = |s: &Session| s.age().is_some_and(|age| age < LIFE);
        let last = sessions.all.len() - 1;
        let chosen = sessions.all.iter().rposition(is_ready).unwrap_or(last);
        match sessions.all[chosen].tunnel.encapsulate(packet, out) {
            TunnResult::WriteToNetwork(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Takes a packet of the session with this index, of the 24 bits.
    pub fn decapsulate<'a>(
        &self,
        index: u32,
        from: IpAddr,
        input: &[u8],
        out: &'a mut [u8],
    ) -> TunnResult<'a> {
        let mut sessions = self.sessions();
        match sessions.all.iter_mut().find(|s| s.index == index) {
            Some(session) => session.tunnel.decapsulate(Some(from), input, out),
            None => TunnResult::Done,
        }
    }

    /// Looks at the timers; hands over what is to be sent.
    pub fn tick(&self, out: &mut [u8], mut send: impl FnMut(Vec<u8>)) {
        let mut sessions = self.sessions();
        for session in &mut sessions.all {
            let due = std::mem::take(&mut session.is_due);
            let first = due.then(|| session.tunnel.format_handshake_initiation(out, false));
            if let Some(TunnResult::WriteToNetwork(bytes)) = first {
                send(bytes.to_vec());
            }
            if let TunnResult::WriteToNetwork(bytes) = session.tunnel.update_timers(out) {
                send(bytes.to_vec());
            }
        }
        if sessions.all.last().is_some_and(Session::is_settled) {
            let older = sessions.all.len() - 1;
            sessions.all.drain(..older);
        }
    }
}

impl Sessions {
    fn add(&mut self, number: u32, key: &NodeKey, theirs: [u8; 32], is_due: bool) -> u32 {
        let index = (number << SESSION_BITS) | (self.next % (1 << SESSION_BITS));
        self.next = self.next.wrapping_add(1);
        let (secret, public) = (key.secret.clone(), PublicKey::from(theirs));
        self.all.push(Session {
            own: *key.public.as_bytes(),
            theirs,
            index,
            tunnel: Tunn::new(secret, public, None, None, index, None),
            is_due,
        });
        index
    }
}
