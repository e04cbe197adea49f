//! What runs on the leader and nowhere else, started and stopped as one set.

pub mod keys;
pub mod roles;
pub mod seed;

use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::WeightedPeer;
use skep_rpc::NodeIdentity;
use skep_store::Store;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

use crate::{
    ca::{reconcile, signing},
    dispatcher::Dispatcher,
    endpoints::EndpointTables,
    logbroker::LogBroker,
    loops::{LeaderLoops, LoopsConfig},
    probes::Probes,
    slot::Slot,
};

pub use roles::Quorum;

/// How long a part may take to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where servers find the parts of a leader.
#[derive(Debug, Clone)]
pub struct Slots {
    /// The dispatcher.
    pub dispatcher: Slot<Dispatcher>,
    /// The endpoint tables.
    pub endpoints: Slot<EndpointTables>,
    /// The log broker.
    pub logs: Slot<LogBroker>,
    /// What nodes try among themselves.
    pub probes: Slot<Probes>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            dispatcher: Slot::new("dispatcher"),
            endpoints: Slot::new("endpoint tables"),
            logs: Slot::new("log broker"),
            probes: Slot::new("examination of nodes"),
        }
    }
}

/// The parts of a leader.
#[derive(Debug)]
pub struct Leader {
    slots: Slots,
    dispatcher: Arc<Dispatcher>,
    endpoints: Arc<EndpointTables>,
    logs: Arc<LogBroker>,
    probes: Arc<Probes>,
    loops: LeaderLoops,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Leader {
    /// Starts all parts. The store must be seeded.
    pub fn start(
        store: &Store,
        identity: &NodeIdentity,
        quorum: Arc<dyn Quorum>,
        managers: watch::Receiver<Vec<WeightedPeer>>,
        slots: Slots,
    ) -> Self {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let probes = Probes::new(store.clone(), managers.clone());
        slots.probes.set(Some(probes.clone()));
        let dispatcher = Dispatcher::spawn(store.clone(), identity.node_id().to_owned(), managers);
        let loops = LoopsConfig::default();
        let endpoints = EndpointTables::spawn(store, loops.usage.clone());
        slots.endpoints.set(Some(endpoints.clone()));
        let logs = LogBroker::new(store.clone());
        slots.logs.set(Some(logs.clone()));
        slots.dispatcher.set(Some(dispatcher.clone()));
        let loops = LeaderLoops::spawn(store.clone(), loops);
        tasks.spawn(signing::run(store.clone(), identity.clone(), stop.clone()));
        tasks.spawn(reconcile::run(store.clone(), stop.clone()));
        tasks.spawn(keys::run(store.clone(), stop.clone()));
        tasks.spawn(roles::run(store.clone(), quorum, stop.clone()));
        tasks.close();
        Self {
            slots,
            dispatcher,
            endpoints,
            logs,
            probes,
            loops,
            stop,
            tasks,
        }
    }

    /// Stops all parts: first what takes new work in, then what works it off. A part that does not
    /// end is left behind: the next term must not wait for it.
    pub async fn stop(self) {
        self.slots.dispatcher.set(None);
        self.slots.endpoints.set(None);
        self.slots.logs.set(None);
        self.slots.probes.set(None);
        self.stop.cancel();
        self.probes.stop();
        tokio::join!(
            within("dispatcher", self.dispatcher.stop()),
            within("endpoint tables", self.endpoints.stop()),
            within("log broker", self.logs.stop()),
        );
        tokio::join!(
            within("loops", self.loops.stop()),
            within("certificates, roles and keys", self.tasks.wait()),
        );
    }
}

/// Waits for the end of a part, so long and no longer.
async fn within(part: &'static str, stopping: impl Future<Output = ()>) {
    if tokio::time::timeout(PATIENCE, stopping).await.is_err() {
        error!(part, "a part of the leader does not stop");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_hangs_does_not_hold_up_the_end() {
        within("test", std::future::pending()).await;
    }
}
