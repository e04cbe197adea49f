//! The gate before a stop signal: a task that took traffic is stopped only when every other node has
//! taken it out of rotation, or a deadline has passed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::port_config::PublishMode;
use skep_objects::swarmkit::{Task, TaskState};
use tokio::sync::watch;

/// Who tells about draining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Teller {
    /// Nobody for now: the other nodes go on as they were told last.
    #[default]
    Away,
    /// A manager is connected.
    Here,
    /// The managers are dockerd, which never tell.
    Nobody,
}

/// What the managers have said about draining; clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct DrainGate {
    state: Arc<watch::Sender<State>>,
    deadline: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    teller: Teller,
    drained: BTreeSet<String>,
    /// Tasks that this node stops of its own accord.
    pub(crate) withdrawn: BTreeSet<String>,
}

impl DrainGate {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            deadline,
        }
    }

    pub(crate) fn set_teller(&self, teller: Teller) {
        self.state.send_modify(|s| s.teller = teller);
    }

    /// Marks changes of what the managers must know.
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn drained(&self, tasks: &[String]) {
        if !tasks.is_empty() {
            self.state
                .send_modify(|s| s.drained.extend(tasks.iter().cloned()));
        }
    }

    pub(crate) fn forget(&self, task_id: &str) {
        self.state
            .send_if_modified(|s| s.drained.remove(task_id) | s.withdrawn.remove(task_id));
    }

    /// Waits until the task may be stopped.
    pub(crate) async fn pass(&self, task: &Task, observed: TaskState) {
        if observed != TaskState::Running || !takes_traffic(task) {
            return;
        }
        let mut state = self.state.subscribe();
        let open = |s: &State| s.teller == Teller::Nobody || s.drained.contains(&task.id);
        let _ = tokio::time::timeout(self.deadline, state.wait_for(open)).await;
    }

    /// Has running tasks taken out of rotation that no manager told to stop, and waits for it.
    pub(crate) async fn withdraw(&self, tasks: &[&Task]) {
        let tasks = tasks.iter().filter(|task| takes_traffic(task));
        let ids: BTreeSet<String> = tasks.map(|task| task.id.clone()).collect();
        if ids.is_empty() || self.state.borrow().teller != Teller::Here {
            return;
        }
        self.state
            .send_modify(|s| s.withdrawn.extend(ids.iter().cloned()));
        let mut state = self.state.subscribe();
        let open = |s: &State| s.teller != Teller::Here || ids.is_subset(&s.drained);
        let _ = tokio::time::timeout(self.deadline, state.wait_for(open)).await;
    }
}

/// Whether other nodes may send to this task: it has an overlay address or an ingress port.
pub(crate) fn takes_traffic(task: &Task) -> bool {
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
        gate.set_teller(Teller::Here);
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
        gate.set_teller(Teller::Here);
        let start = tokio::time::Instant::now();
        gate.pass(&task(), TaskState::Running).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_that_takes_no_traffic_or_where_the_managers_do_not_drain() {
        let gate = DrainGate::new(Duration::from_secs(5));
        let start = tokio::time::Instant::now();
        gate.set_teller(Teller::Nobody);
        gate.pass(&task(), TaskState::Running).await;
        gate.set_teller(Teller::Here);
        gate.pass(&task(), TaskState::Preparing).await;
        gate.pass(&Task::default(), TaskState::Running).await;
        gate.set_teller(Teller::Away);
        gate.withdraw(&[&task()]).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_held_while_the_managers_change() {
        let gate = DrainGate::new(Duration::from_secs(5));
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass(&task(), TaskState::Running).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.set_teller(Teller::Here);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiter.is_finished());
        gate.drained(&["t".to_owned()]);
        waiter.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_withdrawn_task_is_told_and_waited_for() {
        let gate = DrainGate::new(Duration::from_secs(5));
        gate.set_teller(Teller::Here);
        let mut told = gate.subscribe();
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.withdraw(&[&task()]).await }
        });
        told.wait_for(|s| s.withdrawn.contains("t")).await.unwrap();
        assert!(!waiter.is_finished());
        gate.drained(&["t".to_owned()]);
        waiter.await.unwrap();
        gate.forget("t");
        assert!(told.borrow().withdrawn.is_empty());
    }
}
