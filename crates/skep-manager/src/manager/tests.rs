//! One manager from its founding on, over real sockets on the loopback, with a worker that joins.

use std::time::Duration as Wait;

use skep_objects::swarmkit::{
    Annotations, AssignmentsRequest, ContainerSpec, CreateServiceRequest, HeartbeatRequest,
    ListClustersRequest, ListNodesRequest, ListTasksRequest, NodeDescription, NodeRole, NodeStatus,
    ReplicatedService, ServiceSpec, SessionRequest, Task, TaskSpec, TaskState, TaskStatus,
    UpdateNodeRequest, UpdateTaskStatusRequest, assignment::Item, node_status::State,
    service_spec::Mode, task_spec::Runtime, update_task_status_request::TaskStatusUpdate,
};
use skep_rpc::{
    bootstrap,
    identity::{Credentials, JoinToken, NODE_LIFE},
    swarmkit::dispatcher_client::DispatcherClient,
};
use time::OffsetDateTime;
use tonic::{Code, Request};

use super::*;
use crate::{control::Members, founding::found};

mod external;
mod hostile;

const PATIENCE: Wait = Wait::from_secs(20);

struct World {
    _dir: tempfile::TempDir,
    manager: Manager,
}

async fn founded() -> World {
    let dir = tempfile::tempdir().unwrap();
    let founding = found(None, NODE_LIFE, OffsetDateTime::now_utc()).unwrap();
    let files = NodeFiles::new(dir.path());
    let credentials = &founding.credentials;
    files.save_roots(credentials.roots()).unwrap();
    files
        .save(credentials.key(), credentials.certificate(), None)
        .unwrap();
    let addr = free_addr();
    let config = ManagerConfig {
        state_dir: dir.path().to_owned(),
        identity: NodeIdentity::new(founding.credentials),
        listen_addr: addr,
        advertise_addr: addr.to_string(),
        join_addr: None,
        force_new_cluster: false,
        kek: None,
        new_cluster: Some(NewCluster {
            root_cert: founding.root_cert,
            root_key: founding.root_key,
            ..NewCluster::default()
        }),
        availability: Availability::Active,
    };
    let manager = Manager::start(config).await.unwrap();
    let mut leads = manager.leads();
    leads.wait_for(|leads| *leads).await.unwrap();
    World { _dir: dir, manager }
}

impl World {
    async fn join(&self, manager: bool) -> Credentials {
        let control = self.manager.control();
        let clusters = control.list_clusters(Request::new(ListClustersRequest::default()));
        let cluster = clusters.await.unwrap().into_inner().clusters.remove(0);
        let tokens = cluster.root_ca.unwrap().join_tokens.unwrap();
        let token = if manager {
            tokens.manager
        } else {
            tokens.worker
        };
        let token = JoinToken::parse(&token).unwrap();
        let addr = self.manager.listen_addr().to_string();
        let roots = bootstrap::fetch_root(&addr, &token).await.unwrap();
        let issued = bootstrap::join(&addr, &roots, &token, Availability::Active)
            .await
            .unwrap();
        issued.credentials
    }

    async fn task(&self, wanted: impl Fn(&Task) -> bool) -> Task {
        let (view, mut watch) = self.manager.store().watch();
        let mut view = view;
        loop {
            if let Some(task) = view.tasks().find(|task| wanted(task)) {
                return Task::clone(task);
            }
            view = watch.recv_commit().await.unwrap().view;
        }
    }
}

