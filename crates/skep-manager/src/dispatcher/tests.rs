//! The dispatcher over a store in memory, on a clock that moves only when all wait.

use std::time::Duration;

use futures::{Stream, StreamExt};
use skep_objects::swarmkit::{
    Node, NodeDescription, NodeRole, Task, TaskState, TaskStatus, assignment::Item,
    assignments_message::Type, node_status, update_task_status_request::TaskStatusUpdate,
};
use skep_rpc::Caller;
use skep_store::{CommitError, Tx, TxError};

use super::{assignments::assignment_stream, session_stream::session_stream, sessions::Session, *};

struct World {
    store: Store,
    dispatcher: Arc<Dispatcher>,
    managers: watch::Sender<Vec<WeightedPeer>>,
}

impl World {
    async fn new() -> Self {
        Self::with(vec![]).await
    }

    async fn with(tasks: Vec<Task>) -> Self {
        let store = Store::in_memory();
        for task in tasks {
            store.update(|tx| tx.create_task(task)).await.unwrap();
        }
        for id in ["n1", "n2"] {
            let node = Node {
                id: id.to_owned(),
                ..Default::default()
            };
            store.update(|tx| tx.create_node(node)).await.unwrap();
        }
        let managers = watch::Sender::new(Vec::new());
        let dispatcher = Dispatcher::spawn(store.clone(), "m1".to_owned(), managers.subscribe());
        Self {
            store,
            dispatcher,
            managers,
        }
    }

    async fn register(&self, node: &str) -> Session {
        let description = NodeDescription {
            hostname: node.to_owned(),
            ..Default::default()
        };
        self.dispatcher
            .register(&caller(node), Some(description), "")
            .await
            .unwrap()
    }

    async fn put<T>(&self, change: impl FnOnce(&mut Tx) -> Result<T, TxError>) {
        self.store.update(change).await.map(drop).unwrap();
    }

    fn state(&self, node: &str) -> node_status::State {
        let view = self.store.view();
        view.node(node)
            .unwrap()
            .status
            .as_ref()
            .map_or(node_status::State::Unknown, |s| s.state())
    }

    /// Waits until the store's node is in this state.
    async fn reaches(&self, node: &str, state: node_status::State) {
        let (_, mut watch) = self.store.watch();
        while self.state(node) != state {
            watch.recv().await.unwrap();
        }
    }
}

fn caller(node: &str) -> Caller {
    Caller {
        node_id: node.to_owned(),
        role: Some(NodeRole::Worker),
        remote_addr: Some("10.0.0.7:4242".to_owned()),
        forwarded_by: None,
        is_local: false,
    }
}

