//! What this node asks of the manager that runs in it while its certificate says so. Real managers
//! come from skep-manager; tests have their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use skep_manager::backup::Restoration;
use skep_manager::metrics::Family;
use skep_objects::ErrorKind;
use skep_objects::swarmkit::node_spec::Availability;
use skep_objects::swarmkit::{ClusterSpec, StoreSnapshot};
use skep_rpc::LocalDialer;
use skep_rpc::identity::{Kek, NodeIdentity};
use skep_rpc::swarmkit::control_server::Control;
use tokio::sync::watch;

/// Why a manager does not run.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct ManagerError {
    /// What sort of failure.
    pub kind: ErrorKind,
    /// In words.
    pub text: String,
}

impl ManagerError {
    /// The kind of this error, for status codes.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// What a manager is started with.
#[derive(Clone, Debug)]
pub struct ManagerStart {
    /// The swarm state directory; certificates are in it, raft's files go into it.
    pub state_dir: PathBuf,
    /// Who this node is.
    pub identity: NodeIdentity,
    /// Where to listen.
    pub listen_addr: SocketAddr,
    /// Where others reach it.
    pub advertise_addr: SocketAddr,
    /// A member of the quorum to join, if there is no raft state on disk.
    pub join_addr: Option<String>,
    /// Make this the only member, with the state on disk.
    pub force_new_cluster: bool,
    /// What unlocks the raft keys, with autolock.
    pub kek: Option<Kek>,
    /// The swarm to make, if there is none.
    pub founding: Option<Founding>,
    /// How this node enters the swarm.
    pub availability: Availability,
}

/// What a new swarm begins with.
#[derive(Clone)]
pub struct Founding {
    /// The root's certificate, PEM.
    pub root_cert: Vec<u8>,
    /// The root's key, PEM.
    pub root_key: Vec<u8>,
    /// The swarm's settings.
    pub spec: ClusterSpec,
    /// Where networks get their subnets from; empty for the default.
    pub default_addr_pool: Vec<String>,
    /// Prefix length of those subnets; 0 for the default.
    pub subnet_size: u32,
    /// UDP port for overlay traffic; 0 for the default.
    pub data_path_port: u32,
    /// A backup, in place of everything but the root.
    pub restore: Option<Restoration>,
}

/// The key stays out of logs.
impl std::fmt::Debug for Founding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Founding")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// What managers lock themselves with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnlockKey {
    /// None without autolock.
    pub kek: Option<Kek>,
    /// Version of the cluster object that says so.
    pub version: u64,
}

/// A manager that runs.
#[async_trait]
pub trait RunningManager: Send + Sync {
    /// The control API; hands on to the leader.
    fn control(&self) -> Arc<dyn Control>;
    /// The way in for this process's own agent.
    fn local_dialer(&self) -> LocalDialer;
    /// Returns when the manager ended by itself, with the reason: it was removed from the quorum.
    async fn ended(&self) -> String;
    /// What managers lock themselves with, as this manager's store has it.
    fn unlock_key(&self) -> watch::Receiver<UnlockKey>;
    /// Managers lock themselves from now on, and the key file is sealed: what is on disk is sealed
    /// anew, since the old raft key lay open until then.
    async fn locked(&self, kek: &Kek);
    /// Every object of the swarm as this manager has it, and the version of the store.
    fn capture(&self) -> (StoreSnapshot, u64);
    /// What it counts.
    fn metrics(&self) -> Vec<Family>;
    /// What keeps it from writing, though it goes on: its disk is full.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// Ends it, giving leadership away first.
    async fn stop(&self);
}

/// Makes managers.
#[async_trait]
pub trait Managers: Send + Sync + 'static {
    /// Starts one; answers when it serves.
    async fn start(&self, start: ManagerStart) -> Result<Arc<dyn RunningManager>, ManagerError>;
    /// Removes the quorum's state of a node that is no longer a manager.
    async fn forget(&self, state_dir: PathBuf);
}
