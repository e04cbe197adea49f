//! What the orchestrator looks at, by count.

use std::time::{Duration, SystemTime};

use skep_objects::swarmkit::{
    Annotations, Cluster, ContainerSpec, GlobalService, NodeStatus, ReplicatedJob,
    ReplicatedService, RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig, Version,
    node_spec::Availability, node_status, service_spec, task_spec::Runtime,
    update_config::UpdateOrder, update_status::UpdateState,
};
use skep_objects::timestamp::duration_message;
use skep_store::{Store, Tx, Watch};

use super::*;
use crate::aside::Aside;

const REPLICAS: u64 = 100;

struct World {
    store: Store,
    watch: Watch,
    stage: Orchestrator,
    now: Now,
}

impl World {
    /// A service whose tasks all run.
    async fn new() -> Self {
        let store = Store::in_memory();
        let (_, watch) = store.watch();
        let mut world = Self {
            store,
            watch,
            stage: Orchestrator::default(),
            now: Now {
                wall: SystemTime::UNIX_EPOCH,
                monotonic: Duration::from_secs(1),
            },
        };
        world
            .write(|tx| {
                tx.create_cluster(Cluster::default())?;
                tx.create_service(service())
            })
            .await;
        while world.pass().await {}
        world.report(0..REPLICAS, TaskState::Running).await;
        while world.pass().await {}
        assert_eq!(world.live(), REPLICAS);
        world
    }

    async fn write<T>(&self, change: impl FnOnce(&mut Tx) -> Result<T, TxError>) {
        self.store.update(change).await.unwrap();
    }

    /// Moves the live tasks of some slots to a state.
    async fn report(&self, slots: std::ops::Range<u64>, state: TaskState) {
        let tasks: Vec<String> = self
            .store
            .view()
            .tasks()
            .filter(|task| slots.contains(&(task.slot - 1)) && slot::is_live(task))
            .map(|task| task.id.clone())
            .collect();
        self.write(|tx| {
            tasks.iter().try_for_each(|id| {
                let set = |task: &mut Task| task.status.get_or_insert_default().set_state(state);
                tx.edit_task(id, set).map(drop)
            })
        })
        .await;
    }

    /// One pass over all that happened; whether it did anything.
    async fn pass(&mut self) -> bool {
        let mut events = Vec::new();
        while let Some(event) = self.watch.try_recv() {
            events.push(event);
        }
        let (stage, now) = (&mut self.stage, self.now);
        let plan = |tx: &mut Tx| {
            for event in &events {
                stage.observe(event, tx, now);
            }
            stage.plan(&mut Pass::new(tx, now, 100_000, &Aside::default()))?;
            Ok::<_, TxError>(tx.changes().len())
        };
        let changes = self.store.update(plan).await.unwrap();
        changes > 0 || !events.is_empty()
    }

    fn live(&self) -> u64 {
        let view = self.store.view();
        view.tasks().filter(|task| slot::is_live(task)).count() as u64
    }

    /// Walks over the service's tasks while everything that comes of something is done.
    async fn walks(&mut self) -> u64 {
        let before = self.stage.walks;
        while self.pass().await {}
        self.stage.walks - before
    }
}

