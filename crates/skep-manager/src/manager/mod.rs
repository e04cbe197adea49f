//! A manager: its place in the quorum, its servers, and while it leads, the leader's parts.
//!
//! ```text
//!  bind port -> serve -> take the place in the quorum -> follow leadership
//!                                   joining needs the server: the leader checks that it answers
//! ```
//!
//! Followers hand calls on to the leader ([`skep_rpc::ForwardLayer`]); only raft, health and the
//! watch of the own store are answered everywhere.

mod control;
mod leadership;
mod server;
mod trust;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use skep_objects::{ErrorKind, swarmkit::node_spec::Availability};
use skep_rpc::{
    Listener, LocalDialer, NodeIdentity,
    identity::{Kek, NodeFiles},
    swarmkit::control_server::Control,
};
use skep_store::{
    Store,
    raft::{Health as RaftHealth, RaftNode},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use crate::leader::seed::NewCluster;
use crate::{
    control::ControlServer,
    leader::Slots,
    metrics::{self, Counters, Family},
    raft::{Health, Quorum, QuorumConfig, QuorumError, keys},
    slot::LateStore,
};
use control::ForwardingControl;
use leadership::Leadership;

/// Where raft's files are in the state directory.
const RAFT_DIR: &str = "raft";

/// What a manager is started with.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// The swarm state directory; certificates are in it, raft's files go into it.
    pub state_dir: PathBuf,
    /// Who this node is.
    pub identity: NodeIdentity,
    /// Where to listen.
    pub listen_addr: SocketAddr,
    /// `host:port` where others reach it.
    pub advertise_addr: String,
    /// A manager to join the quorum by, if there is no raft state on disk.
    pub join_addr: Option<String>,
    /// Make this the only member, with the state on disk.
    pub force_new_cluster: bool,
    /// What unlocks the raft keys, with autolock.
    pub kek: Option<Kek>,
    /// The swarm to make, if there is none.
    pub new_cluster: Option<NewCluster>,
    /// Whether this node takes tasks, should it have to be added to the store.
    pub availability: Availability,
}

/// Why a manager does not run.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The port is taken, or not this machine's.
    #[error("listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The key of the raft log cannot be had.
    #[error(transparent)]
    Key(#[from] keys::DekError),
    /// No place in the quorum.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
}

impl ManagerError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } | Self::Key(_) => ErrorKind::Internal,
            Self::Quorum(QuorumError::Join(_)) => ErrorKind::Unavailable,
            Self::Quorum(_) => ErrorKind::Internal,
        }
    }
}

