//! A swarm without sockets or sleeps: the leader's stages over a store, and agents that walk
//! tasks through their states, on a clock that is moved by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use skep_manager::clock::{Clock, Monotonic, Now};
use skep_manager::loops::Stages;
use skep_manager::orchestrator::slot;
use skep_manager::pass::CAPACITY;
use skep_manager::usage::UsageBook;
use skep_objects::ids::new_id;
use skep_objects::swarmkit::{
    Annotations, Cluster, ContainerSpec, Network, NetworkSpec, Node, NodeDescription, NodeSpec,
    NodeStatus, Platform, ReplicatedService, Resources, Service, ServiceSpec, Task, TaskSpec,
    TaskState, Version, node_spec::Availability, node_spec::Membership, node_status,
    service_spec::Mode, task_spec::Runtime,
};
use skep_store::{Event, ManualClock, Store, Tx, TxError, UpdateError, View, Watch};

/// What a task's container does, by its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Runs until it is stopped.
    Runs,
    /// Exits with an error once it is started.
    Fails,
    /// Has no image.
    Rejected,
    /// Exits with success after it ran for a step.
    Completes,
    /// Never gets past PREPARING.
    Hangs,
}

impl Fate {
    fn of(task: &Task) -> Self {
        let Some(Runtime::Container(container)) =
            task.spec.as_ref().and_then(|s| s.runtime.as_ref())
        else {
            return Self::Runs;
        };
        match container.image.split(':').next().unwrap_or("") {
            "fails" => Self::Fails,
            "missing" => Self::Rejected,
            "completes" => Self::Completes,
            "hangs" => Self::Hangs,
            _ => Self::Runs,
        }
    }
}

pub struct Sim {
    pub store: Store,
    pub stages: Stages,
    /// What agents say of the load of their tasks.
    pub usage: UsageBook,
    clock: Arc<ManualClock>,
    watch: Watch,
    now: Monotonic,
    wake: Option<Monotonic>,
    runtime: tokio::runtime::Runtime,
    /// Nodes whose agent is cut off.
    pub silent: BTreeSet<String>,
    /// States seen, to catch those that go backwards.
    seen: BTreeMap<String, TaskState>,
}

pub fn annotations(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.into(),
        ..Default::default()
    })
}