fn service() -> Service {
    let task = TaskSpec {
        runtime: Some(Runtime::Container(ContainerSpec::default())),
        restart: Some(RestartPolicy {
            condition: 2,
            delay: Some(duration_message(Duration::from_secs(3))),
            max_attempts: 1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mode = service_spec::Mode::Replicated(ReplicatedService { replicas: REPLICAS });
    Service {
        id: "web".to_owned(),
        spec: Some(ServiceSpec {
            annotations: Some(Annotations {
                name: "web".to_owned(),
                ..Default::default()
            }),
            task: Some(task.into()),
            mode: Some(mode),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn tasks_that_fail_and_are_restarted_cost_a_look_at_their_slots_only() {
    let mut world = World::new().await;
    for slot in 0..5 {
        world.report(slot..slot + 1, TaskState::Failed).await;
        assert_eq!(world.walks().await, 0);
    }
    assert_eq!(world.live(), REPLICAS);
    let view = world.store.view();
    let waiting = view
        .tasks()
        .filter(|task| task.wanted_state() == TaskState::Ready);
    assert_eq!(waiting.count(), 5);

    world.now.monotonic += Duration::from_secs(3);
    assert!(world.pass().await, "the delay is over");
    assert_eq!(world.walks().await, 0);
    let view = world.store.view();
    assert!(
        view.tasks()
            .all(|task| task.wanted_state() != TaskState::Ready)
    );
}

#[tokio::test]
async fn however_many_tasks_end_in_a_pass_their_service_is_walked_once() {
    let mut world = World::new().await;
    world.report(0..50, TaskState::Failed).await;
    assert_eq!(world.walks().await, 0);
    world.now.monotonic += Duration::from_secs(3);
    // The second failure is one more than there are attempts: those slots stay as they are.
    world.pass().await;
    world.report(0..50, TaskState::Failed).await;
    assert!(world.walks().await <= 2);
    let view = world.store.view();
    let failed = view.tasks().filter(|task| task.has_stopped());
    assert_eq!(failed.count(), 100);
    assert_eq!(world.live(), REPLICAS - 50);
}

#[tokio::test]
async fn slots_that_a_smaller_scale_took_away_are_not_looked_for() {
    let mut world = World::new().await;
    world
        .write(|tx| {
            tx.edit_service("web", |service| {
                let spec = service.spec.get_or_insert_default();
                let mode = ReplicatedService { replicas: 10 };
                spec.mode = Some(service_spec::Mode::Replicated(mode));
            })
        })
        .await;
    assert!(world.walks().await <= 2);
    assert_eq!(world.live(), 10);
    let gone: Vec<String> = world
        .store
        .view()
        .tasks()
        .filter(|task| !slot::is_live(task))
        .map(|task| task.id.clone())
        .collect();
    for id in gone {
        let stopped = |task: &mut Task| {
            let status = task.status.get_or_insert_default();
            status.set_state(TaskState::Shutdown);
        };
        world.write(|tx| tx.edit_task(&id, stopped)).await;
        assert_eq!(world.walks().await, 0);
        world.write(|tx| tx.remove_task(&id)).await;
        assert_eq!(world.walks().await, 0);
    }
    assert_eq!(world.live(), 10);
}

impl World {
    /// What agents do: a task that was told to stop has, one that is to run does, and one that is to
    /// complete has. One at a time; false when there is none.
    async fn agent(&self) -> bool {
        let view = self.store.view();
        let next = |task: &Task| {
            if !slot::is_live(task) {
                return TaskState::Shutdown;
            }
            task.wanted_state()
        };
        let mut tasks = view.tasks().filter(|task| !task.has_stopped());
        let Some(task) = tasks.find(|task| task.observed_state() < next(task)) else {
            return false;
        };
        let state = next(task);
        self.write(|tx| {
            let set = |task: &mut Task| task.status.get_or_insert_default().set_state(state);
            tx.edit_task(&task.id, set)
        })
        .await;
        true
    }

    fn service(&self) -> Arc<Service> {
        Arc::clone(self.store.view().service("web").unwrap())
    }
}

async fn update(order: UpdateOrder) {
    let mut world = World::new().await;
    world
        .write(|tx| {
            tx.edit_service("web", |service| {
                service.spec_version = Some(Version { index: 1_000 });
                let spec = service.spec.get_or_insert_default();
                spec.task.get_or_insert_default().force_update = 1;
                spec.update = Some(UpdateConfig {
                    parallelism: 3,
                    order: order.into(),
                    ..Default::default()
                });
            })
        })
        .await;
    let mut walks = world.walks().await;
    while world.agent().await {
        walks += world.walks().await;
        assert!((REPLICAS - 3..=REPLICAS + 3).contains(&world.live()));
    }
    world.now.monotonic += Duration::from_secs(6);
    world.pass().await;
    walks += world.walks().await;
    let status = world.service().update_status.clone().unwrap();
    assert_eq!(status.state(), UpdateState::Completed);
    let view = world.store.view();
    let live: Vec<_> = view.tasks().filter(|task| slot::is_live(task)).collect();
    assert_eq!(live.len() as u64, REPLICAS);
    assert!(live.iter().all(|task| {
        task.observed_state() == TaskState::Running && task.spec.as_ref().unwrap().force_update == 1
    }));
    assert!(walks <= 4, "{walks}");
}

#[tokio::test]
async fn an_update_looks_at_the_slots_that_it_works_on_only() {
    update(UpdateOrder::StopFirst).await;
    update(UpdateOrder::StartFirst).await;
}

#[tokio::test]
async fn a_job_looks_at_the_slots_that_ended_only() {
    let store = Store::in_memory();
    let (_, watch) = store.watch();
    let mut world = World {
        store,
        watch,
        stage: Orchestrator::default(),
        now: Now {
            wall: SystemTime::UNIX_EPOCH,
            monotonic: Duration::from_secs(1),
        },
    };
    let mut job = service();
    let spec = job.spec.get_or_insert_default();
    spec.mode = Some(service_spec::Mode::ReplicatedJob(ReplicatedJob {
        max_concurrent: 4,
        total_completions: REPLICAS,
    }));
    world.write(|tx| tx.create_service(job)).await;
    let mut walks = world.walks().await;
    while world.agent().await {
        walks += world.walks().await;
        let view = world.store.view();
        let at_once = view.tasks().filter(|task| !task.has_stopped()).count();
        assert!(at_once <= 4, "{at_once}");
    }
    let view = world.store.view();
    let mut slots: Vec<u64> = view.tasks().map(|task| task.slot).collect();
    slots.sort_unstable();
    assert!(slots.into_iter().eq(0..REPLICAS));
    assert!(walks <= 2, "{walks}");
}

#[tokio::test]
async fn a_change_of_a_node_concerns_what_is_on_it_only() {
    let mut world = World::new().await;
    let node = |id: &str| Node {
        id: id.to_owned(),
        status: Some(NodeStatus {
            state: node_status::State::Ready.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let global = |id: &str| {
        let mut service = service();
        id.clone_into(&mut service.id);
        let spec = service.spec.get_or_insert_default();
        id.clone_into(&mut spec.annotations.get_or_insert_default().name);
        spec.mode = Some(service_spec::Mode::Global(GlobalService {}));
        service
    };
    world
        .write(|tx| {
            tx.create_service(global("agents"))?;
            tx.create_node(node("n1"))
        })
        .await;
    world.walks().await;
    world.write(|tx| tx.create_node(node("n2"))).await;
    assert_eq!(world.walks().await, 0);
    let of_agents = |world: &World| {
        let view = world.store.view();
        let tasks = view.tasks_by_service("agents");
        tasks.filter(|task| slot::is_live(task)).count()
    };
    assert_eq!(of_agents(&world), 2);
    world
        .write(|tx| {
            tx.edit_node("n1", |node| {
                let spec = node.spec.get_or_insert_default();
                spec.set_availability(Availability::Drain);
            })
        })
        .await;
    assert_eq!(world.walks().await, 0);
    assert_eq!((of_agents(&world), world.live()), (1, REPLICAS + 1));
}
