//! What is counted as it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use skep_objects::swarmkit::{Task, TaskState, node_status};
use skep_objects::timestamp::unix_nanos;
use skep_store::{Event, Object, Store};
use tokio_util::sync::CancellationToken;

use super::{Family, counter, histogram};

/// Upper bounds of a histogram's buckets, in seconds.
const BOUNDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Notes one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            if seconds <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn family(&self, name: &'static str, help: &'static str) -> Family {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let buckets = BOUNDS.iter().copied().zip(self.buckets.iter().map(read));
        let sum = Duration::from_micros(read(&self.micros)).as_secs_f64();
        histogram(name, help, buckets, read(&self.count), sum)
    }
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub struct Counters {
    /// How long calls of the control API took, the way to the leader and raft included.
    pub control: Histogram,
    scheduling: Histogram,
    commits: AtomicU64,
    changes: AtomicU64,
    statuses: AtomicU64,
    nodes_lost: AtomicU64,
}

impl Counters {
    /// Follows the store until stopped.
    pub async fn follow(self: Arc<Self>, store: Store, stop: CancellationToken) {
        let (_, mut watch) = store.watch();
        loop {
            let commit = tokio::select! {
                () = stop.cancelled() => return,
                commit = watch.recv_commit() => commit,
            };
            let Some(commit) = commit else { return };
            self.commits.fetch_add(1, Ordering::Relaxed);
            let changes = u64::try_from(commit.events.len()).unwrap_or(u64::MAX);
            self.changes.fetch_add(changes, Ordering::Relaxed);
            commit.events.iter().for_each(|event| self.see(event));
        }
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            counter(
                "skep_store_commits_total",
                "Transactions that this manager has applied since it began",
                read(&self.commits),
            ),
            counter(
                "skep_store_changes_total",
                "Objects changed by those",
                read(&self.changes),
            ),
            self.scheduling.family(
                "swarm_dispatcher_scheduling_delay_seconds",
                "From a task's creation to its running",
            ),
            counter(
                "skep_dispatcher_statuses_total",
                "Reports about tasks that were taken",
                read(&self.statuses),
            ),
            counter(
                "skep_dispatcher_nodes_lost_total",
                "How often a node fell silent and was given up",
                read(&self.nodes_lost),
            ),
            self.control.family(
                "skep_control_call_seconds",
                "How long calls of the control API took, raft included",
            ),
        ]
    }

    fn see(&self, event: &Event) {
        match event {
            Event::Updated {
                old: Object::Task(old),
                new: Object::Task(new),
            } if old.status != new.status => {
                self.statuses.fetch_add(1, Ordering::Relaxed);
                let began = old.observed_state() < TaskState::Running
                    && new.observed_state() == TaskState::Running;
                if let Some(delay) = delay_of(new).filter(|_| began) {
                    self.scheduling.observe(delay);
                }
            }
            Event::Updated {
                old: Object::Node(old),
                new: Object::Node(new),
            } => {
                let is_down = |node: &skep_objects::swarmkit::Node| {
                    let status = node.status.as_ref();
                    status.is_some_and(|s| s.state() == node_status::State::Down)
                };
                if is_down(new) && !is_down(old) {
                    self.nodes_lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

/// From the creation of the task to what it last reported.
fn delay_of(task: &Task) -> Option<Duration> {
    let created = unix_nanos(task.meta.as_ref()?.created_at.as_ref()?);
    let reported = unix_nanos(task.status.as_ref()?.timestamp.as_ref()?);
    u64::try_from(reported - created)
        .ok()
        .map(Duration::from_nanos)
}
