//! The handle to this manager's place in the quorum.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rand::RngCore;
use skep_objects::swarmkit::{self, HealthCheckRequest, JoinRequest, health_check_response};
use skep_rpc::client::ConnectError;
use skep_rpc::skep_v1::quorum_server::QuorumServer;
use skep_rpc::swarmkit::health_client::HealthClient;
use skep_rpc::swarmkit::health_server::HealthServer;
use skep_rpc::swarmkit::raft_membership_client::RaftMembershipClient;
use skep_rpc::swarmkit::raft_membership_server::RaftMembershipServer;
use skep_rpc::swarmkit::raft_server::RaftServer;
use skep_rpc::{Caller, NodeIdentity};
use skep_store::disk::DirDisk;
use skep_store::raft::{
    ConfError, Member as RaftMember, Membership, RaftConfig, RaftNode, Start, StartError,
};
use skep_store::seal::DekSet;
use skep_store::{Store, SystemClock};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tracing::info;

use super::health::Health;
use super::membership::MembershipService;
use super::peers::{PeerTransport, Peers};
use super::service::RaftService;
use super::{announce, settings};
use crate::control::members::Members as _;

/// How long a joiner may take to answer the leader's health check.
const HEALTH_DEADLINE: Duration = Duration::from_secs(5);
/// How long the leader may take to answer a joiner: it commits the change first.
const JOIN_DEADLINE: Duration = Duration::from_secs(25);
/// How long a joiner waits to have caught up before it serves; it goes on catching up afterwards.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(15);
/// How long handing leadership over before a stop may take.
const HANDOVER_DEADLINE: Duration = Duration::from_secs(3);

/// How a manager takes its place in the quorum.
#[derive(Debug, Clone)]
pub struct QuorumConfig {
    /// Where the log and the snapshots lie: `raft` in the swarm's state directory.
    pub dir: PathBuf,
    /// `host:port` where the other managers reach this one.
    pub advertise_addr: String,
    /// What the log is sealed with: see [`super::keys::load_or_create`].
    pub keys: DekSet,
    /// A manager to join by, when there is no log yet; without one, a quorum is founded.
    pub join_addr: Option<String>,
    /// Make this manager the only member.
    pub force_new_cluster: bool,
    /// From the cluster's spec, when it is known: how often there are snapshots, how many entries
    /// are kept behind them. Zero is the default.
    pub spec: swarmkit::RaftConfig,
}

/// Why a manager could not take its place.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The directory cannot be used.
    #[error("open {dir}: {source}")]
    Dir {
        /// Which one.
        dir: String,
        /// Why.
        source: std::io::Error,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The leader did not let it in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// It has begun already.
    #[error("this manager's raft has already begun")]
    Begun,
}

/// Why a manager could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The manager to join by cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It, or the leader, refused.
    #[error("manager {addr} refused: {}", .status.message())]
    Refused {
        /// Who was asked.
        addr: String,
        /// What it said.
        status: Status,
    },
    /// No answer in time.
    #[error("manager {0} did not answer in time")]
    Deadline(String),
}

/// Why a member could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The guard: too few members would be left that answer.
    #[error("can't remove member from the raft: this would result in a loss of quorum")]
    LosesQuorum,
    /// Raft did not do it.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// It has not begun.
    #[error("this manager's raft has not begun")]
    NotBegun,
}

impl From<RemoveError> for Status {
    fn from(error: RemoveError) -> Self {
        let text = error.to_string();
        match error {
            RemoveError::LosesQuorum => Status::failed_precondition(text),
            RemoveError::Conf(error) => Status::new(skep_rpc::status::code_of(error.kind()), text),
            RemoveError::NotBegun => Status::unavailable(text),
        }
    }
}