/// A manager that runs.
pub struct Manager {
    quorum: Quorum,
    store: Store,
    node: RaftNode,
    node_id: String,
    control: Arc<ForwardingControl>,
    dialer: LocalDialer,
    listen_addr: SocketAddr,
    files: NodeFiles,
    leads: watch::Receiver<bool>,
    counters: Arc<Counters>,
    /// Ends the loop that follows leadership.
    stop_leading: CancellationToken,
    /// Ends the servers.
    stop_serving: CancellationToken,
    tasks: TaskTracker,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("quorum", &self.quorum)
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// Starts a manager; it serves when this answers, and may lead soon after.
    pub async fn start(config: ManagerConfig) -> Result<Self, ManagerError> {
        let listener = Listener::bind(config.listen_addr).await.map_err(|source| {
            let addr = config.listen_addr;
            ManagerError::Listen { addr, source }
        })?;
        let listen_addr = listener.local_addr().unwrap_or(config.listen_addr);
        let files = NodeFiles::new(&config.state_dir);
        let keys = keys::load_or_create(&files, config.kek.as_ref())?;
        let dialer = listener.local_dialer();
        let quorum = Quorum::new(config.identity.clone(), Health::default());
        let (late, slots) = (LateStore::default(), Slots::default());
        let control = ControlServer::new(late.clone(), Arc::new(quorum.clone()))
            .with_identity(config.identity.clone());
        let (stop_serving, tasks) = (CancellationToken::new(), TaskTracker::new());
        let services = server::Services {
            identity: config.identity.clone(),
            advertise_addr: config.advertise_addr.clone(),
            quorum: quorum.clone(),
            control: control.clone(),
            store: late.clone(),
            slots: slots.clone(),
        };
        tasks.spawn(server::serve(listener, services, stop_serving.clone()));
        let begun = quorum
            .begin(QuorumConfig {
                dir: config.state_dir.join(RAFT_DIR),
                advertise_addr: config.advertise_addr.clone(),
                keys,
                join_addr: config.join_addr.clone(),
                force_new_cluster: config.force_new_cluster,
                spec: Default::default(),
            })
            .await;
        let (store, node) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                stop_serving.cancel();
                tasks.close();
                tasks.wait().await;
                return Err(error.into());
            }
        };
        late.set(store.clone());
        let stop_leading = CancellationToken::new();
        let node_id = config.identity.node_id().to_owned();
        let (leads_sender, leads) = watch::channel(false);
        let leadership = Leadership {
            store: store.clone(),
            node: node.clone(),
            quorum: quorum.clone(),
            identity: config.identity,
            availability: config.availability,
            new_cluster: config.new_cluster,
            slots,
            leads: leads_sender,
        };
        tasks.spawn(leadership.run(stop_leading.clone()));
        let counters = Arc::new(Counters::default());
        tasks.spawn(counters.clone().follow(store.clone(), stop_serving.clone()));
        let forwarding = ForwardingControl::new(control, quorum.clone(), counters.clone());
        Ok(Self {
            control: Arc::new(forwarding),
            counters,
            quorum,
            store,
            node,
            node_id,
            dialer,
            listen_addr,
            files,
            leads,
            stop_leading,
            stop_serving,
            tasks,
        })
    }

    /// The control API; hands on to the leader.
    pub fn control(&self) -> Arc<dyn Control> {
        self.control.clone()
    }

    /// The way in for this process: every service, acting as this node.
    pub fn local_dialer(&self) -> LocalDialer {
        self.dialer.clone()
    }

    /// The store, for reading and watching.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it counts, as Prometheus takes it.
    pub fn families(&self) -> Vec<Family> {
        let status = self.node.status().borrow().clone();
        let members = self.node.membership().borrow().clone();
        let missing = |member: &&skep_store::raft::Member| {
            self.quorum.missing_since(member.raft_id).is_some()
        };
        let raft = metrics::Raft {
            leads: status.is_leading,
            has_leader: status.leader.is_some(),
            unreachable: members.members().filter(missing).count(),
            read_only: matches!(status.health, RaftHealth::ReadOnly(_)),
            member: self.node.metrics(),
            store: self.store.metrics(),
        };
        metrics::families(&self.store.view(), &raft, &self.counters)
    }

    /// The node that it runs on.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// This manager's place in the quorum.
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// The address it listens on; tells the port where 0 was asked for.
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen_addr
    }

    /// Whether it leads and all parts of a leader run.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// Returns when the manager can go on no more, with the reason: it was removed from the quorum,
    /// or its disk failed.
    pub async fn ended(&self) -> String {
        let mut status = self.node.status();
        let over = |health: &RaftHealth| match health {
            RaftHealth::Running | RaftHealth::ReadOnly(_) => None,
            RaftHealth::Removed => Some("this manager was removed from the quorum".to_owned()),
            RaftHealth::Failed(reason) => Some(reason.clone()),
            RaftHealth::Stopped => Some("this manager was stopped".to_owned()),
        };
        match status
            .wait_for(|status| over(&status.health).is_some())
            .await
        {
            Ok(status) => over(&status.health).unwrap_or_default(),
            Err(_) => "this manager was stopped".to_owned(),
        }
    }

    /// Seals the raft log with a new key. Due when managers begin to lock themselves, after the
    /// node's key file was sealed with `kek`: what is on disk was readable by anybody until then.
    pub async fn rotate_raft_key(&self, kek: Option<&Kek>) -> Result<(), keys::DekError> {
        keys::rotate(&self.files, kek, &self.node).await
    }

    /// Ends it: leadership is given away, then the leader's parts stop, then the servers.
    pub async fn stop(&self) {
        self.quorum.stop().await;
        self.stop_leading.cancel();
        self.stop_serving.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Removes what a manager keeps on disk, of a node that is none any more.
    pub fn forget(state_dir: &Path) -> std::io::Result<()> {
        match std::fs::remove_dir_all(state_dir.join(RAFT_DIR)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