fn task(id: &str, node: &str, state: TaskState) -> Task {
    Task {
        id: id.to_owned(),
        node_id: node.into(),
        status: Some(TaskStatus {
            state: state.into(),
            ..Default::default()
        }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    }
}

async fn next<T>(stream: &mut (impl Stream<Item = Result<T, Status>> + Unpin)) -> T {
    stream.next().await.unwrap().unwrap()
}

use tonic::Status;

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_with_its_address_once_it_has_a_session() {
    let world = World::new().await;
    world.register("n1").await;
    let view = world.store.view();
    let node = view.node("n1").unwrap();
    assert_eq!(node.status.as_ref().unwrap().addr, "10.0.0.7");
    assert_eq!(node.description.as_ref().unwrap().hostname, "n1");
    assert_eq!(world.state("n1"), node_status::State::Ready);
    let version = view.version();
    world.register("n1").await;
    assert_eq!(
        world.store.view().version(),
        version,
        "a return writes nothing new"
    );
    let unknown = world.dispatcher.register(&caller("x"), None, "").await;
    assert_eq!(unknown.unwrap_err().message(), "node not found");
    let description = NodeDescription {
        hostname: "h".repeat(1 << 20),
        ..Default::default()
    };
    let caller = caller("n1");
    let large = world.dispatcher.register(&caller, Some(description), "");
    assert_eq!(
        large.await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );
    assert_eq!(world.store.view().version(), version);
}

#[tokio::test(start_paused = true)]
async fn lost_nodes_are_written_down_in_one_go_and_as_soon_as_that_can_be_done() {
    let world = World::new().await;
    let lost = [world.register("n1").await, world.register("n2").await];
    world.store.refuse(CommitError::Transferring);
    for session in lost {
        session.ended.cancelled().await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.state("n1"), node_status::State::Ready);
    let version = world.store.view().version();
    world.store.accept_up_to(usize::MAX);
    for node in ["n1", "n2"] {
        world.reaches(node, node_status::State::Down).await;
    }
    assert_eq!(world.store.view().version(), version + 1);
    world.dispatcher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_that_came_back_is_not_written_down() {
    let world = World::new().await;
    let session = world.register("n1").await;
    world.store.refuse(CommitError::Transferring);
    session.ended.cancelled().await;
    world.store.accept_up_to(usize::MAX);
    world.register("n1").await;
    tokio::time::sleep(Timing::DEFAULT.grace / 2).await;
    assert_eq!(world.state("n1"), node_status::State::Ready);
    world.dispatcher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_marked_down_and_a_beating_one_is_not() {
    let world = World::new().await;
    let quiet = world.register("n1").await;
    let beating = world.register("n2").await;
    let start = Instant::now();
    let dispatcher = world.dispatcher.clone();
    let beats = tokio::spawn(async move {
        loop {
            let period = dispatcher.beat("n2", &beating.id).unwrap();
            tokio::time::sleep(period).await;
        }
    });
    world.reaches("n1", node_status::State::Down).await;
    assert!(start.elapsed() < Timing::DEFAULT.grace + Duration::from_millis(50));
    assert!(quiet.ended.is_cancelled());
    assert_eq!(world.state("n2"), node_status::State::Ready);
    world.register("n1").await;
    assert_eq!(world.state("n1"), node_status::State::Ready);
    beats.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_tells_what_changed_and_only_that() {
    let world = World::new().await;
    let session = world.register("n1").await;
    let stream = session_stream(world.dispatcher.clone(), "n1".to_owned(), session.clone());
    let mut stream = Box::pin(stream);
    let first = next(&mut stream).await;
    assert_eq!(first.session_id, *session.id);
    assert_eq!(first.node.unwrap().id, "n1");

    world
        .put(|tx| {
            tx.edit_node("n1", |node| {
                node.status.get_or_insert_default().message.push('x')
            })
        })
        .await;
    world
        .put(|tx| tx.edit_node("n1", |node| node.role = 1))
        .await;
    assert_eq!(next(&mut stream).await.node.unwrap().role, 1);

    let peer = WeightedPeer {
        weight: 10,
        ..Default::default()
    };
    world.managers.send_replace(vec![peer]);
    assert_eq!(next(&mut stream).await.managers.len(), 1);

    let cluster = Cluster {
        id: "c".to_owned(),
        ..Default::default()
    };
    world.put(|tx| tx.create_cluster(cluster)).await;
    let keys =
        |cluster: &mut Cluster| cluster.network_bootstrap_keys = vec![EncryptionKey::default()];
    world.put(|tx| tx.edit_cluster("c", keys)).await;
    assert_eq!(next(&mut stream).await.network_bootstrap_keys.len(), 1);

    world.register("n1").await;
    let ended = stream.next().await.unwrap().unwrap_err();
    assert_eq!(ended.message(), "session invalid");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn assignments_are_complete_first_and_then_follow_each_other() {
    let assigned = ["n1", "n2"].map(|node| task(&format!("t-{node}"), node, TaskState::Assigned));
    let world = World::with(assigned.into()).await;
    let session = world.register("n1").await;
    let mut stream = Box::pin(assignment_stream(world.dispatcher.clone(), "n1", session));
    let first = next(&mut stream).await;
    assert_eq!(
        (
            first.r#type(),
            first.applies_to.as_str(),
            first.results_in.as_str()
        ),
        (Type::Complete, "", "1")
    );
    assert_eq!(first.changes.len(), 1);

    world
        .put(|tx| tx.create_task(task("t3", "n2", TaskState::Assigned)))
        .await;
    world
        .put(|tx| tx.create_task(task("t4", "n1", TaskState::Assigned)))
        .await;
    let second = next(&mut stream).await;
    assert_eq!(
        (
            second.r#type(),
            second.applies_to.as_str(),
            second.results_in.as_str()
        ),
        (Type::Incremental, "1", "2")
    );
    let Some(Item::Task(told)) = second.changes[0].assignment.clone().unwrap().item else {
        panic!("not a task");
    };
    assert_eq!((second.changes.len(), told.id.as_str()), (1, "t4"));

    world.put(|tx| tx.remove_task("t4")).await;
    assert_eq!(next(&mut stream).await.applies_to, "2");
    world.dispatcher.stop().await;
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().message(),
        "dispatcher is stopped"
    );
}

#[tokio::test(start_paused = true)]
async fn reports_are_written_and_states_never_go_back() {
    let world = World::new().await;
    world
        .put(|tx| tx.create_task(task("t1", "n1", TaskState::Assigned)))
        .await;
    let report = |state: TaskState| {
        let status = TaskStatus {
            state: state.into(),
            ..Default::default()
        };
        vec![TaskStatusUpdate {
            task_id: "t1".to_owned(),
            status: Some(status),
        }]
    };
    let view = world.store.view();
    let other = statuses::check(&view, "n2", report(TaskState::Running)).unwrap_err();
    assert_eq!(
        other.message(),
        "cannot update a task not assigned this node"
    );
    let gone = TaskStatusUpdate {
        task_id: "gone".to_owned(),
        status: Some(TaskStatus::default()),
    };
    assert!(statuses::check(&view, "n1", vec![gone]).unwrap().is_empty());

    let (_, mut watch) = world.store.watch();
    let updates = statuses::check(&view, "n1", report(TaskState::Running)).unwrap();
    world.dispatcher.statuses.push(updates);
    watch.recv_commit().await.unwrap();
    let view = world.store.view();
    let status = view.task("t1").unwrap().status.clone().unwrap();
    assert_eq!(
        (status.task_state(), status.applied_by.as_str()),
        (TaskState::Running, "m1")
    );
    assert!(status.applied_at.is_some());

    let before = world.store.view().version();
    for state in [TaskState::Starting, TaskState::Running] {
        let status = TaskStatus {
            state: state.into(),
            ..Default::default()
        };
        world
            .put(|tx| statuses::apply(tx, "t1", status, "m1"))
            .await;
    }
    assert_eq!(world.store.view().version(), before);
}

#[tokio::test(start_paused = true)]
async fn reports_that_could_not_be_written_are_kept() {
    let world = World::new().await;
    let tasks = ["t1", "t2"].map(|id| task(id, "n1", TaskState::Assigned));
    for task in tasks {
        world.put(|tx| tx.create_task(task)).await;
    }
    let status = |state: TaskState, length: usize| TaskStatus {
        state: state.into(),
        err: "x".repeat(length).into(),
        ..Default::default()
    };
    world.store.refuse(CommitError::Transferring);
    let statuses = &world.dispatcher.statuses;
    statuses.push(vec![("t1".to_owned(), status(TaskState::Running, 0))]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    // One that no entry holds is lost alone.
    statuses.push(vec![("t2".to_owned(), status(TaskState::Running, 3000))]);
    let (_, mut watch) = world.store.watch();
    world.store.accept_up_to(1000);
    watch.recv_commit().await.unwrap();
    let view = world.store.view();
    let state = |id: &str| view.task(id).unwrap().observed_state();
    assert_eq!(state("t1"), TaskState::Running);
    assert_eq!(state("t2"), TaskState::Assigned);
    world.dispatcher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_ends_and_a_new_one_tells_all() {
    let world = World::new().await;
    let session = world.register("n1").await;
    let open = || {
        Box::pin(assignment_stream(
            world.dispatcher.clone(),
            "n1",
            session.clone(),
        ))
    };
    let mut stream = open();
    next(&mut stream).await;
    let tasks = router::BACKLOG + 10;
    for number in 0..tasks {
        let task = task(&format!("t{number}"), "n1", TaskState::Assigned);
        world.put(|tx| tx.create_task(task)).await;
        tokio::task::yield_now().await;
    }
    let mut told = 0;
    let end = loop {
        match stream.next().await.unwrap() {
            Ok(message) => told += message.changes.len(),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), tonic::Code::Aborted);
    assert!(told <= router::BACKLOG, "{told}");
    let mut again = open();
    assert_eq!(next(&mut again).await.changes.len(), tasks);
    // There is one stream for a session.
    let mut newer = open();
    assert_eq!(next(&mut newer).await.changes.len(), tasks);
    let end = again.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), tonic::Code::Aborted);
    world.dispatcher.stop().await;
}
