//! Members in this process, and the network between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use skep_objects::raftpb::{Message, MessageType};
use skep_objects::swarmkit::Task;
use skep_store::disk::{DirDisk, Disk};
use skep_store::raft::{Member, Membership, RaftConfig, RaftNode, RaftStatus, Start, Transport};
use skep_store::seal::{Dek, DekSet};
use skep_store::{Store, SystemClock, TxError, UpdateError};

/// A network in this process: each message goes straight to its member's queue.
#[derive(Debug, Clone, Default)]
pub struct Network(Arc<Mutex<BTreeMap<u64, RaftNode>>>);

impl Transport for Network {
    fn send(&self, message: Message) {
        let nodes = self.0.lock().unwrap().clone();
        let (from, to) = (message.from(), message.to());
        let is_snapshot = message.r#type() == MessageType::Snap;
        let sender = nodes.get(&from);
        match nodes.get(&to) {
            Some(node) => {
                node.step(message);
                if let Some(sender) = sender.filter(|_| is_snapshot) {
                    sender.report_snapshot(to, true);
                }
            }
            None => {
                if let Some(sender) = sender {
                    sender.report_unreachable(to);
                }
            }
        }
    }

    fn members_changed(&self, _membership: &Membership) {}
}

impl Network {
    pub fn start(&self, id: u64, dir: &Path, start: Start) -> (Store, RaftNode) {
        self.start_with(config(id, start), dir)
    }

    pub fn start_with(&self, config: RaftConfig, dir: &Path) -> (Store, RaftNode) {
        self.start_on(config, Arc::new(DirDisk::open(dir).unwrap()))
    }

    pub fn start_on(&self, config: RaftConfig, disk: Arc<dyn Disk>) -> (Store, RaftNode) {
        let transport = Arc::new(self.clone());
        let started = RaftNode::start(config, transport, disk, Arc::new(SystemClock)).unwrap();
        let raft_id = started.1.status().borrow().raft_id;
        self.0.lock().unwrap().insert(raft_id, started.1.clone());
        started
    }

    pub async fn stop(&self, node: &RaftNode) {
        let raft_id = node.status().borrow().raft_id;
        self.0.lock().unwrap().remove(&raft_id);
        node.stop().await;
    }
}

pub fn key(n: u8) -> DekSet {
    DekSet::new(Dek::new([n; 32]))
}

pub fn config(id: u64, start: Start) -> RaftConfig {
    let mut config = RaftConfig::new(
        start,
        format!("node{id}"),
        format!("10.0.0.{id}:2377"),
        key(1),
        id,
    );
    config.tick = std::time::Duration::from_millis(20);
    config
}

pub fn member(id: u64) -> Member {
    Member {
        raft_id: id,
        node_id: format!("node{id}"),
        addr: format!("10.0.0.{id}:2377"),
    }
}

pub async fn until(node: &RaftNode, what: impl FnMut(&RaftStatus) -> bool) {
    node.status().wait_for(what).await.unwrap();
}

pub async fn leads(node: &RaftNode) {
    until(node, |status| status.is_leading).await;
}

pub async fn create(store: &Store, id: &str) -> Result<(), UpdateError<TxError>> {
    let task = Task {
        id: id.into(),
        ..Task::default()
    };
    store.update(|tx| tx.create_task(task)).await.map(|_| ())
}

pub async fn has(store: &Store, id: &str) {
    let (view, mut watch) = store.watch();
    if view.task(id).is_none() {
        while watch.recv_commit().await.unwrap().view.task(id).is_none() {}
    }
}

/// Waits until a newcomer has caught up.
pub async fn votes(node: &RaftNode, id: u64) {
    let mut membership = node.membership();
    let has_vote = |members: &Membership| members.get(id).is_some() && !members.is_learner(id);
    membership.wait_for(has_vote).await.unwrap();
}

/// Three members, the first of which leads.
pub async fn three(network: &Network, dirs: &[tempfile::TempDir; 3]) -> [(Store, RaftNode); 3] {
    let first = network.start(1, dirs[0].path(), Start::Bootstrap { raft_id: 1 });
    leads(&first.1).await;
    let mut joined = Vec::new();
    for id in [2, 3] {
        let at = usize::try_from(id).unwrap() - 1;
        let started = network.start(
            id,
            dirs[at].path(),
            Start::Join {
                raft_id: id,
                members: vec![],
            },
        );
        first.1.add_member(member(id)).await.unwrap();
        votes(&first.1, id).await;
        joined.push(started);
    }
    let third = joined.pop().unwrap();
    [first, joined.pop().unwrap(), third]
}

pub fn dirs() -> [tempfile::TempDir; 3] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}