/// This manager's place in the quorum. Clones are the same.
#[derive(Debug, Clone)]
pub struct Quorum {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: NodeIdentity,
    peers: Arc<Peers>,
    health: Health,
    begun: OnceLock<(Store, RaftNode)>,
    /// One Join at a time: two of one node must not become two members.
    admission: tokio::sync::Mutex<()>,
    leader_channel: Mutex<Option<(u64, String, Channel)>>,
    /// The last call that looked for a leader found none.
    leaderless: AtomicBool,
    /// What goes on beside the member, and ends with it.
    tasks: Mutex<Vec<AbortHandle>>,
    /// Ends the streams of messages from the others.
    stopping: CancellationToken,
}

impl Quorum {
    /// A place that is not taken yet. Its services can be served at once, and must be before
    /// [`Quorum::begin`] when it is to join. Called on the runtime that its tasks shall run on.
    pub fn new(identity: NodeIdentity, health: Health) -> Self {
        health.set_serving("Raft", true);
        let inner = Inner {
            peers: Peers::new(identity.clone()),
            identity,
            health,
            begun: OnceLock::new(),
            admission: tokio::sync::Mutex::new(()),
            leader_channel: Mutex::new(None),
            leaderless: AtomicBool::new(false),
            tasks: Mutex::default(),
            stopping: CancellationToken::new(),
        };
        Quorum {
            inner: Arc::new(inner),
        }
    }

    /// The service for raft's messages.
    pub fn raft_service(&self) -> RaftServer<impl skep_rpc::swarmkit::raft_server::Raft + use<>> {
        // Pieces of snapshots come near tonic's own limit.
        RaftServer::new(RaftService(self.clone())).max_decoding_message_size(8 << 20)
    }

    /// The service for the streams of raft's messages from other skep managers.
    pub fn stream_service(
        &self,
    ) -> QuorumServer<impl skep_rpc::skep_v1::quorum_server::Quorum + use<>> {
        QuorumServer::new(RaftService(self.clone())).max_decoding_message_size(8 << 20)
    }

    /// The service for Join and Leave.
    pub fn membership_service(
        &self,
    ) -> RaftMembershipServer<impl skep_rpc::swarmkit::raft_membership_server::RaftMembership + use<>>
    {
        RaftMembershipServer::new(MembershipService(self.clone()))
    }

    /// The service that says what serves.
    pub fn health_service(&self) -> HealthServer<Health> {
        HealthServer::new(self.inner.health.clone())
    }

    /// Takes the place: goes on with the log that is there, or joins, or founds.
    pub async fn begin(&self, config: QuorumConfig) -> Result<(Store, RaftNode), QuorumError> {
        let dir = config.dir.clone();
        let in_dir = move |source| QuorumError::Dir {
            dir: dir.display().to_string(),
            source,
        };
        let disk = DirDisk::open(&config.dir).map_err(in_dir.clone())?;
        let resumes = RaftNode::exists(&disk).map_err(in_dir)?;
        let start = match &config.join_addr {
            Some(addr) if !resumes => self.join(addr, &config.advertise_addr).await?,
            _ => Start::Bootstrap {
                raft_id: new_raft_id(),
            },
        };
        let (own_id, named) = match &start {
            Start::Bootstrap { raft_id } => (*raft_id, Vec::new()),
            Start::Join { raft_id, members } => (*raft_id, members.clone()),
        };
        self.inner.peers.prepare(own_id, &named);
        let node_id = self.inner.identity.node_id().to_owned();
        let own_addr = config.advertise_addr.clone();
        let seed = rand::rng().next_u64();
        let mut raft = RaftConfig::new(start, node_id, config.advertise_addr, config.keys, seed);
        raft.force_new_cluster = config.force_new_cluster;
        if config.spec.snapshot_interval > 0 {
            raft.snapshot_interval = config.spec.snapshot_interval;
        }
        if config.spec.log_entries_for_slow_followers > 0 {
            raft.keep_entries = config.spec.log_entries_for_slow_followers;
        }
        let joins = matches!(raft.start, Start::Join { .. }) && !resumes;
        let transport = Arc::new(PeerTransport(self.inner.peers.clone()));
        let started = tokio::task::spawn_blocking(move || {
            RaftNode::start(raft, transport, Arc::new(disk), Arc::new(SystemClock))
        });
        let (store, node) = started.await.map_err(|_| QuorumError::Begun)??;
        self.inner.peers.attach(node.clone());
        self.inner
            .begun
            .set((store.clone(), node.clone()))
            .map_err(|_| QuorumError::Begun)?;
        let tasks = [
            tokio::spawn(announce::announce(self.clone(), own_addr)).abort_handle(),
            tokio::spawn(settings::follow(store.clone(), node.clone())).abort_handle(),
        ];
        self.inner
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(tasks);
        if joins {
            // Whoever asked for this manager counts on it from the answer on.
            let _ = tokio::time::timeout(CATCH_UP_DEADLINE, has_vote(&node)).await;
        }
        Ok((store, node))
    }

