//! The background task: it reacts to commits, sleeps until something is due, and stops.

use skep_objects::swarmkit::{
    ContainerSpec, Node, NodeStatus, ReplicatedService, Service, ServiceSpec, Task, TaskSpec,
    TaskState, node_status, service_spec::Mode, task_spec::Runtime,
};
use skep_store::{Store, Tx};

use super::*;

fn node() -> Node {
    let state = node_status::State::Ready.into();
    Node {
        id: "n1".into(),
        status: Some(NodeStatus {
            state,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn service(replicas: u64) -> Service {
    let container = ContainerSpec {
        image: "nginx".into(),
        ..Default::default()
    };
    Service {
        id: "web".into(),
        spec: Some(ServiceSpec {
            mode: Some(Mode::Replicated(ReplicatedService { replicas })),
            task: Some(
                TaskSpec {
                    runtime: Some(Runtime::Container(container)),
                    ..Default::default()
                }
                .into(),
            ),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn config() -> LoopsConfig {
    let clock = Clock::following_tokio();
    LoopsConfig {
        usage: UsageBook::new(clock.clone()),
        clock,
        seed: 1,
    }
}

/// Waits until the store has so many tasks that `is_meant`.
async fn wait_for(watch: &mut Watch, count: usize, is_meant: impl Fn(&Task) -> bool) {
    while watch.view().tasks().filter(|task| is_meant(task)).count() != count {
        assert!(watch.recv_commit().await.is_some(), "the store is open");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_worked_off_without_any_time_passing() {
    let store = Store::in_memory();
    let loops = LeaderLoops::spawn(store.clone(), config());
    let (_, mut watch) = store.watch();
    let start = tokio::time::Instant::now();
    store
        .update(|tx: &mut Tx| tx.create_node(node()))
        .await
        .unwrap();
    store
        .update(|tx: &mut Tx| tx.create_service(service(100)))
        .await
        .unwrap();
    wait_for(&mut watch, 100, |task| {
        task.observed_state() == TaskState::Assigned
    })
    .await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    loops.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_is_replaced_when_its_delay_is_over() {
    let store = Store::in_memory();
    let (_, mut watch) = store.watch();
    let loops = LeaderLoops::spawn(store.clone(), config());
    store
        .update(|tx: &mut Tx| tx.create_node(node()))
        .await
        .unwrap();
    store
        .update(|tx: &mut Tx| tx.create_service(service(1)))
        .await
        .unwrap();
    wait_for(&mut watch, 1, |task| {
        task.observed_state() == TaskState::Assigned
    })
    .await;
    let id = store
        .view()
        .tasks()
        .next()
        .map(|task| task.id.clone())
        .unwrap();
    let fail = |tx: &mut Tx| {
        tx.edit_task(&id, |task| {
            task.status
                .get_or_insert_default()
                .set_state(TaskState::Failed)
        })
    };
    store.update(fail).await.unwrap();
    let start = tokio::time::Instant::now();
    let replaced = |task: &Task| task.id != id && task.wanted_state() == TaskState::Running;
    wait_for(&mut watch, 1, replaced).await;
    assert_eq!(start.elapsed().as_secs(), 5);
    loops.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopped_loops_do_nothing_more() {
    let store = Store::in_memory();
    let loops = LeaderLoops::spawn(store.clone(), config());
    loops.stop().await;
    store
        .update(|tx: &mut Tx| tx.create_service(service(3)))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.view().tasks().count(), 0);
}
