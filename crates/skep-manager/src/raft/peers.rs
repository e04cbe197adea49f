//! Raft's messages to the other members: a queue and a task for each ([`super::carry`]). Snapshots
//! go out beside the queue, in pieces ([`super::pieces`]), so that heartbeats do not wait behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use skep_objects::raftpb::{Message, MessageType};
use skep_rpc::NodeIdentity;
use skep_rpc::swarmkit::raft_client::RaftClient;
use skep_store::raft::{Member, Membership, RaftNode, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info};

use super::REMOVED;
use super::carry::Carrier;
use super::missing::Missing;
use super::pieces::send_snapshot;
use super::resolve::resolve;

/// Messages that may wait for one member.
const QUEUE: usize = 4096;

/// Carries messages to all other members.
#[derive(Debug)]
pub(super) struct Peers {
    identity: NodeIdentity,
    node: OnceLock<RaftNode>,
    runtime: tokio::runtime::Handle,
    state: Mutex<State>,
    pub(super) missing: Missing,
}

#[derive(Debug, Default)]
struct State {
    own_id: u64,
    /// Members that the leader named when this one joined, or others when they were asked, before the
    /// log says so itself.
    named: BTreeMap<u64, String>,
    peers: BTreeMap<u64, Peer>,
    /// Whose addresses are being asked for.
    sought: BTreeSet<u64>,
    is_stopped: bool,
}

#[derive(Debug)]
struct Peer {
    addr: String,
    queue: mpsc::Sender<Message>,
    client: RaftClient<Channel>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peers {
    /// Peers of none yet. Tasks run on the runtime that this is called on.
    pub(super) fn new(identity: NodeIdentity) -> Arc<Self> {
        Arc::new(Peers {
            identity,
            node: OnceLock::new(),
            runtime: tokio::runtime::Handle::current(),
            state: Mutex::default(),
            missing: Missing::default(),
        })
    }

    /// Who this member is, and whom the leader named to it.
    pub(super) fn prepare(self: &Arc<Self>, own_id: u64, named: &[Member]) {
        let mut state = self.state();
        state.own_id = own_id;
        let others = named.iter().filter(|member| member.raft_id != own_id);
        state.named = others
            .map(|member| (member.raft_id, member.addr.clone()))
            .collect();
    }

    /// Where reports about sending go.
    pub(super) fn attach(&self, node: RaftNode) {
        // A second member in one process has peers of its own.
        let _ = self.node.set(node);
    }

    /// Ends all tasks.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.peers.clear();
    }