    /// The raft member, once begun.
    pub fn node(&self) -> Option<&RaftNode> {
        self.inner.begun.get().map(|(_, node)| node)
    }

    /// The store, once begun.
    pub fn store(&self) -> Option<&Store> {
        self.inner.begun.get().map(|(store, _)| store)
    }

    /// Lets a manager in, on the leader: a new member, or a known one with a new address.
    pub(super) async fn admit(&self, node_id: &str, addr: &str) -> Result<RaftMember, Status> {
        let node = self
            .node()
            .ok_or_else(|| Status::unavailable("raft has not begun"))?;
        if !node.status().borrow().is_leading {
            return Err(Status::failed_precondition(
                "this manager is not the leader of the swarm",
            ));
        }
        self.check_health(addr).await?;
        let _one = self.inner.admission.lock().await;
        let known = node.membership().borrow().by_node(node_id).cloned();
        let refused = |error: ConfError| {
            Status::new(skep_rpc::status::code_of(error.kind()), error.to_string())
        };
        if let Some(known) = known {
            if known.addr == addr {
                return Ok(known);
            }
            let moved = RaftMember {
                addr: addr.to_owned(),
                ..known
            };
            node.update_member(moved.clone()).await.map_err(refused)?;
            return Ok(moved);
        }
        let member = RaftMember {
            raft_id: new_raft_id(),
            node_id: node_id.to_owned(),
            addr: addr.to_owned(),
        };
        node.add_member(member.clone()).await.map_err(refused)?;
        info!(node.id = node_id, addr, "manager joined");
        Ok(member)
    }

    /// Takes a member out, if a quorum is left. A leader that is to go hands leadership over, and
    /// the next leader does the rest.
    pub async fn remove(&self, raft_id: u64) -> Result<(), RemoveError> {
        let node = self.node().ok_or(RemoveError::NotBegun)?;
        if !self.can_remove(raft_id) {
            return Err(RemoveError::LosesQuorum);
        }
        if node.status().borrow().raft_id == raft_id {
            node.transfer_leadership(None).await?;
            return Err(ConfError::NotLeader.into());
        }
        Ok(node.remove_member(raft_id).await?)
    }

