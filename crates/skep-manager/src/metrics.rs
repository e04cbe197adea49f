//! What a manager counts. Names are dockerd's where it has the same figure; docs/design/metrics.md
//! lists all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use skep_objects::swarmkit::{Task, TaskState, node_status};
use skep_objects::timestamp::unix_nanos;
use skep_store::{Event, Object, Store, View};
use tokio_util::sync::CancellationToken;

/// How a family is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Counts by size.
    Histogram,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// After the family's name: `_bucket`, `_sum`, `_count`, or nothing.
    pub suffix: &'static str,
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: f64,
}

/// Figures of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// How to read it.
    pub kind: Kind,
    /// In words.
    pub help: &'static str,
    /// The figures.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A family of one figure without labels.
    pub fn single(name: &'static str, kind: Kind, help: &'static str, value: f64) -> Self {
        Self {
            name,
            kind,
            help,
            samples: vec![Sample {
                suffix: "",
                labels: Vec::new(),
                value,
            }],
        }
    }

    /// A family with a figure for each value of one label.
    pub fn by(
        name: &'static str,
        kind: Kind,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> Self {
        let samples = values.into_iter().map(|(text, value)| Sample {
            suffix: "",
            labels: vec![(label, text)],
            value,
        });
        Self {
            name,
            kind,
            help,
            samples: samples.collect(),
        }
    }
}

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

    #[allow(clippy::cast_precision_loss)] // Prometheus counts in floats.
    fn family(&self, name: &'static str, help: &'static str) -> Family {
        let count = self.count.load(Ordering::Relaxed) as f64;
        let mut samples: Vec<Sample> = BOUNDS
            .iter()
            .zip(&self.buckets)
            .map(|(bound, bucket)| Sample {
                suffix: "_bucket",
                labels: vec![("le", bound.to_string())],
                value: bucket.load(Ordering::Relaxed) as f64,
            })
            .collect();
        let rest = [
            ("_bucket", vec![("le", "+Inf".to_owned())], count),
            (
                "_sum",
                Vec::new(),
                self.micros.load(Ordering::Relaxed) as f64 / 1e6,
            ),
            ("_count", Vec::new(), count),
        ];
        samples.extend(rest.map(|(suffix, labels, value)| Sample {
            suffix,
            labels,
            value,
        }));
        Family {
            name,
            kind: Kind::Histogram,
            help,
            samples,
        }
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

/// What raft says at the moment.
#[derive(Debug, Clone, Default)]
pub struct Raft {
    /// This manager leads.
    pub leads: bool,
    /// There is a leader.
    pub has_leader: bool,
    /// The term.
    pub term: u64,
    /// Members of the quorum.
    pub members: usize,
    /// Those that took no message lately.
    pub unreachable: usize,
    /// The disk is full.
    pub read_only: bool,
}

/// Every family of a manager.
#[allow(clippy::cast_precision_loss)] // Prometheus counts in floats.
pub fn families(view: &View, raft: &Raft, counters: &Counters) -> Vec<Family> {
    use Kind::{Counter, Gauge};
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let flag = |is: bool| f64::from(u8::from(is));
    let gauge = |name, help, value| Family::single(name, Gauge, help, value);
    let counter = |name, help, value| Family::single(name, Counter, help, value);
    let tasks = tasks(view);
    let pending = tasks.get("pending").copied().unwrap_or_default();
    vec![
        gauge(
            "swarm_manager_leader",
            "Whether this manager leads",
            flag(raft.leads),
        ),
        gauge(
            "swarm_manager_services_total",
            "The services of the swarm",
            view.services().count() as f64,
        ),
        gauge(
            "swarm_manager_networks_total",
            "The networks of the swarm",
            view.networks().count() as f64,
        ),
        gauge(
            "swarm_manager_secrets_total",
            "The secrets of the swarm",
            view.secrets().count() as f64,
        ),
        gauge(
            "swarm_manager_configs_total",
            "The configs of the swarm",
            view.configs().count() as f64,
        ),
        Family::by(
            "swarm_manager_nodes",
            Gauge,
            "The nodes of the swarm by state",
            "state",
            nodes(view),
        ),
        Family::by(
            "swarm_manager_tasks_total",
            Gauge,
            "The tasks of the swarm by state",
            "state",
            tasks,
        ),
        gauge(
            "skep_raft_has_leader",
            "Whether the quorum has a leader, as far as this manager knows",
            flag(raft.has_leader),
        ),
        gauge("skep_raft_term", "Raft's term", raft.term as f64),
        gauge(
            "skep_raft_members",
            "The members of the quorum",
            raft.members as f64,
        ),
        gauge(
            "skep_raft_unreachable_members",
            "The members that did not take this manager's last message",
            raft.unreachable as f64,
        ),
        gauge(
            "skep_raft_read_only",
            "Whether this manager's disk is full, so that it takes no part",
            flag(raft.read_only),
        ),
        gauge(
            "skep_store_version",
            "The index of the last write",
            view.version() as f64,
        ),
        counter(
            "skep_store_commits_total",
            "Transactions that this manager has applied since it began",
            load(&counters.commits),
        ),
        counter(
            "skep_store_changes_total",
            "Objects changed by those",
            load(&counters.changes),
        ),
        gauge(
            "skep_scheduler_pending_tasks",
            "Tasks that wait for a node",
            pending,
        ),
        counters.scheduling.family(
            "swarm_dispatcher_scheduling_delay_seconds",
            "From a task's creation to its running",
        ),
        counter(
            "skep_dispatcher_statuses_total",
            "Reports about tasks that were taken",
            load(&counters.statuses),
        ),
        counter(
            "skep_dispatcher_nodes_lost_total",
            "How often a node fell silent and was given up",
            load(&counters.nodes_lost),
        ),
        counters.control.family(
            "skep_control_call_seconds",
            "How long calls of the control API took, raft included",
        ),
    ]
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