fn web() -> ServiceSpec {
    let container = ContainerSpec {
        image: "web".to_owned(),
        ..Default::default()
    };
    ServiceSpec {
        annotations: Some(Annotations {
            name: "web".to_owned(),
            ..Default::default()
        }),
        task: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(container)),
                ..Default::default()
            }
            .into(),
        ),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 1 })),
        ..Default::default()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_joins_is_given_a_task_and_reports_it_running() {
    within(async {
        let world = founded().await;
        let credentials = world.join(false).await;
        let identity = NodeIdentity::new(credentials);
        assert_eq!(identity.role(), NodeRole::Worker);
        let addr = world.manager.listen_addr().to_string();
        let channel = skep_rpc::connect(&addr, &identity).await.unwrap();
        let mut dispatcher = DispatcherClient::new(channel);
        let description = NodeDescription {
            hostname: "host1".to_owned(),
            ..Default::default()
        };
        let request = SessionRequest {
            description: Some(description),
            session_id: String::new(),
        };
        let mut session = dispatcher.session(request).await.unwrap().into_inner();
        let first = session.message().await.unwrap().unwrap();
        assert_eq!(first.managers.len(), 1);
        assert_eq!(first.network_bootstrap_keys.len(), 6);
        let session_id = first.session_id;

        let request = CreateServiceRequest { spec: Some(web()) };
        world
            .manager
            .control()
            .create_service(Request::new(request))
            .await
            .unwrap();
        let request = AssignmentsRequest {
            session_id: session_id.clone(),
        };
        let mut assignments = dispatcher.assignments(request).await.unwrap().into_inner();
        let task = loop {
            let message = assignments.message().await.unwrap().unwrap();
            let items = message
                .changes
                .into_iter()
                .filter_map(|change| change.assignment?.item);
            let mut task = items.filter_map(|item| {
                if let Item::Task(task) = item {
                    Some(task)
                } else {
                    None
                }
            });
            if let Some(task) = task.next_back() {
                break task;
            }
        };
        assert_eq!(task.node_id, identity.node_id());
        let status = TaskStatus {
            state: TaskState::Running.into(),
            ..Default::default()
        };
        let update = TaskStatusUpdate {
            task_id: task.id.clone(),
            status: Some(status),
        };
        let request = UpdateTaskStatusRequest {
            session_id: session_id.clone(),
            updates: vec![update],
        };
        dispatcher.update_task_status(request).await.unwrap();
        let running = world
            .task(|task| task.observed_state() == TaskState::Running)
            .await;
        assert_eq!(running.id, task.id);

        let beat = HeartbeatRequest { session_id };
        let period = dispatcher
            .heartbeat(beat)
            .await
            .unwrap()
            .into_inner()
            .period
            .unwrap();
        assert!(period.seconds == 0 && period.nanos > 0);
        let request = Request::new(ListNodesRequest::default());
        let nodes = world
            .manager
            .control()
            .list_nodes(request)
            .await
            .unwrap()
            .into_inner()
            .nodes;
        let worker = nodes
            .iter()
            .find(|node| node.id == identity.node_id())
            .unwrap();
        let status: &NodeStatus = worker.status.as_ref().unwrap();
        assert_eq!(
            (status.state(), status.addr.as_str()),
            (State::Ready, "127.0.0.1")
        );
        let founder = nodes
            .iter()
            .find(|node| node.id != identity.node_id())
            .unwrap();
        assert!(founder.manager_status.as_ref().unwrap().leader);
        world.manager.stop().await;
        assert!(session.message().await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_may_not_use_the_control_api_and_a_wrong_token_gives_nothing() {
    within(async {
        let world = founded().await;
        let worker = NodeIdentity::new(world.join(false).await);
        let addr = world.manager.listen_addr().to_string();
        let channel = skep_rpc::connect(&addr, &worker).await.unwrap();
        let mut control = skep_rpc::swarmkit::control_client::ControlClient::new(channel);
        let error = control
            .list_tasks(ListTasksRequest::default())
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);

        let wrong = JoinToken::generate(b"another root");
        assert!(bootstrap::fetch_root(&addr, &wrong).await.is_err());
        let roots = world.manager.quorum().store().unwrap().view();
        let roots = roots
            .the_cluster()
            .unwrap()
            .root_ca
            .as_ref()
            .unwrap()
            .ca_cert
            .clone();
        let stale = JoinToken::generate(&roots);
        let roots = bootstrap::fetch_root(&addr, &stale).await.unwrap();
        let error = bootstrap::join(&addr, &roots, &stale, Availability::Active)
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("A valid join token is necessary to join this cluster"),
            "{error}"
        );
        world.manager.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_restarts_has_everything_and_leads_again() {
    within(async {
        let world = founded().await;
        let request = CreateServiceRequest { spec: Some(web()) };
        world
            .manager
            .control()
            .create_service(Request::new(request))
            .await
            .unwrap();
        world.manager.stop().await;

        let dir = world._dir;
        let credentials = NodeFiles::new(dir.path()).load(None).unwrap();
        let config = ManagerConfig {
            state_dir: dir.path().to_owned(),
            identity: NodeIdentity::new(credentials),
            listen_addr: "127.0.0.1:0".parse().unwrap(),
            advertise_addr: "127.0.0.1:2377".to_owned(),
            join_addr: None,
            force_new_cluster: false,
            kek: None,
            new_cluster: None,
            availability: Availability::Active,
        };
        let manager = Manager::start(config).await.unwrap();
        manager.leads().wait_for(|leads| *leads).await.unwrap();
        assert!(manager.store().view().service_by_name("web").is_some());
        manager.stop().await;
    })
    .await;
}

/// A manager on a directory of its own, with these credentials.
async fn start(dir: &Path, credentials: Credentials, join_addr: Option<String>) -> Manager {
    let files = NodeFiles::new(dir);
    files.save_roots(credentials.roots()).unwrap();
    files
        .save(credentials.key(), credentials.certificate(), None)
        .unwrap();
    let addr = free_addr();
    let config = ManagerConfig {
        state_dir: dir.to_owned(),
        identity: NodeIdentity::new(credentials),
        listen_addr: addr,
        advertise_addr: addr.to_string(),
        join_addr,
        force_new_cluster: false,
        kek: None,
        new_cluster: None,
        availability: Availability::Active,
    };
    Manager::start(config).await.unwrap()
}

/// A port that was free a moment ago; raft's members must know theirs beforehand.
fn free_addr() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

async fn services(manager: &Manager) -> usize {
    let control = manager.control();
    let request = Request::new(skep_objects::swarmkit::ListServicesRequest::default());
    let answer = control.list_services(request).await;
    answer.unwrap().into_inner().services.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_stops_another_leads_and_nothing_is_lost() {
    within(async {
        let world = founded().await;
        let addr = world.manager.listen_addr().to_string();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut others = Vec::new();
        for dir in &dirs {
            let credentials = world.join(true).await;
            others.push(start(dir.path(), credentials, Some(addr.clone())).await);
        }
        // A follower hands the call on.
        let request = CreateServiceRequest { spec: Some(web()) };
        let created = others[0]
            .control()
            .create_service(Request::new(request))
            .await;
        created.unwrap();
        assert_eq!(services(&world.manager).await, 1);
        assert_eq!(world.manager.quorum().all().len(), 3);

        world.manager.stop().await;
        let mut leads = [others[0].leads(), others[1].leads()];
        let [one, two] = &mut leads;
        tokio::select! {
            _ = one.wait_for(|leads| *leads) => {}
            _ = two.wait_for(|leads| *leads) => {}
        }
        for manager in &others {
            assert_eq!(services(manager).await, 1);
        }
        let mut second = web();
        second.annotations.as_mut().unwrap().name = "second".to_owned();
        let request = CreateServiceRequest { spec: Some(second) };
        let created = others[1]
            .control()
            .create_service(Request::new(request))
            .await;
        created.unwrap();
        assert_eq!(services(&others[0]).await, 2);
        for manager in &others {
            manager.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_leaves_the_quorum_and_loses_its_role() {
    within(async {
        let world = founded().await;
        let addr = world.manager.listen_addr().to_string();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut others = Vec::new();
        for dir in &dirs {
            let credentials = world.join(true).await;
            others.push(start(dir.path(), credentials, Some(addr.clone())).await);
        }
        // One that was never heard of by the leader would not hear of its removal either.
        let mut status = others[1].node.status();
        status
            .wait_for(|status| status.leader.is_some())
            .await
            .unwrap();
        let id = others[1].node_id().to_owned();
        let view = world.manager.store().view();
        let node = view.node(&id).unwrap();
        let mut spec = node.spec.clone().unwrap();
        spec.desired_role = NodeRole::Worker.into();
        let request = UpdateNodeRequest {
            node_id: id.clone(),
            node_version: node.meta.as_ref().unwrap().version,
            spec: Some(spec),
        };
        let control = world.manager.control();
        control.update_node(Request::new(request)).await.unwrap();
        let (view, mut watch) = world.manager.store().watch();
        let mut role = view.node(&id).unwrap().role();
        while role == NodeRole::Manager {
            role = watch
                .recv_commit()
                .await
                .unwrap()
                .view
                .node(&id)
                .unwrap()
                .role();
        }
        assert_eq!(world.manager.quorum().all().len(), 2);
        eprintln!(
            "STEP removed; status {:?}",
            others[1].node.status().borrow().clone()
        );
        let reason = others[1].ended().await;
        assert!(reason.contains("removed"), "{reason}");
        for manager in others.iter().chain([&world.manager]) {
            manager.stop().await;
        }
    })
    .await;
}