    /// Hands leadership over, if this manager leads, and stops its member.
    pub async fn stop(&self) {
        self.inner.health.set_serving("Raft", false);
        if let Some(node) = self.node() {
            let status = node.status().borrow().clone();
            if status.is_leading && node.membership().borrow().len() > 1 {
                let handover = node.transfer_leadership(None);
                // Without a successor the others elect one when they miss us.
                let _ = tokio::time::timeout(HANDOVER_DEADLINE, handover).await;
            }
            node.stop().await;
        }
        let tasks = &self.inner.tasks;
        for task in tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            task.abort();
        }
        self.inner.stopping.cancel();
        self.inner.peers.stop();
    }

    pub(super) fn stopping(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    pub(super) fn identity(&self) -> &NodeIdentity {
        &self.inner.identity
    }

    pub(super) fn kept_channel(&self) -> MutexGuard<'_, Option<(u64, String, Channel)>> {
        self.inner
            .leader_channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_leaderless(&self) -> bool {
        self.inner.leaderless.load(Ordering::Relaxed)
    }

    pub(super) fn set_leaderless(&self, is: bool) {
        self.inner.leaderless.store(is, Ordering::Relaxed);
    }

    /// Notes where a member sends from. One that does not take messages at the address it is known by,
    /// and sends from another, is answered there.
    pub(super) fn note_sender(&self, raft_id: u64, caller: &Caller) {
        let Some(node) = self
            .node()
            .filter(|_| self.missing_since(raft_id).is_some())
        else {
            return;
        };
        let membership = node.membership();
        let membership = membership.borrow();
        let Some(member) = membership.get(raft_id) else {
            return;
        };
        let seen = caller
            .remote_addr
            .as_deref()
            .and_then(|a| a.rsplit_once(':'));
        let (Some((seen, _)), Some((known, port))) = (seen, member.addr.rsplit_once(':')) else {
            return;
        };
        if member.node_id == caller.node_id && seen != known {
            self.inner
                .peers
                .redirect(raft_id, &format!("{seen}:{port}"));
        }
    }

    /// Since when a member has taken no message of this one; none if it took the last.
    pub(crate) fn missing_since(&self, raft_id: u64) -> Option<std::time::SystemTime> {
        self.inner.peers.missing.since(raft_id)
    }

    pub(super) fn forget_leader_channel(&self) {
        *self.kept_channel() = None;
    }

    /// Asks the leader, through any manager, for a place.
    async fn join(&self, addr: &str, own_addr: &str) -> Result<Start, JoinError> {
        let channel = skep_rpc::connect(addr, &self.inner.identity).await?;
        let mut client = RaftMembershipClient::new(channel);
        let request = JoinRequest {
            addr: own_addr.to_owned(),
        };
        let answer = tokio::time::timeout(JOIN_DEADLINE, client.join(request)).await;
        let answer = answer
            .map_err(|_| JoinError::Deadline(addr.to_owned()))?
            .map_err(|status| JoinError::Refused {
                addr: addr.to_owned(),
                status,
            })?
            .into_inner();
        let members = answer
            .members
            .into_iter()
            .map(RaftMember::from_message)
            .collect();
        Ok(Start::Join {
            raft_id: answer.raft_id,
            members,
        })
    }

    /// Whether a joiner can be reached where it says.
    async fn check_health(&self, addr: &str) -> Result<(), Status> {
        let check = async {
            let channel = skep_rpc::connect(addr, &self.inner.identity)
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let request = HealthCheckRequest {
                service: "Raft".to_owned(),
            };
            let answer = HealthClient::new(channel)
                .check(request)
                .await?
                .into_inner();
            if answer.status() == health_check_response::ServingStatus::Serving {
                Ok(())
            } else {
                Err(Status::unavailable("its raft does not serve"))
            }
        };
        let checked = tokio::time::timeout(HEALTH_DEADLINE, check).await;
        let checked = checked.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        checked.map_err(|status| {
            Status::unavailable(format!(
                "could not reach manager at {addr}: {}",
                status.message()
            ))
        })
    }
}

/// Waits until this member has caught up and votes, or has ended.
async fn has_vote(node: &RaftNode) {
    let own_id = node.status().borrow().raft_id;
    let mut membership = node.membership();
    let votes = |members: &Membership| members.get(own_id).is_some() && !members.is_learner(own_id);
    // Fails when the member has ended, which others notice.
    let _ = membership.wait_for(votes).await;
}

/// A random number from 1 to 2^63.
fn new_raft_id() -> u64 {
    (rand::rng().next_u64() >> 1) + 1
}
