//! Raft's messages to the other members: a queue and a task for each.
//!
//! SwarmKit's managers take one stream for each message; so do we, on one connection. Snapshots go
//! out beside the queue, in pieces, so that heartbeats do not wait behind them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use skep_objects::raftpb::{Message, MessageType};
use skep_objects::swarmkit::{ProcessRaftMessageRequest, StreamRaftMessageRequest};
use skep_rpc::NodeIdentity;
use skep_rpc::swarmkit::raft_client::RaftClient;
use skep_store::raft::{Member, Membership, RaftNode, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info};

use super::REMOVED;
use super::joined::Joined;
use super::missing::Missing;

/// Messages that may wait for one member.
const QUEUE: usize = 4096;
/// How long one message, or one piece of a snapshot, may take.
const SEND_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of a snapshot in one piece; receivers take 4 MiB with everything around it.
const PIECE: usize = 3 << 20;

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
    /// Members that the leader named when this one joined, before the log says so itself.
    named: BTreeMap<u64, String>,
    peers: BTreeMap<u64, Peer>,
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

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(self: &Arc<Self>) -> Reports {
        Reports(Arc::downgrade(self))
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
        let client = RaftClient::new(channel);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let task = self
            .runtime
            .spawn(carry(raft_id, client.clone(), waiting, self.reports()));
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
            let Some(made) = made else { return };
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
struct Reports(Weak<Peers>);

impl Reports {
    fn node(&self) -> Option<RaftNode> {
        self.0.upgrade()?.node.get().cloned()
    }

    fn reached(&self, raft_id: u64) {
        if let Some(peers) = self.0.upgrade() {
            peers.missing.reached(raft_id);
        }
    }

    fn unreachable(&self, raft_id: u64) {
        if let Some(node) = self.node() {
            node.report_unreachable(raft_id);
        }
    }

    fn snapshot(&self, raft_id: u64, sent: bool) {
        if let Some(node) = self.node() {
            node.report_snapshot(raft_id, sent);
        }
    }

    fn failed(&self, raft_id: u64, status: &Status) {
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

/// Sends a member's messages one after the other.
async fn carry(
    raft_id: u64,
    mut client: RaftClient<Channel>,
    waiting: mpsc::Receiver<Message>,
    reports: Reports,
) {
    let mut waiting = Joined::new(waiting);
    while let Some(message) = waiting.next().await {
        match send_one(&mut client, message).await {
            Ok(()) => reports.reached(raft_id),
            Err(status) => {
                reports.failed(raft_id, &status);
                // What waits behind it is stale by the time the member is back; raft sends anew.
                waiting.clear();
            }
        }
    }
}

async fn send_one(client: &mut RaftClient<Channel>, message: Message) -> Result<(), Status> {
    let request = StreamRaftMessageRequest {
        message: Some(message),
    };
    let again = request.clone();
    let sent = client.stream_raft_message(tokio_stream::once(request));
    match within(sent).await {
        // Managers before Docker 18.06 take whole messages only.
        Err(status) if status.code() == Code::Unimplemented => {
            let request = ProcessRaftMessageRequest {
                message: again.message,
            };
            within(client.process_raft_message(request)).await
        }
        result => result,
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<(), Status> {
    match tokio::time::timeout(SEND_DEADLINE, call).await {
        Ok(result) => result.map(|_| ()),
        Err(_) => Err(Status::deadline_exceeded("raft message not taken in time")),
    }
}

/// Sends a snapshot in pieces: the same message with slices of the data.
async fn send_snapshot(mut client: RaftClient<Channel>, message: Message, reports: Reports) {
    let raft_id = message.to();
    let pieces = pieces_of(message);
    // Each piece may take its time; the whole as long as all of them.
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let deadline = SEND_DEADLINE.saturating_mul(count.saturating_add(4));
    let call = client.stream_raft_message(tokio_stream::iter(pieces));
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(_)) => reports.snapshot(raft_id, true),
        Ok(Err(status)) => {
            info!(raft.id = raft_id, %status, "snapshot not sent");
            reports.snapshot(raft_id, false);
            reports.failed(raft_id, &status);
        }
        Err(_) => {
            info!(raft.id = raft_id, "snapshot not taken in time");
            reports.snapshot(raft_id, false);
        }
    }
}

fn pieces_of(mut message: Message) -> Vec<StreamRaftMessageRequest> {
    let snapshot = message.snapshot.get_or_insert_default();
    let data = snapshot.data.take().unwrap_or_default();
    let mut slices: Vec<Bytes> = Vec::new();
    let mut at = 0;
    while at < data.len() || slices.is_empty() {
        let end = data.len().min(at + PIECE);
        slices.push(data.slice(at..end));
        at = end;
    }
    let piece = |slice| {
        let mut piece = message.clone();
        piece.snapshot.get_or_insert_default().data = Some(slice);
        StreamRaftMessageRequest {
            message: Some(piece),
        }
    };
    slices.into_iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::raftpb::Snapshot;

    fn snapshot_of(bytes: usize) -> Message {
        let data = Some(vec![7; bytes].into());
        let snapshot = Some(Snapshot {
            data,
            ..Snapshot::default()
        });
        Message {
            index: Some(9),
            snapshot,
            ..Message::default()
        }
    }

    #[test]
    fn a_snapshot_is_cut_into_pieces_that_make_it_again() {
        for bytes in [0, 1, PIECE, PIECE + 1, 3 * PIECE - 1] {
            let pieces = pieces_of(snapshot_of(bytes));
            assert_eq!(pieces.len(), bytes.div_ceil(PIECE).max(1));
            let whole: usize = pieces
                .iter()
                .map(|piece| piece.message.as_ref().unwrap())
                .inspect(|message| assert_eq!(message.index(), 9))
                .map(|message| message.snapshot.as_ref().unwrap().data().len())
                .sum();
            assert_eq!(whole, bytes);
        }
    }
}
