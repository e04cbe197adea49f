//! What it costs the leader's loops that something happens to one task of a service, by the number of
//! tasks that the service has. In CPU time of the loops alone, so that other programs do not show, and
//! on as many nodes each time: what placing costs on many is the scheduler's bench. What grows is what
//! the allocator reads: the other tasks of the same node.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use skep_manager::clock::{Clock, Monotonic, Now};
use skep_manager::loops::Stages;
use skep_manager::orchestrator::slot;
use skep_manager::usage::UsageBook;
use skep_objects::ids::new_id;
use skep_objects::swarmkit::{
    Cluster, JobStatus, ReplicatedJob, RestartPolicy, Service, Task, TaskState, UpdateConfig,
    Version, service_spec::Mode,
};
use skep_store::{Event, Store, Tx, TxError, Watch};
use tokio::runtime::Runtime;

use super::{network, node, row, run, service, write};

const NODES: usize = 100;
/// Tasks to which something happens.
const EVENTS: usize = 90;

/// What an event costs where the service has so many tasks.
type Measure = fn(&Runtime, u64) -> Duration;

/// Prints a row for each kind of event, at few and at many tasks.
pub fn rows(runtime: &Runtime, quick: bool) {
    let few = 100;
    let many = if quick { 1_000 } else { 10_000 };
    let kinds: [(&str, Measure); 3] = [
        ("a task fails and is replaced", replaced),
        ("a task is rolled over to a new spec", rolled_over),
        ("a task of a job completes", completed),
    ];
    for (what, measure) in kinds {
        let of_few = measure(runtime, few);
        let of_many = measure(runtime, many);
        let microseconds = |time: Duration| format!("{:.0} us", time.as_secs_f64() * 1e6);
        row(&format!("{what}, one of {few}"), &microseconds(of_few), "");
        let ratio = of_many.as_secs_f64() / of_few.as_secs_f64();
        row(
            &format!("{what}, one of {many}"),
            &format!("{} x{ratio:.1}", microseconds(of_many)),
            "",
        );
    }
}

struct World<'a> {
    runtime: &'a Runtime,
    store: Store,
    stages: Stages,
    watch: Watch,
    now: Monotonic,
    wake: Option<Monotonic>,
    /// What the passes took.
    spent: Duration,
}

impl<'a> World<'a> {
    /// A service whose tasks all run.
    fn new(runtime: &'a Runtime, service: Service) -> Self {
        let store = Store::in_memory();
        let (view, watch) = store.watch();
        let mut world = Self {
            runtime,
            store,
            stages: Stages::new(1, UsageBook::new(Clock::system())),
            watch,
            now: Duration::ZERO,
            wake: None,
            spent: Duration::ZERO,
        };
        world.stages.load(&view, world.now());
        world.write(|tx| {
            tx.create_cluster(Cluster {
                id: new_id(),
                ..Default::default()
            })?;
            tx.create_network(network())?;
            for number in 0..NODES {
                tx.create_node(node(number))?;
            }
            tx.create_service(service).map(drop)
        });
        world.settle();
        for ids in world.live().chunks(1_000) {
            world.write(|tx| ids.iter().try_for_each(|id| run(tx, id)));
        }
        world.settle();
        world.spent = Duration::ZERO;
        world
    }

    fn now(&self) -> Now {
        Now {
            wall: SystemTime::now(),
            monotonic: self.now,
        }
    }

    fn write(&self, change: impl FnOnce(&mut Tx) -> Result<(), TxError>) {
        write(self.runtime, &self.store, change);
    }

    fn live(&self) -> Vec<String> {
        let view = self.store.view();
        let live = view.tasks().filter(|task| slot::is_live(task));
        live.map(|task| task.id.clone()).collect()
    }

    /// Tasks that were told to stop have; those that are to run do. False when there are none.
    fn agents(&self, tasks: &[String]) -> bool {
        let view = self.store.view();
        let mut moved = false;
        for task in tasks.iter().filter_map(|id| view.task(id)) {
            if !slot::is_live(task) && !task.has_stopped() {
                self.report(&task.id, TaskState::Shutdown);
            } else if slot::is_live(task) && task.observed_state() == TaskState::Assigned {
                self.write(|tx| run(tx, &task.id));
            } else {
                continue;
            }
            moved = true;
        }
        moved
    }

