//! The dispatcher: hands each node its tasks and takes its reports. It runs on the leader only.
//!
//! - [`sessions`]: who is in touch, who is down.
//! - [`router`]: follows the store once, and tells each stream of a node what concerns that node;
//!   so an event costs as many messages as it has addressees.
//! - [`assignment_set`], [`assignments`]: a node's tasks with what they need.
//! - [`session_stream`]: what a node is told about itself and the managers.
//! - [`statuses`]: reports, written in batches; [`limits`]: how much nodes may have stored.
//! - [`server`]: all of it as SwarmKit's Dispatcher service.

pub mod assignment_set;
pub mod assignments;
pub mod limits;
pub mod liveness;
pub mod router;
pub mod server;
pub mod session_stream;
pub mod sessions;
pub mod statuses;
pub mod timing;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_objects::swarmkit::{Cluster, EncryptionKey, WeightedPeer};
use skep_store::{Store, View};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use router::Router;
use sessions::Sessions;
use statuses::StatusWriter;
use timing::Timing;

/// What every node is told about the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterInfo {
    /// Keys of the gossip and of encrypted networks.
    pub keys: Vec<EncryptionKey>,
    /// The root bundle to trust.
    pub root_ca: Vec<u8>,
}

impl ClusterInfo {
    fn of(cluster: Option<&Cluster>) -> Self {
        let Some(cluster) = cluster else {
            return Self::default();
        };
        let root = cluster.root_ca.as_ref();
        Self {
            keys: cluster.network_bootstrap_keys.clone(),
            root_ca: root.map(|root| root.ca_cert.clone()).unwrap_or_default(),
        }
    }
}

/// The dispatcher of a leader.
#[derive(Debug)]
pub struct Dispatcher {
    store: Store,
    /// The manager that it runs on; written into every status it applies.
    node_id: String,
    sessions: Mutex<Sessions>,
    /// The earliest deadline of a session may have changed.
    rearm: Notify,
    router: Router,
    cluster: watch::Sender<Arc<ClusterInfo>>,
    managers: watch::Receiver<Vec<WeightedPeer>>,
    statuses: StatusWriter,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Starts the dispatcher of a leader. `managers` is the list that nodes are told.
    pub fn spawn(
        store: Store,
        node_id: String,
        managers: watch::Receiver<Vec<WeightedPeer>>,
    ) -> Arc<Self> {
        let (view, watch) = store.watch();
        let dispatcher = Arc::new(Self {
            sessions: Mutex::new(known_nodes(&view, Instant::now())),
            rearm: Notify::new(),
            router: Router::new(view.clone()),
            cluster: watch::Sender::new(Arc::new(ClusterInfo::of(
                view.the_cluster().map(|c| &**c),
            ))),
            managers,
            statuses: StatusWriter::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            store,
            node_id,
        });
        let stop = &dispatcher.stop;
        let tasks = &dispatcher.tasks;
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(router::run(dispatcher.clone(), watch)),
        );
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(liveness::run(dispatcher.clone())),
        );
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(statuses::run(dispatcher.clone())),
        );
        dispatcher
    }

    /// Ends every session and stream.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.sessions().end_all();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a new leader knows of the nodes: those in touch with the one before get time to find it.
fn known_nodes(view: &View, now: Instant) -> Sessions {
    use skep_objects::swarmkit::node_status::State;
    let mut sessions = Sessions::new(Timing::of(view.the_cluster().map(|cluster| &**cluster)));
    for node in view.nodes() {
        match node.status.as_ref().map(|status| status.state()) {
            // It has not been in touch at all yet.
            None => {}
            Some(State::Down) => sessions.expect(&node.id, true, now),
            Some(State::Unknown | State::Ready | State::Disconnected) => {
                sessions.expect(&node.id, false, now);
            }
        }
    }
    sessions
}
