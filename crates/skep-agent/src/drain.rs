//! The gate before a stop signal: a task that took traffic is stopped only when every other node has
//! taken it out of rotation, or a deadline has passed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::port_config::PublishMode;
use skep_objects::swarmkit::{Task, TaskState};
use tokio::sync::watch;

/// What the managers have said about draining; clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct DrainGate {
    state: Arc<watch::Sender<State>>,
    deadline: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// A manager that tells about draining is connected; dockerd does not.
    is_connected: bool,
    drained: BTreeSet<String>,
}

impl DrainGate {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            deadline,
        }
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.state.send_modify(|s| s.is_connected = is_connected);
    }

    pub(crate) fn drained(&self, tasks: &[String]) {
        if !tasks.is_empty() {
            self.state
                .send_modify(|s| s.drained.extend(tasks.iter().cloned()));
        }
    }

    pub(crate) fn forget(&self, task_id: &str) {
        self.state.send_if_modified(|s| s.drained.remove(task_id));
    }

    /// Waits until the task may be stopped.
    pub(crate) async fn pass(&self, task: &Task, observed: TaskState) {
        if observed != TaskState::Running || !takes_traffic(task) {
            return;
        }
        let mut state = self.state.subscribe();
        let open = |s: &State| !s.is_connected || s.drained.contains(&task.id);
        let _ = tokio::time::timeout(self.deadline, state.wait_for(open)).await;
    }
}

/// Whether other nodes may send to this task: it has an overlay address or an ingress port.
fn takes_traffic(task: &Task) -> bool {
    let has_overlay = task.networks.iter().any(|n| !n.addresses.is_empty());
    let has_ingress = task.endpoint.as_ref().is_some_and(|endpoint| {
        endpoint
            .ports
            .iter()
            .any(|p| p.publish_mode() == PublishMode::Ingress)
    });
    has_overlay || has_ingress
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::swarmkit::NetworkAttachment;

    fn task() -> Task {
        let network = NetworkAttachment {
            addresses: vec!["10.0.1.2/24".into()],
            ..Default::default()
        };
        Task {
            id: "t".into(),
            networks: vec![network],
            ..Default::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_task_is_held_until_it_is_drained() {
        let gate = DrainGate::new(Duration::from_secs(5));
        gate.set_connected(true);
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass(&task(), TaskState::Running).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiter.is_finished());
        gate.drained(&["t".to_owned()]);
        waiter.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_longer_than_the_deadline() {
        let gate = DrainGate::new(Duration::from_secs(5));
        gate.set_connected(true);
        let start = tokio::time::Instant::now();
        gate.pass(&task(), TaskState::Running).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_that_takes_no_traffic_or_without_a_manager_that_drains() {
        let gate = DrainGate::new(Duration::from_secs(5));
        let start = tokio::time::Instant::now();
        gate.pass(&task(), TaskState::Running).await;
        gate.set_connected(true);
        gate.pass(&task(), TaskState::Preparing).await;
        gate.pass(&Task::default(), TaskState::Running).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