    fn report(&self, task: &str, state: TaskState) {
        self.write(|tx| {
            let now = tx.now();
            let set = |task: &mut Task| {
                let status = task.status.get_or_insert_default();
                status.set_state(state);
                status.applied_at = Some(now);
            };
            tx.edit_task(task, set).map(drop)
        });
    }

    /// Passes until nothing is left to do at this moment. Returns the tasks that were written.
    fn settle(&mut self) -> Vec<String> {
        let mut written = Vec::new();
        loop {
            let mut events: Vec<Event> = Vec::new();
            while let Some(event) = self.watch.try_recv() {
                events.push(event);
            }
            let due = self.wake.is_some_and(|wake| wake <= self.now);
            if events.is_empty() && !due {
                return written;
            }
            let now = self.now();
            let stages = &mut self.stages;
            let before = clock_gettime(ClockId::ThreadCPUTime);
            let pass = self.store.update(|tx| {
                let wake = stages.pass(tx, &events, now, 10_000)?;
                Ok::<_, TxError>((wake, tx.changes().to_vec()))
            });
            let (wake, changes) = self.runtime.block_on(pass).expect("a pass");
            let after = clock_gettime(ClockId::ThreadCPUTime);
            self.spent += Duration::try_from(after - before).expect("time goes on");
            self.wake = wake;
            for change in changes {
                if let Some(skep_store::Object::Task(task)) = change.object() {
                    written.push(task.id.clone());
                }
            }
        }
    }

    fn per_event(&self, events: usize) -> Duration {
        self.spent / u32::try_from(events).expect("not so many")
    }
}

fn of_one_service(replicas: u64) -> Service {
    let mut service = service(0, replicas);
    let spec = service.spec.get_or_insert_default();
    spec.task.get_or_insert_default().restart = Some(RestartPolicy {
        condition: 2,
        delay: Some(prost_types::Duration::default()),
        ..Default::default()
    });
    service
}

fn replaced(runtime: &Runtime, replicas: u64) -> Duration {
    let mut world = World::new(runtime, of_one_service(replicas));
    for task in world.live().iter().take(EVENTS) {
        world.report(task, TaskState::Failed);
        world.settle();
    }
    world.per_event(EVENTS)
}

fn rolled_over(runtime: &Runtime, replicas: u64) -> Duration {
    let mut world = World::new(runtime, of_one_service(replicas));
    let id = world
        .store
        .view()
        .services()
        .next()
        .expect("one")
        .id
        .clone();
    world.write(|tx| {
        tx.edit_service(&id, |service| {
            service.spec_version = Some(Version { index: 1_000_000 });
            let spec = service.spec.get_or_insert_default();
            spec.task.get_or_insert_default().force_update += 1;
            spec.update = Some(UpdateConfig {
                parallelism: 1,
                ..Default::default()
            });
        })
        .map(drop)
    });
    // The first look is at all of the service; what is measured comes after it.
    let mut written = world.settle();
    world.spent = Duration::ZERO;
    let mut started = 0;
    while started < EVENTS && world.agents(&written) {
        written = world.settle();
        let view = world.store.view();
        let tasks = written.iter().filter_map(|id| view.task(id));
        let new = tasks
            .filter(|task| slot::is_live(task))
            .map(|task| &task.id);
        started += new.collect::<std::collections::BTreeSet<_>>().len();
    }
    world.per_event(EVENTS)
}

fn completed(runtime: &Runtime, total: u64) -> Duration {
    let mut service = of_one_service(0);
    let spec = service.spec.get_or_insert_default();
    spec.mode = Some(Mode::ReplicatedJob(ReplicatedJob {
        max_concurrent: 0,
        total_completions: total,
    }));
    service.job_status = Some(JobStatus::default());
    let mut world = World::new(runtime, service);
    for task in world.live().iter().take(EVENTS) {
        world.report(task, TaskState::Complete);
        world.settle();
    }
    world.per_event(EVENTS)
}