pub fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec {
            membership: Membership::Accepted.into(),
            ..Default::default()
        }),
        status: Some(NodeStatus {
            state: node_status::State::Ready.into(),
            addr: "192.0.2.1".into(),
            ..Default::default()
        }),
        description: Some(NodeDescription {
            hostname: id.into(),
            platform: Some(Platform {
                architecture: "x86_64".into(),
                os: "linux".into(),
            }),
            resources: Some(Resources {
                nano_cpus: 4_000_000_000,
                memory_bytes: 8 << 30,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn service(name: &str, image: &str, replicas: u64) -> Service {
    Service {
        id: name.into(),
        spec_version: Some(Version { index: 1 }),
        spec: Some(ServiceSpec {
            annotations: annotations(name),
            mode: Some(Mode::Replicated(ReplicatedService { replicas })),
            task: Some(
                TaskSpec {
                    runtime: Some(Runtime::Container(ContainerSpec {
                        image: image.into(),
                        ..Default::default()
                    })),
                    ..Default::default()
                }
                .into(),
            ),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn set_image(spec: &mut ServiceSpec, image: &str) {
    if let Some(Runtime::Container(container)) = spec.task.get_or_insert_default().runtime.as_mut()
    {
        container.image = image.into();
    }
}

pub fn image(task: &Task) -> String {
    match task.spec.as_ref().and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(container)) => container.image.clone(),
        _ => String::new(),
    }
}

impl Sim {
    /// A swarm of nodes `n1`, `n2`, ... with an ingress network.
    pub fn new(nodes: usize) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.advance_nanos(1_000_000_000_000_000_000);
        let store = Store::in_memory_with(clock.clone());
        let (view, watch) = store.watch();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let usage = UsageBook::new(Clock::system());
        let mut sim = Self {
            store,
            stages: Stages::new(7, usage.clone()),
            usage,
            clock,
            watch,
            now: Duration::ZERO,
            wake: Some(Duration::ZERO),
            runtime,
            silent: BTreeSet::new(),
            seen: BTreeMap::new(),
        };
        let now = sim.now();
        sim.stages.load(&view, now);
        sim.write(|tx| {
            tx.create_cluster(Cluster {
                id: new_id(),
                ..Default::default()
            })?;
            tx.create_network(Network {
                id: "ingress".into(),
                spec: Some(NetworkSpec {
                    annotations: annotations("ingress"),
                    ingress: true,
                    ..Default::default()
                }),
                ..Default::default()
            })?;
            for number in 1..=nodes {
                tx.create_node(node(&format!("n{number}")))?;
            }
            Ok(())
        });
        sim
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + self.now;
        Now {
            wall,
            monotonic: self.now,
        }
    }

    pub fn view(&self) -> View {
        self.store.view()
    }

    pub fn write<T>(&self, change: impl FnOnce(&mut Tx) -> Result<T, TxError>) -> T {
        let result: Result<T, UpdateError<TxError>> =
            self.runtime.block_on(self.store.update(change));
        result.unwrap()
    }

    /// What comes of a transaction that is not committed.
    pub fn dry_run<T>(&self, change: impl FnOnce(&mut Tx) -> T) -> T {
        let update = self.store.update(|tx| Err::<(), T>(change(tx)));
        match self.runtime.block_on(update) {
            Err(UpdateError::Refused(found)) => found,
            Ok(()) | Err(UpdateError::Commit(_)) => panic!("it was not refused"),
        }
    }

    /// As another manager that takes over.
    pub fn change_leader(&mut self) {
        self.stages = Stages::new(8, self.usage.clone());
        let (view, watch) = self.store.watch();
        self.watch = watch;
        let now = self.now();
        self.stages.load(&view, now);
        self.wake = Some(self.now);
    }

    /// One pass of the loops over what happened since the last one. False when idle.
    pub fn pass(&mut self) -> bool {
        let mut events: Vec<Event> = Vec::new();
        while let Some(event) = self.watch.try_recv() {
            events.push(event);
        }
        if events.is_empty() && self.wake.is_none_or(|wake| wake > self.now) {
            return false;
        }
        // No two transactions happen at the same time.
        self.tick(Duration::from_micros(1));
        let now = self.now();
        let stages = &mut self.stages;
        let wake = self.runtime.block_on(
            self.store
                .update(|tx| stages.pass(tx, &events, now, CAPACITY)),
        );
        self.wake = wake.unwrap();
        self.check_states();
        true
    }

    /// Each agent moves each of its tasks one step. False when none could.
    pub fn agents_step(&mut self) -> bool {
        let view = self.view();
        let mut moved = false;
        for task in view.tasks() {
            let live_node = view.node(&task.node_id).is_some()
                && !self.silent.contains(task.node_id.as_str())
                && task.observed_state() >= TaskState::Assigned;
            let Some((state, error)) = live_node.then(|| next_state(task)).flatten() else {
                continue;
            };
            moved = true;
            let stamp = self.now().timestamp();
            self.write(|tx| {
                tx.edit_task(&task.id, |task| {
                    let status = task.status.get_or_insert_default();
                    status.set_state(state);
                    status.err = error.into();
                    status.timestamp = Some(stamp);
                    status.applied_at = Some(stamp);
                })
            });
        }
        self.check_states();
        moved
    }

    /// Loops and agents until nothing happens without time passing.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            let passed = self.pass();
            let moved = self.agents_step();
            if !passed && !moved {
                return;
            }
        }
        let view = self.view();
        let services: Vec<_> = view
            .services()
            .map(|service| format!("{service:?}"))
            .collect();
        panic!("does not settle: {services:#?} {:#?}", self.summary());
    }

    /// Lets time pass, with everything that happens meanwhile.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            self.settle();
            let next = self.wake.filter(|wake| *wake <= end).unwrap_or(end);
            let step = next.saturating_sub(self.now);
            self.tick(step);
            if self.now >= end {
                self.settle();
                return;
            }
        }
    }

    fn tick(&mut self, by: Duration) {
        self.clock
            .advance_nanos(i64::try_from(by.as_nanos()).unwrap());
        self.now += by;
    }

    fn check_states(&mut self) {
        let view = self.store.view();
        for task in view.tasks() {
            let state = task.observed_state();
            let before = self
                .seen
                .insert(task.id.clone(), state)
                .unwrap_or(TaskState::New);
            assert!(
                before <= state,
                "task {} went back from {before:?} to {state:?}",
                task.id
            );
        }
    }

    pub fn tasks(&self, service: &str) -> Vec<Arc<Task>> {
        self.view().tasks_by_service(service).cloned().collect()
    }

    pub fn live(&self, service: &str) -> Vec<Arc<Task>> {
        self.tasks(service)
            .into_iter()
            .filter(|task| slot::is_live(task))
            .collect()
    }

    /// Tasks that run, by node.
    pub fn running(&self, service: &str) -> BTreeMap<String, usize> {
        let mut nodes = BTreeMap::new();
        for task in self.live(service) {
            if task.observed_state() == TaskState::Running {
                *nodes.entry(task.node_id.to_string()).or_default() += 1;
            }
        }
        nodes
    }

    pub fn count_running(&self, service: &str) -> usize {
        self.running(service).values().sum()
    }

    pub fn update_service(&self, id: &str, change: impl FnOnce(&mut ServiceSpec)) {
        self.write(|tx| {
            tx.edit_service(id, |service| {
                service.previous_spec = service.spec.clone();
                service.previous_spec_version = service.spec_version;
                service.spec_version = service.meta.as_ref().and_then(|meta| meta.version);
                service.update_status = None;
                change(service.spec.get_or_insert_default());
            })
        });
    }

    pub fn set_availability(&self, node: &str, availability: Availability) {
        self.write(|tx| {
            tx.edit_node(node, |node| {
                node.spec
                    .get_or_insert_default()
                    .set_availability(availability);
            })
        });
    }

    pub fn set_node_state(&mut self, node: &str, state: node_status::State) {
        if state == node_status::State::Ready {
            self.silent.remove(node);
        } else {
            self.silent.insert(node.to_owned());
        }
        self.write(|tx| {
            tx.edit_node(node, |node| {
                node.status.get_or_insert_default().set_state(state)
            })
        });
    }

    pub fn set_label(&self, node: &str, key: &str, value: &str) {
        self.write(|tx| {
            tx.edit_node(node, |node| {
                let spec = node.spec.get_or_insert_default();
                let annotations = spec.annotations.get_or_insert_default();
                annotations.labels.insert(key.to_owned(), value.to_owned());
            })
        });
    }

    /// All tasks in a line each, for messages.
    pub fn summary(&self) -> Vec<String> {
        let view = self.view();
        view.tasks()
            .map(|task| {
                format!(
                    "{}.{} {} on {:?}: {:?} wants {:?} {:?} v{:?}",
                    task.service_id,
                    task.slot,
                    &task.id[..4],
                    task.node_id,
                    task.observed_state(),
                    task.wanted_state(),
                    task.status
                        .as_ref()
                        .map_or("", |status| status.err.as_str()),
                    task.spec_version.map(|version| version.index),
                )
            })
            .collect()
    }
}

/// What the agent makes of a task next.
fn next_state(task: &Task) -> Option<(TaskState, &'static str)> {
    let (state, desired) = (task.observed_state(), task.wanted_state());
    if state > TaskState::Running {
        return None;
    }
    if desired >= TaskState::Shutdown {
        return Some((TaskState::Shutdown, ""));
    }
    let fate = Fate::of(task);
    if state == TaskState::Running {
        return (fate == Fate::Completes).then_some((TaskState::Complete, ""));
    }
    if state >= desired {
        return None;
    }
    match state {
        TaskState::Assigned => Some((TaskState::Accepted, "")),
        TaskState::Accepted => Some((TaskState::Preparing, "")),
        TaskState::Preparing if fate == Fate::Hangs => None,
        TaskState::Preparing if fate == Fate::Rejected => {
            Some((TaskState::Rejected, "No such image: missing"))
        }
        TaskState::Preparing => Some((TaskState::Ready, "")),
        TaskState::Ready => Some((TaskState::Starting, "")),
        TaskState::Starting if fate == Fate::Fails => {
            Some((TaskState::Failed, "task: non-zero exit (1)"))
        }
        TaskState::Starting => Some((TaskState::Running, "")),
        _ => None,
    }
}
