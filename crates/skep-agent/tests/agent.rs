//! An agent with a fake machine and a fake dispatcher.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skep_agent::testing::{FakeDispatcher, FakeExecutor, Phase};
use skep_agent::{Agent, AgentConfig, TaskError};
use skep_objects::skep_v1::{EndpointsMessage, ProbeReport, ProbeRequest};
use skep_objects::swarmkit::assignment::Item;
use skep_objects::swarmkit::{
    LogSelector, LogSubscriptionOptions, NetworkAttachment, NodeRole, Peer, ResourceReference,
    Secret, SubscriptionMessage, Task, TaskSpec, TaskState, TaskStatus,
};
use skep_rpc::Remotes;
use skep_rpc::identity::{
    Credentials, NODE_LIFE, NodeCertificate, NodeCertificateRequest, NodeIdentity, NodeKey,
    RootBundle, SigningRoot,
};
use tokio::sync::watch;

fn identity() -> NodeIdentity {
    let now = time::OffsetDateTime::now_utc();
    let root = SigningRoot::create(now).unwrap();
    let key = NodeKey::generate().unwrap();
    let csr = key.csr().unwrap();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: "node1",
        role: NodeRole::Worker,
        cluster_id: "cluster1",
        life: NODE_LIFE,
    };
    let chain = root.sign(&request, now).unwrap();
    let roots = RootBundle::from_pem(root.cert_pem()).unwrap();
    let chain = NodeCertificate::from_pem(&chain).unwrap();
    NodeIdentity::new(Credentials::new(key, chain, roots).unwrap())
}

struct NoProber;

#[async_trait::async_trait]
impl skep_agent::Prober for NoProber {
    async fn probe(&self, _: ProbeRequest) -> ProbeReport {
        ProbeReport::default()
    }
}

fn config(dir: &Path, machine: &FakeExecutor, dispatcher: Option<&FakeDispatcher>) -> AgentConfig {
    let (_, local) = watch::channel(dispatcher.map(FakeDispatcher::dialer));
    AgentConfig {
        state_dir: dir.to_owned(),
        identity: identity(),
        remotes: Remotes::new([]),
        local,
        executor: Arc::new(machine.clone()),
        drain_deadline: Duration::from_secs(30),
        prober: Arc::new(NoProber),
    }
}

async fn agent(dir: &Path, machine: &FakeExecutor, dispatcher: Option<&FakeDispatcher>) -> Agent {
    let config = config(dir, machine, dispatcher);
    Agent::spawn(config).await.unwrap()
}

fn task(id: &str, desired: TaskState) -> Task {
    Task {
        id: id.into(),
        service_id: "service1".into(),
        node_id: "node1".into(),
        desired_state: desired.into(),
        status: Some(TaskStatus {
            state: TaskState::Assigned.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn item(task: Task) -> Item {
    Item::Task(task)
}

/// One that is gone for good is not tried again while there is another.
#[tokio::test]
async fn managers_that_fail_are_tried_in_turn() {
    let (tried, mut order) = tokio::sync::mpsc::unbounded_channel();
    let mut managers = Vec::new();
    for number in 0..2 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let node_id = format!("manager{number}");
        managers.push((Peer { node_id, addr }, 1));
        let tried = tried.clone();
        tokio::spawn(async move {
            // Closed at once: no session comes of it.
            while listener.accept().await.is_ok() {
                let _ = tried.send(number);
            }
        });
    }
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &FakeExecutor::default(), None);
    config.remotes.replace(managers);
    let agent = Agent::spawn(config).await.unwrap();
    let mut last = None;
    for _ in 0..6 {
        let next = tokio::time::timeout(Duration::from_secs(30), order.recv()).await;
        let next = next.unwrap();
        assert_ne!(next, last);
        last = next;
    }
    agent.stop().await;
}

#[tokio::test]
async fn an_assigned_task_runs_and_is_stopped_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![item(task("t1", TaskState::Running))]);
    let states = dispatcher.reached("t1", TaskState::Running).await;
    assert!(states.windows(2).all(|w| w[0] < w[1]), "{states:?}");
    dispatcher.update(vec![item(task("t1", TaskState::Shutdown))]);
    dispatcher.reached("t1", TaskState::Shutdown).await;
    assert_eq!(machine.phase("t1"), Some(Phase::Stopped));
    let mut removed = machine.watch("t1");
    dispatcher.unassign(vec![item(task("t1", TaskState::Shutdown))]);
    removed
        .wait_for(|p| *p == Some(Phase::Removed))
        .await
        .unwrap();
    let log = machine.take_log();
    assert_eq!(
        log,
        [
            "prepare t1",
            "start t1",
            "wait t1",
            "shutdown t1",
            "remove t1"
        ]
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_wish_that_falls_back_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![item(task("t1", TaskState::Running))]);
    dispatcher.reached("t1", TaskState::Running).await;
    dispatcher.update(vec![item(task("t1", TaskState::Shutdown))]);
    dispatcher.update(vec![item(task("t1", TaskState::Running))]);
    dispatcher.reached("t1", TaskState::Shutdown).await;
    agent.stop().await;
}

#[tokio::test]
async fn an_exit_is_reported_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![
        item(task("bad", TaskState::Running)),
        item(task("good", TaskState::Running)),
        item(task("broken", TaskState::Running)),
    ]);
    machine.fail_next(
        "prepare broken",
        TaskError::Fatal("No such image: x:latest".into()),
    );
    dispatcher.reached("bad", TaskState::Running).await;
    dispatcher.reached("good", TaskState::Running).await;
    machine.exit("bad", 3);
    machine.exit("good", 0);
    let states = dispatcher.reached("bad", TaskState::Complete).await;
    assert_eq!(states.last(), Some(&TaskState::Failed));
    let status = dispatcher.last_status("bad").unwrap();
    assert_eq!(
        (status.message.as_str(), status.err.as_str()),
        ("started", "task: non-zero exit (3)")
    );
    let states = dispatcher.reached("good", TaskState::Complete).await;
    assert_eq!(states.last(), Some(&TaskState::Complete));
    agent.stop().await;
}

