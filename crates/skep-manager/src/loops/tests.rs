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

fn with_env(id: &str, replicas: u64, env_bytes: usize) -> Service {
    let mut service = service(replicas);
    id.clone_into(&mut service.id);
    let spec = service.spec.get_or_insert_default();
    id.clone_into(&mut spec.annotations.get_or_insert_default().name);
    let task = spec.task.get_or_insert_default();
    if let Some(Runtime::Container(container)) = &mut task.runtime {
        container.env = vec!["x".repeat(env_bytes)];
    }
    service
}

#[tokio::test(start_paused = true)]
async fn large_tasks_take_more_transactions_and_none_fails() {
    let store = Store::in_memory();
    store.accept_up_to(skep_store::MAX_ENTRY_BYTES);
    let (_, mut watch) = store.watch();
    let loops = LeaderLoops::spawn(store.clone(), config());
    let start = tokio::time::Instant::now();
    store
        .update(|tx: &mut Tx| tx.create_service(with_env("web", 200, 40_000)))
        .await
        .unwrap();
    wait_for(&mut watch, 200, |task| {
        task.observed_state() == TaskState::Pending
    })
    .await;
    // All of them wait for a node.
    store
        .update(|tx: &mut Tx| tx.create_node(node()))
        .await
        .unwrap();
    wait_for(&mut watch, 200, |task| {
        task.observed_state() == TaskState::Assigned
    })
    .await;
    assert_eq!(start.elapsed(), Duration::ZERO, "no pause after a failure");
    loops.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_transaction_holds_is_left_alone_until_it_is_changed() {
    let store = Store::in_memory();
    let (_, mut watch) = store.watch();
    let huge = with_env("huge", 2, skep_store::MAX_ENTRY_BYTES);
    store
        .update(|tx: &mut Tx| tx.create_service(huge))
        .await
        .unwrap();
    store
        .update(|tx: &mut Tx| tx.create_node(node()))
        .await
        .unwrap();
    store.accept_up_to(skep_store::MAX_ENTRY_BYTES);
    let loops = LeaderLoops::spawn(store.clone(), config());
    let of = |service: &'static str| {
        move |task: &Task| {
            task.service_id == service && task.observed_state() == TaskState::Assigned
        }
    };
    store
        .update(|tx: &mut Tx| tx.create_service(service(3)))
        .await
        .unwrap();
    wait_for(&mut watch, 3, of("web")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let version = store.view().version();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        store.view().version(),
        version,
        "nothing is tried over and over"
    );
    let shrink = |tx: &mut Tx| tx.edit_service("huge", |huge| *huge = with_env("huge", 2, 10));
    store.update(shrink).await.unwrap();
    wait_for(&mut watch, 2, of("huge")).await;
    loops.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_loops_go_on_after_a_handover_that_failed() {
    let store = Store::in_memory();
    let (_, mut watch) = store.watch();
    store
        .update(|tx: &mut Tx| tx.create_node(node()))
        .await
        .unwrap();
    store
        .update(|tx: &mut Tx| tx.create_service(service(3)))
        .await
        .unwrap();
    store.refuse(CommitError::Transferring);
    let loops = LeaderLoops::spawn(store.clone(), config());
    tokio::time::sleep(Duration::from_secs(60)).await;
    store.accept_up_to(usize::MAX);
    let soon = wait_for(&mut watch, 3, |task| {
        task.observed_state() == TaskState::Assigned
    });
    tokio::time::timeout(Duration::from_secs(5), soon)
        .await
        .unwrap();
    loops.stop().await;
}