    /// Sends to a member at another address than the log has, until the log changes: its host has
    /// moved, and there may be no quorum to write that down without it.
    pub(super) fn redirect(self: &Arc<Self>, raft_id: u64, addr: &str) {
        let mut state = self.state();
        let is_there = state
            .peers
            .get(&raft_id)
            .is_some_and(|peer| peer.addr == addr);
        if is_there || state.is_stopped {
            return;
        }
        if let Some(peer) = self.peer(raft_id, addr) {
            info!(raft.id = raft_id, addr, "manager has moved");
            state.peers.insert(raft_id, peer);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(self: &Arc<Self>) -> Reports {
        Reports(Arc::downgrade(self))
    }

    /// Asks the others where a member is that this one does not know.
    fn seek(self: &Arc<Self>, state: &mut State, raft_id: u64) {
        let node = self.node.get();
        let is_removed = node.is_some_and(|node| node.membership().borrow().is_removed(raft_id));
        if is_removed || state.peers.is_empty() || !state.sought.insert(raft_id) {
            return;
        }
        let others = state.peers.values().map(|peer| peer.client.clone());
        let seeking = resolve(Arc::downgrade(self), raft_id, others.collect());
        self.runtime.spawn(seeking);
    }

    /// What came of it.
    pub(super) fn found(&self, raft_id: u64, addr: Option<String>) {
        let mut state = self.state();
        state.sought.remove(&raft_id);
        if let Some(addr) = addr {
            state.named.insert(raft_id, addr);
        }
    }

    fn peer(self: &Arc<Self>, raft_id: u64, addr: &str) -> Option<Peer> {
        // Raft's thread calls this, and is no thread of the runtime.
        let _entered = self.runtime.enter();
        let channel = match skep_rpc::connect_lazy(addr, &self.identity) {
            Ok(channel) => channel,
            Err(error) => {
                info!(raft.id = raft_id, addr, %error, "manager cannot be reached");
                return None;
            }
        };
        let client = RaftClient::new(channel.clone());
        let (queue, waiting) = mpsc::channel(QUEUE);
        let carrier = Carrier::new(raft_id, channel, waiting, self.reports());
        let task = self.runtime.spawn(carrier.run());
        Some(Peer {
            addr: addr.to_owned(),
            queue,
            client,
            task,
        })
    }
}

/// The transport that raft is given: it makes peers as members come.
#[derive(Debug, Clone)]
pub(super) struct PeerTransport(pub(super) Arc<Peers>);

impl Transport for PeerTransport {
    fn send(&self, message: Message) {
        let peers = &self.0;
        let to = message.to();
        let mut state = peers.state();
        if state.is_stopped {
            return;
        }
        if !state.peers.contains_key(&to) {
            // A joiner hears of members by name before the log tells it.
            let made = state.named.get(&to).and_then(|addr| peers.peer(to, addr));
            let Some(made) = made else {
                peers.seek(&mut state, to);
                return;
            };
            state.peers.insert(to, made);
        }
        let Some(peer) = state.peers.get(&to) else {
            return;
        };
        if message.r#type() == MessageType::Snap {
            let (client, reports) = (peer.client.clone(), peers.reports());
            peers.runtime.spawn(send_snapshot(client, message, reports));
        } else if peer.queue.try_send(message).is_err() {
            drop(state);
            peers.reports().unreachable(to);
        }
    }

    fn members_changed(&self, membership: &Membership) {
        let peers = &self.0;
        let mut state = peers.state();
        for removed in membership.removed() {
            state.named.remove(&removed);
        }
        for member in membership.members() {
            state.named.remove(&member.raft_id);
        }
        let State {
            named,
            peers: open,
            own_id,
            is_stopped,
            sought: _,
        } = &mut *state;
        if *is_stopped {
            return;
        }
        open.retain(|raft_id, peer| match membership.get(*raft_id) {
            Some(member) => member.addr == peer.addr,
            None => named.contains_key(raft_id),
        });
        for member in membership
            .members()
            .filter(|member| member.raft_id != *own_id)
        {
            if !open.contains_key(&member.raft_id)
                && let Some(peer) = peers.peer(member.raft_id, &member.addr)
            {
                open.insert(member.raft_id, peer);
            }
        }
    }
}

/// Tells raft how sending went. The first messages go out before there is a handle to raft.
#[derive(Debug, Clone)]
pub(super) struct Reports(Weak<Peers>);

impl Reports {
    fn node(&self) -> Option<RaftNode> {
        self.0.upgrade()?.node.get().cloned()
    }

    pub(super) fn reached(&self, raft_id: u64) {
        if let Some(peers) = self.0.upgrade() {
            peers.missing.reached(raft_id);
        }
    }

    fn unreachable(&self, raft_id: u64) {
        if let Some(node) = self.node() {
            node.report_unreachable(raft_id);
        }
    }

    pub(super) fn snapshot(&self, raft_id: u64, sent: bool) {
        if let Some(node) = self.node() {
            node.report_snapshot(raft_id, sent);
        }
    }

    pub(super) fn failed(&self, raft_id: u64, status: &Status) {
        debug!(raft.id = raft_id, %status, "raft message not sent");
        if status.code() == Code::NotFound && status.message().contains(REMOVED) {
            if let Some(node) = self.node() {
                node.report_removed();
            }
        } else {
            if let Some(peers) = self.0.upgrade() {
                peers.missing.failed(raft_id);
            }
            self.unreachable(raft_id);
        }
    }
}
