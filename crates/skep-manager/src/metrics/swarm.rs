//! What is in the swarm, as this manager's store has it.

use std::collections::BTreeMap;

use skep_objects::swarmkit::node_status;
use skep_store::View;

use super::{Family, Kind, gauge};

#[allow(clippy::cast_precision_loss)] // Prometheus counts in floats.
pub(super) fn families(view: &View) -> Vec<Family> {
    let tasks = tasks(view);
    let pending = tasks.get("pending").copied().unwrap_or_default();
    let counted = [
        (
            "swarm_manager_services_total",
            "The services of the swarm",
            view.services().count(),
        ),
        (
            "swarm_manager_networks_total",
            "The networks of the swarm",
            view.networks().count(),
        ),
        (
            "swarm_manager_secrets_total",
            "The secrets of the swarm",
            view.secrets().count(),
        ),
        (
            "swarm_manager_configs_total",
            "The configs of the swarm",
            view.configs().count(),
        ),
    ];
    let mut all: Vec<Family> = counted
        .map(|(name, help, count)| gauge(name, help, count as f64))
        .into();
    all.extend([
        Family::by(
            "swarm_manager_nodes",
            Kind::Gauge,
            "The nodes of the swarm by state",
            "state",
            nodes(view),
        ),
        Family::by(
            "swarm_manager_tasks_total",
            Kind::Gauge,
            "The tasks of the swarm by state",
            "state",
            tasks,
        ),
        gauge(
            "skep_scheduler_pending_tasks",
            "Tasks that wait for a node",
            pending,
        ),
        Family::by(
            "skep_store_objects",
            Kind::Gauge,
            "Objects in the store by kind",
            "kind",
            view.counts()
                .map(|(kind, count)| (kind.to_string(), count as f64)),
        ),
        gauge(
            "skep_store_version",
            "The index of the last write",
            view.version() as f64,
        ),
    ]);
    all
}

fn nodes(view: &View) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = ["disconnected", "down", "ready", "unknown"]
        .map(|state| (state.to_owned(), 0.0))
        .into();
    for node in view.nodes() {
        let state = node.status.as_ref().map(|status| status.state());
        let name = match state.unwrap_or(node_status::State::Unknown) {
            node_status::State::Ready => "ready",
            node_status::State::Down => "down",
            node_status::State::Disconnected => "disconnected",
            node_status::State::Unknown => "unknown",
        };
        *all.entry(name.to_owned()).or_default() += 1.0;
    }
    all
}

fn tasks(view: &View) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = [
        "new",
        "pending",
        "assigned",
        "accepted",
        "preparing",
        "ready",
        "starting",
        "running",
        "complete",
        "shutdown",
        "failed",
        "rejected",
        "remove",
        "orphaned",
    ]
    .map(|state| (state.to_owned(), 0.0))
    .into();
    for task in view.tasks() {
        let name = task.observed_state().name();
        *all.entry(name.to_owned()).or_default() += 1.0;
    }
    all
}