#[tokio::test]
async fn a_restart_without_managers_leaves_running_tasks_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let first = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![item(task("t1", TaskState::Running))]);
    dispatcher.reached("t1", TaskState::Running).await;
    first.stop().await;
    machine.take_log();

    let alone = agent(dir.path(), &machine, None).await;
    let mut phase = machine.watch("t1");
    machine.exit("t1", 7);
    phase
        .wait_for(|p| *p == Some(Phase::Exited(7)))
        .await
        .unwrap();
    alone.stop().await;
    assert!(machine.take_log().iter().all(|l| l == "wait t1"));

    // The manager hears of the end, though nobody listened when it came.
    let again = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.reached("t1", TaskState::Failed).await;
    assert_eq!(
        dispatcher.last_status("t1").unwrap().err,
        "task: non-zero exit (7)"
    );
    again.stop().await;
}

#[tokio::test]
async fn a_new_session_takes_up_where_the_last_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![item(task("t1", TaskState::Running))]);
    dispatcher.reached("t1", TaskState::Running).await;
    dispatcher.drop_session();
    dispatcher.connected().await;
    dispatcher.assign(vec![item(task("t2", TaskState::Running))]);
    dispatcher.reached("t2", TaskState::Running).await;
    let starts = machine
        .take_log()
        .iter()
        .filter(|l| *l == "start t1")
        .count();
    assert_eq!(starts, 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_gap_in_assignments_is_closed_by_a_complete_set() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.skip_assignment();
    dispatcher.assign(vec![item(task("t1", TaskState::Running))]);
    dispatcher.reached("t1", TaskState::Running).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_task_waits_for_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    let mut with_secret = task("t1", TaskState::Running);
    let reference = ResourceReference {
        resource_id: "s1".into(),
        ..Default::default()
    };
    with_secret.spec = Some(
        TaskSpec {
            resource_references: vec![reference],
            ..Default::default()
        }
        .into(),
    );
    let secret = Secret {
        id: "s1".into(),
        ..Default::default()
    };
    dispatcher.assign(vec![item(with_secret), Item::Secret(secret)]);
    dispatcher.reached("t1", TaskState::Running).await;
    assert_eq!(
        machine
            .take_log()
            .iter()
            .filter(|l| *l == "prepare t1")
            .count(),
        1
    );
    agent.stop().await;
}

#[tokio::test]
async fn endpoint_tables_are_acknowledged_and_open_the_drain_gate() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    let mut networked = task("t1", TaskState::Running);
    networked.networks = vec![NetworkAttachment {
        addresses: vec!["10.0.1.3/24".into()],
        ..Default::default()
    }];
    dispatcher.assign(vec![item(networked.clone())]);
    dispatcher.reached("t1", TaskState::Running).await;
    dispatcher.send_endpoints(EndpointsMessage {
        sequence: 1,
        ..Default::default()
    });
    let mut acks = dispatcher.acks();
    acks.wait_for(|all| all.contains(&1)).await.unwrap();
    networked.desired_state = TaskState::Shutdown.into();
    dispatcher.update(vec![item(networked)]);
    let drained_tasks = vec!["t1".to_owned()];
    let drained = EndpointsMessage {
        sequence: 2,
        drained_tasks,
        ..Default::default()
    };
    acks.wait_for(|all| all.contains(&1)).await.unwrap();
    assert_eq!(machine.phase("t1"), Some(Phase::Running));
    dispatcher.send_endpoints(drained);
    dispatcher.reached("t1", TaskState::Shutdown).await;
    assert_eq!(machine.endpoints(), [1, 2]);
    agent.stop().await;
}

#[tokio::test]
async fn a_log_subscription_gets_the_lines_of_its_tasks_and_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![
        item(task("t1", TaskState::Running)),
        item(task("t2", TaskState::Running)),
    ]);
    dispatcher.reached("t1", TaskState::Running).await;
    dispatcher.reached("t2", TaskState::Running).await;
    let selector = LogSelector {
        task_ids: vec!["t2".into()],
        ..Default::default()
    };
    dispatcher.subscribe(SubscriptionMessage {
        id: "sub1".into(),
        selector: Some(selector),
        options: Some(LogSubscriptionOptions::default()),
        close: false,
    });
    let mut published = dispatcher.published();
    let all = published
        .wait_for(|all| all.iter().any(|m| m.close))
        .await
        .unwrap()
        .clone();
    let lines: Vec<_> = all.iter().flat_map(|m| &m.messages).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].data, b"hello from t2\n");
    assert_eq!(lines[0].context.as_ref().unwrap().node_id, "node1");
    agent.stop().await;
}

#[tokio::test]
async fn leaving_stops_and_forgets_every_task() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, dispatcher) = (FakeExecutor::default(), FakeDispatcher::spawn());
    let agent = agent(dir.path(), &machine, Some(&dispatcher)).await;
    dispatcher.connected().await;
    dispatcher.assign(vec![item(task("t1", TaskState::Running))]);
    dispatcher.reached("t1", TaskState::Running).await;
    let phase = machine.watch("t1");
    agent.leave().await;
    assert_eq!(*phase.borrow(), Some(Phase::Removed));
    assert!(!dir.path().join("worker/tasks").exists());
}
