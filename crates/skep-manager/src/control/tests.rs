//! The rules of the control API, against a store in memory.

use std::sync::Arc;

use prost_types::Duration;
use skep_objects::swarmkit::{
    raft_member_status::Reachability, service_spec::Mode, task_spec::Runtime, *,
};
use skep_rpc::swarmkit::control_server::Control;
use skep_store::{Store, Tx, TxError};
use tonic::{Code, Request, Response, Status};

use super::{ControlServer, Member, Members, members::keeps_quorum};

struct FakeMembers(Vec<Member>);

impl Members for FakeMembers {
    fn all(&self) -> Vec<Member> {
        self.0.clone()
    }

    fn can_remove(&self, raft_id: u64) -> bool {
        keeps_quorum(&self.0, raft_id)
    }
}

fn member(number: u64, reachable: bool) -> Member {
    Member {
        raft_id: number,
        node_id: format!("m{number}"),
        addr: format!("10.0.0.{number}:2377"),
        leader: number == 1,
        reachability: if reachable {
            Reachability::Reachable
        } else {
            Reachability::Unreachable
        },
    }
}

struct World {
    store: Store,
    control: ControlServer,
}

impl World {
    fn new(members: Vec<Member>) -> Self {
        let store = Store::in_memory();
        let control = ControlServer::new(store.clone(), Arc::new(FakeMembers(members)));
        Self { store, control }
    }

    async fn put<T>(&self, change: impl FnOnce(&mut Tx) -> Result<T, TxError>) {
        self.store.update(change).await.map(drop).unwrap();
    }

    async fn service(&self, spec: ServiceSpec) -> Service {
        let request = CreateServiceRequest { spec: Some(spec) };
        ask(self.control.create_service(Request::new(request)).await)
            .service
            .unwrap()
    }

    async fn create_service(
        &self,
        spec: ServiceSpec,
    ) -> Result<Response<CreateServiceResponse>, Status> {
        self.control
            .create_service(Request::new(CreateServiceRequest { spec: Some(spec) }))
            .await
    }

    async fn update_service(
        &self,
        service: &Service,
        spec: ServiceSpec,
        rollback: i32,
    ) -> Result<Response<UpdateServiceResponse>, Status> {
        let request = UpdateServiceRequest {
            service_id: service.id.clone(),
            service_version: service.meta.as_ref().unwrap().version,
            spec: Some(spec),
            rollback,
        };
        self.control.update_service(Request::new(request)).await
    }

    async fn network(&self, name: &str, ingress: bool) -> Network {
        let spec = NetworkSpec {
            annotations: named(name),
            ingress,
            ..Default::default()
        };
        let request = CreateNetworkRequest { spec: Some(spec) };
        ask(self.control.create_network(Request::new(request)).await)
            .network
            .unwrap()
    }

    async fn remove_network(&self, id: &str) -> Result<Response<RemoveNetworkResponse>, Status> {
        let request = RemoveNetworkRequest {
            network_id: id.to_owned(),
            ..Default::default()
        };
        self.control.remove_network(Request::new(request)).await
    }

    async fn secret(
        &self,
        name: &str,
        data: &[u8],
    ) -> Result<Response<CreateSecretResponse>, Status> {
        let spec = SecretSpec {
            annotations: named(name),
            data: data.to_vec(),
            ..Default::default()
        };
        self.control
            .create_secret(Request::new(CreateSecretRequest { spec: Some(spec) }))
            .await
    }
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.to_owned(),
        ..Default::default()
    })
}

fn spec(name: &str) -> ServiceSpec {
    let container = ContainerSpec {
        image: "nginx".to_owned(),
        ..Default::default()
    };
    ServiceSpec {
        annotations: named(name),
        task: Some(TaskSpec {
            runtime: Some(Runtime::Container(container)),
            ..Default::default()
        }),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 2 })),
        ..Default::default()
    }
}

fn published(name: &str, port: u32, publish_mode: i32) -> ServiceSpec {
    let port = PortConfig {
        published_port: port,
        target_port: 80,
        publish_mode,
        ..Default::default()
    };
    ServiceSpec {
        endpoint: Some(EndpointSpec {
            mode: 0,
            ports: vec![port],
        }),
        ..spec(name)
    }
}

fn with_container(name: &str, change: impl FnOnce(&mut ContainerSpec)) -> ServiceSpec {
    let mut spec = spec(name);
    let Some(Runtime::Container(container)) = &mut spec.task.as_mut().unwrap().runtime else {
        panic!("no container");
    };
    change(container);
    spec
}

fn ask<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, code: Code, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

#[tokio::test]
async fn a_service_s_name_is_taken_whatever_its_case() {
    let world = World::new(vec![]);
    world.service(spec("web")).await;
    refused(
        world.create_service(spec("WEB")).await,
        Code::AlreadyExists,
        "name conflicts with an existing object: service WEB already exists",
    );
}

#[tokio::test]
async fn an_update_keeps_the_spec_before_it_and_the_version_of_the_object_before_it() {
    let world = World::new(vec![]);
    let created = world.service(spec("web")).await;
    let second = with_container("web", |container| container.image = "nginx:2".to_owned());
    let updated = ask(world.update_service(&created, second.clone(), 0).await)
        .service
        .unwrap();
    assert_eq!(updated.spec, Some(second.clone()));
    assert_eq!(updated.previous_spec, created.spec);
    assert_eq!(updated.spec_version, created.meta.as_ref().unwrap().version);
    assert_eq!(updated.previous_spec_version, created.spec_version);

    let back = ask(world.update_service(&updated, spec("web"), 1).await)
        .service
        .unwrap();
    assert_eq!(back.spec, created.spec);
    assert_eq!(back.previous_spec, Some(second));
    assert_eq!(back.spec_version, created.spec_version);
    let status = back.update_status.unwrap();
    assert_eq!(status.state(), update_status::UpdateState::RollbackStarted);
    assert_eq!(status.message, "manually requested rollback");
}

#[tokio::test]
async fn updates_that_a_service_cannot_follow_are_refused() {
    let world = World::new(vec![]);
    let service = world.service(spec("web")).await;
    refused(
        world.update_service(&service, spec("other"), 0).await,
        Code::Unimplemented,
        "renaming services is not supported",
    );
    let global = ServiceSpec {
        mode: Some(Mode::Global(GlobalService {})),
        ..spec("web")
    };
    refused(
        world.update_service(&service, global, 0).await,
        Code::Unimplemented,
        "service mode change is not allowed",
    );
    refused(
        world.update_service(&service, spec("web"), 1).await,
        Code::FailedPrecondition,
        &format!("service {} does not have a previous spec", service.id),
    );
    ask(world.update_service(&service, spec("web"), 0).await);
    refused(
        world.update_service(&service, spec("web"), 0).await,
        Code::Unknown,
        "update out of sequence",
    );
    let gone = Service {
        id: "gone".to_owned(),
        ..service
    };
    refused(
        world.update_service(&gone, spec("web"), 0).await,
        Code::NotFound,
        "service gone not found",
    );
}

#[tokio::test]
async fn every_update_runs_a_job_again() {
    let world = World::new(vec![]);
    let job = ServiceSpec {
        mode: Some(Mode::GlobalJob(GlobalJob {})),
        ..spec("job")
    };
    let created = world.service(job.clone()).await;
    assert_eq!(created.job_status.unwrap().job_iteration.unwrap().index, 0);
    let updated = ask(world.update_service(&created, job, 0).await)
        .service
        .unwrap();
    assert_eq!(updated.job_status.unwrap().job_iteration.unwrap().index, 1);
    assert_eq!(world.service(spec("web")).await.job_status, None);
}

#[tokio::test]
async fn a_published_port_belongs_to_one_service() {
    let world = World::new(vec![]);
    world.network("ingress", true).await;
    let service = world.service(published("web", 80, 0)).await;
    let text = |how: &str| {
        format!(
            "port '80' is already in use by service 'web' ({}) as {how}",
            service.id
        )
    };
    let taken = text("an ingress port");
    refused(
        world.create_service(published("b", 80, 0)).await,
        Code::InvalidArgument,
        &taken,
    );
    refused(
        world.create_service(published("b", 80, 1)).await,
        Code::InvalidArgument,
        &taken,
    );
    ask(world
        .update_service(&service, published("web", 80, 0), 0)
        .await);

    let host = world.service(published("host", 81, 1)).await;
    world.service(published("host2", 81, 1)).await;
    let answer = world.create_service(published("c", 81, 0)).await;
    let status = answer.unwrap_err();
    assert!(
        status.message().ends_with("as a host-published port"),
        "{status}"
    );
    assert!(status.message().contains(&host.id) || status.message().contains("host2"));
}

#[tokio::test]
async fn the_routing_mesh_needs_its_network() {
    let world = World::new(vec![]);
    refused(
        world.create_service(published("web", 80, 0)).await,
        Code::FailedPrecondition,
        "service needs ingress network, but no ingress network is present",
    );
    let ingress = world.network("ingress", true).await;
    let service = world.service(published("web", 80, 0)).await;
    refused(
        world.remove_network(&ingress.id).await,
        Code::FailedPrecondition,
        &format!(
            "ingress network cannot be removed because service {} depends on it",
            service.id
        ),
    );
    let request = CreateNetworkRequest {
        spec: Some(NetworkSpec {
            annotations: named("b"),
            ingress: true,
            ..Default::default()
        }),
    };
    refused(
        world.control.create_network(Request::new(request)).await,
        Code::AlreadyExists,
        &format!("ingress network ({}) is already present", ingress.id),
    );
    let mut attached = spec("other");
    let target = ingress.id.clone();
    attached.task.as_mut().unwrap().networks = vec![NetworkAttachmentConfig {
        target,
        ..Default::default()
    }];
    refused(
        world.create_service(attached).await,
        Code::InvalidArgument,
        "Service cannot be explicitly attached to the ingress network \"ingress\"",
    );
}

#[tokio::test]
async fn a_network_in_use_stays() {
    let world = World::new(vec![]);
    let network = world.network("net", false).await;
    let mut attached = spec("web");
    let attachment = NetworkAttachmentConfig {
        target: network.id.clone(),
        ..Default::default()
    };
    attached.task.as_mut().unwrap().networks = vec![attachment.clone()];
    let service = world.service(attached).await;
    refused(
        world.remove_network(&network.id).await,
        Code::FailedPrecondition,
        &format!("network {} is in use by service {}", network.id, service.id),
    );
    let request = RemoveServiceRequest {
        service_id: service.id.clone(),
    };
    ask(world.control.remove_service(Request::new(request)).await);
    let task = |desired: TaskState| Task {
        id: "t1".to_owned(),
        spec: Some(TaskSpec {
            networks: vec![attachment.clone()],
            ..Default::default()
        }),
        desired_state: desired.into(),
        ..Default::default()
    };
    world
        .put(|tx| tx.create_task(task(TaskState::Running)))
        .await;
    refused(
        world.remove_network(&network.id).await,
        Code::FailedPrecondition,
        &format!("network {} is in use by task t1", network.id),
    );
    world
        .put(|tx| {
            tx.edit_task("t1", |stored| {
                stored.desired_state = TaskState::Remove.into()
            })
        })
        .await;
    ask(world.remove_network(&network.id).await);
}

#[tokio::test]
async fn predefined_networks_stay() {
    let world = World::new(vec![]);
    let mut annotations = named("bridge").unwrap();
    annotations.labels.insert(
        super::network::PREDEFINED_LABEL.to_owned(),
        "true".to_owned(),
    );
    let spec = NetworkSpec {
        annotations: Some(annotations),
        ..Default::default()
    };
    let request = Request::new(CreateNetworkRequest { spec: Some(spec) });
    let network = ask(world.control.create_network(request).await)
        .network
        .unwrap();
    refused(
        world.remove_network(&network.id).await,
        Code::FailedPrecondition,
        "bridge is a pre-defined network and cannot be removed",
    );
}

#[tokio::test]
async fn secrets_are_checked_and_their_content_is_never_shown() {
    let world = World::new(vec![]);
    let size = "secret data must be larger than 0 and less than 512000 bytes";
    refused(world.secret("a", b"").await, Code::InvalidArgument, size);
    refused(
        world.secret("a", &vec![0; 512_000]).await,
        Code::InvalidArgument,
        size,
    );
    let secret = ask(world.secret("a", &vec![0; 511_999]).await)
        .secret
        .unwrap();
    assert!(secret.spec.as_ref().unwrap().data.is_empty());
    refused(
        world.secret("A", b"x").await,
        Code::AlreadyExists,
        "secret A already exists",
    );
    let request = Request::new(GetSecretRequest {
        secret_id: secret.id.clone(),
    });
    let shown = ask(world.control.get_secret(request).await).secret.unwrap();
    assert!(shown.spec.unwrap().data.is_empty());
}

#[tokio::test]
async fn only_the_labels_of_a_secret_change() {
    let world = World::new(vec![]);
    let secret = ask(world.secret("a", b"x").await).secret.unwrap();
    let update = |spec: SecretSpec| UpdateSecretRequest {
        secret_id: secret.id.clone(),
        secret_version: secret.meta.as_ref().unwrap().version,
        spec: Some(spec),
    };
    let other = SecretSpec {
        annotations: named("a"),
        data: b"y".to_vec(),
        ..Default::default()
    };
    let renamed = SecretSpec {
        annotations: named("b"),
        ..Default::default()
    };
    for spec in [other, renamed] {
        refused(
            world
                .control
                .update_secret(Request::new(update(spec)))
                .await,
            Code::InvalidArgument,
            "only updates to Labels are allowed",
        );
    }
    let mut annotations = named("a").unwrap();
    annotations.labels.insert("k".to_owned(), "v".to_owned());
    let labelled = SecretSpec {
        annotations: Some(annotations),
        ..Default::default()
    };
    ask(world
        .control
        .update_secret(Request::new(update(labelled)))
        .await);
    let view = world.store.view();
    let stored = view.secret(&secret.id).unwrap().spec.as_ref().unwrap();
    assert_eq!(stored.data, b"x");
    assert_eq!(stored.annotations.as_ref().unwrap().labels["k"], "v");
}

#[tokio::test]
async fn a_secret_in_use_stays_and_a_missing_one_is_named() {
    let world = World::new(vec![]);
    let secret = ask(world.secret("a", b"x").await).secret.unwrap();
    let reference = |name: &str, file: &str| SecretReference {
        secret_id: secret.id.clone(),
        secret_name: name.to_owned(),
        target: Some(secret_reference::Target::File(FileTarget {
            name: file.to_owned(),
            ..Default::default()
        })),
    };
    let with = |name: &str, references: Vec<SecretReference>| {
        with_container(name, |container| container.secrets = references)
    };
    refused(
        world
            .create_service(with("web", vec![reference("b", "b")]))
            .await,
        Code::InvalidArgument,
        "secret not found: b",
    );
    refused(
        world
            .create_service(with("web", vec![reference("b", "b"), reference("c", "c")]))
            .await,
        Code::InvalidArgument,
        "secrets not found: b, c",
    );
    world.service(with("web", vec![reference("a", "a")])).await;
    let remove = || {
        Request::new(RemoveSecretRequest {
            secret_id: secret.id.clone(),
        })
    };
    refused(
        world.control.remove_secret(remove()).await,
        Code::InvalidArgument,
        "secret 'a' is in use by the following service: web",
    );
    world.service(with("api", vec![reference("a", "a")])).await;
    refused(
        world.control.remove_secret(remove()).await,
        Code::InvalidArgument,
        "secret 'a' is in use by the following services: api, web",
    );
}

fn node(id: &str, role: NodeRole, state: node_status::State) -> Node {
    Node {
        id: id.to_owned(),
        role: role.into(),
        spec: Some(NodeSpec {
            desired_role: role.into(),
            membership: node_spec::Membership::Accepted.into(),
            ..Default::default()
        }),
        status: Some(NodeStatus {
            state: state.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn demote(world: &World, id: &str) -> Result<Response<UpdateNodeResponse>, Status> {
    let request = UpdateNodeRequest {
        node_id: id.to_owned(),
        node_version: world
            .store
            .view()
            .node(id)
            .unwrap()
            .meta
            .as_ref()
            .unwrap()
            .version,
        spec: Some(NodeSpec {
            desired_role: NodeRole::Worker.into(),
            ..Default::default()
        }),
    };
    world.control.update_node(Request::new(request)).await
}

#[tokio::test]
async fn a_demotion_keeps_the_quorum() {
    use node_status::State::Ready;
    let world = World::new(vec![member(1, true), member(2, false), member(3, true)]);
    world
        .put(|tx| tx.create_node(node("m1", NodeRole::Manager, Ready)))
        .await;
    refused(
        demote(&world, "m1").await,
        Code::FailedPrecondition,
        "attempting to demote the last manager of the swarm",
    );
    for id in ["m2", "m3", "m4"] {
        world
            .put(|tx| tx.create_node(node(id, NodeRole::Manager, Ready)))
            .await;
    }
    refused(
        demote(&world, "m4").await,
        Code::NotFound,
        "can't find manager in raft memberlist",
    );
    refused(
        demote(&world, "m3").await,
        Code::FailedPrecondition,
        "can't remove member from the raft: this would result in a loss of quorum",
    );
    ask(demote(&world, "m2").await);
}

#[tokio::test]
async fn only_a_worker_that_is_down_can_be_removed() {
    use node_status::State::{Down, Ready};
    let world = World::new(vec![member(1, true)]);
    world
        .put(|tx| tx.create_node(node("m1", NodeRole::Manager, Ready)))
        .await;
    world
        .put(|tx| tx.create_node(node("up", NodeRole::Worker, Ready)))
        .await;
    world
        .put(|tx| tx.create_node(node("down", NodeRole::Worker, Down)))
        .await;
    let cluster = Cluster {
        id: "c".to_owned(),
        ..Default::default()
    };
    world.put(|tx| tx.create_cluster(cluster)).await;
    let running = TaskStatus {
        state: TaskState::Running.into(),
        ..Default::default()
    };
    let task = Task {
        id: "t1".to_owned(),
        node_id: "up".to_owned(),
        status: Some(running),
        ..Default::default()
    };
    world.put(|tx| tx.create_task(task)).await;
    let remove = |id: &str, force| {
        Request::new(RemoveNodeRequest {
            node_id: id.to_owned(),
            force,
        })
    };
    refused(
        world.control.remove_node(remove("m1", true)).await,
        Code::FailedPrecondition,
        "node m1 is a cluster manager and is a member of the raft cluster. It must be demoted to \
         worker before removal",
    );
    refused(
        world.control.remove_node(remove("up", false)).await,
        Code::FailedPrecondition,
        "node up is not down and can't be removed",
    );
    refused(
        world.control.remove_node(remove("x", false)).await,
        Code::NotFound,
        "node x not found",
    );
    ask(world.control.remove_node(remove("down", false)).await);
    ask(world.control.remove_node(remove("up", true)).await);
    let view = world.store.view();
    assert_eq!(view.nodes().count(), 1);
    assert_eq!(
        view.task("t1").unwrap().observed_state(),
        TaskState::Orphaned
    );
    assert_eq!(
        view.the_cluster().unwrap().blacklisted_certificates.len(),
        2
    );
}

#[tokio::test]
async fn what_raft_knows_of_a_manager_is_shown_with_its_node() {
    let world = World::new(vec![member(1, true)]);
    world
        .put(|tx| tx.create_node(node("m1", NodeRole::Manager, node_status::State::Ready)))
        .await;
    let answer = world
        .control
        .list_nodes(Request::new(ListNodesRequest::default()))
        .await;
    let status = ask(answer).nodes.remove(0).manager_status.unwrap();
    assert!(status.leader);
    assert_eq!(status.addr, "10.0.0.1:2377");
    assert_eq!(world.store.view().node("m1").unwrap().manager_status, None);
}

fn cluster() -> Cluster {
    Cluster {
        id: "c".to_owned(),
        spec: Some(ClusterSpec {
            annotations: named("default"),
            ..Default::default()
        }),
        root_ca: Some(crate::ca::seed::new_root_ca(time::OffsetDateTime::now_utc()).unwrap()),
        ..Default::default()
    }
}

async fn update_cluster(
    world: &World,
    spec: ClusterSpec,
    rotation: KeyRotation,
) -> Result<Response<UpdateClusterResponse>, Status> {
    let request = UpdateClusterRequest {
        cluster_id: "c".to_owned(),
        cluster_version: world
            .store
            .view()
            .cluster("c")
            .unwrap()
            .meta
            .as_ref()
            .unwrap()
            .version,
        spec: Some(spec),
        rotation: Some(rotation),
    };
    world.control.update_cluster(Request::new(request)).await
}

#[tokio::test]
async fn a_cluster_is_shown_without_its_keys_and_with_its_defaults() {
    let world = World::new(vec![]);
    world.put(|tx| tx.create_cluster(cluster())).await;
    let answer = world
        .control
        .list_clusters(Request::new(ListClustersRequest::default()))
        .await;
    let shown = ask(answer).clusters.remove(0);
    assert!(shown.root_ca.as_ref().unwrap().ca_key.is_empty());
    assert!(
        !shown
            .root_ca
            .unwrap()
            .join_tokens
            .unwrap()
            .worker
            .is_empty()
    );
    assert_eq!(shown.default_address_pool, ["10.0.0.0/8"]);
    assert_eq!((shown.subnet_size, shown.vxlanudp_port), (24, 4789));
    assert!(
        !world
            .store
            .view()
            .cluster("c")
            .unwrap()
            .root_ca
            .as_ref()
            .unwrap()
            .ca_key
            .is_empty()
    );
}

#[tokio::test]
async fn cluster_settings_are_checked() {
    let world = World::new(vec![]);
    world.put(|tx| tx.create_cluster(cluster())).await;
    let none = KeyRotation::default();
    let spec = || ClusterSpec {
        annotations: named("default"),
        ..Default::default()
    };
    let seconds = |seconds| Some(Duration { seconds, nanos: 0 });
    refused(
        update_cluster(
            &world,
            ClusterSpec {
                annotations: named("x"),
                ..Default::default()
            },
            none,
        )
        .await,
        Code::InvalidArgument,
        "modification of cluster name is not allowed",
    );
    let short = CaConfig {
        node_cert_expiry: seconds(3599),
        ..Default::default()
    };
    refused(
        update_cluster(
            &world,
            ClusterSpec {
                ca_config: Some(short),
                ..spec()
            },
            none,
        )
        .await,
        Code::InvalidArgument,
        "minimum certificate expiry time is: 1h0m0s",
    );
    let dispatcher = Some(DispatcherConfig {
        heartbeat_period: seconds(-1),
    });
    refused(
        update_cluster(
            &world,
            ClusterSpec {
                dispatcher,
                ..spec()
            },
            none,
        )
        .await,
        Code::InvalidArgument,
        "heartbeat time period cannot be a negative duration",
    );
}

#[tokio::test]
async fn tokens_and_unlock_key_are_rotated_on_request() {
    let world = World::new(vec![]);
    world.put(|tx| tx.create_cluster(cluster())).await;
    let tokens = || {
        let view = world.store.view();
        view.cluster("c")
            .unwrap()
            .root_ca
            .as_ref()
            .unwrap()
            .join_tokens
            .clone()
            .unwrap()
    };
    let before = tokens();
    let spec = ClusterSpec {
        annotations: named("default"),
        encryption_config: Some(EncryptionConfig {
            auto_lock_managers: true,
        }),
        ..Default::default()
    };
    let rotation = KeyRotation {
        worker_join_token: true,
        ..Default::default()
    };
    let shown = ask(update_cluster(&world, spec.clone(), rotation).await)
        .cluster
        .unwrap();
    assert!(shown.unlock_keys.is_empty());
    assert_ne!(tokens().worker, before.worker);
    assert_eq!(tokens().manager, before.manager);
    let key = |world: &World| world.store.view().cluster("c").unwrap().unlock_keys.clone();
    let first = key(&world);
    assert_eq!(first.len(), 1);
    let rotation = KeyRotation {
        manager_unlock_key: true,
        ..Default::default()
    };
    ask(update_cluster(&world, spec, rotation).await);
    assert_ne!(key(&world), first);
}

#[tokio::test]
async fn statuses_count_what_runs_and_what_should() {
    let world = World::new(vec![]);
    let service = world.service(spec("web")).await;
    let global = ServiceSpec {
        mode: Some(Mode::Global(GlobalService {})),
        ..spec("all")
    };
    let global = world.service(global).await;
    let task = |id: &str, service: &str, state: TaskState| Task {
        id: id.to_owned(),
        service_id: service.to_owned(),
        status: Some(TaskStatus {
            state: state.into(),
            ..Default::default()
        }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    };
    for (id, service, state) in [
        ("t1", &service.id, TaskState::Running),
        ("t2", &service.id, TaskState::Pending),
        ("t3", &global.id, TaskState::Running),
    ] {
        world
            .put(|tx| tx.create_task(task(id, service, state)))
            .await;
    }
    let services = vec![service.id, global.id, "gone".to_owned()];
    let request = Request::new(ListServiceStatusesRequest { services });
    let statuses = ask(world.control.list_service_statuses(request).await).statuses;
    let counts: Vec<_> = statuses
        .iter()
        .map(|s| (s.running_tasks, s.desired_tasks))
        .collect();
    assert_eq!(counts, [(1, 2), (1, 1), (0, 0)]);
}

#[tokio::test]
async fn tasks_are_filtered_by_all_their_filters() {
    let world = World::new(vec![]);
    for (id, service, node) in [("t1", "a", "n1"), ("t2", "a", "n2"), ("t3", "b", "n1")] {
        let task = Task {
            id: id.to_owned(),
            service_id: service.to_owned(),
            node_id: node.to_owned(),
            desired_state: TaskState::Running.into(),
            ..Default::default()
        };
        world.put(|tx| tx.create_task(task)).await;
    }
    let check = async |services: &[&str], nodes: &[&str], states: &[TaskState], expect: &[&str]| {
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let filters = list_tasks_request::Filters {
            service_ids: own(services),
            node_ids: own(nodes),
            desired_states: states.iter().map(|state| *state as i32).collect(),
            ..Default::default()
        };
        let request = Request::new(ListTasksRequest {
            filters: Some(filters),
        });
        let tasks = ask(world.control.list_tasks(request).await).tasks;
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids, expect);
    };
    check(&[], &[], &[], &["t1", "t2", "t3"]).await;
    check(&["a"], &[], &[], &["t1", "t2"]).await;
    check(&["a", "a"], &["n1"], &[], &["t1"]).await;
    check(&[], &["n1"], &[TaskState::Running], &["t1", "t3"]).await;
    check(&[], &["n1"], &[TaskState::Shutdown], &[]).await;
}

#[tokio::test]
async fn cluster_volumes_are_refused_with_the_reason() {
    let world = World::new(vec![]);
    refused(
        world
            .control
            .create_volume(Request::new(CreateVolumeRequest::default()))
            .await,
        Code::Unimplemented,
        "cluster volumes need a CSI plugin, and skep does not run CSI plugins",
    );
}

#[tokio::test]
async fn resources_belong_to_an_extension_which_stays_while_they_do() {
    let world = World::new(vec![]);
    let create = |kind: &str| {
        Request::new(CreateResourceRequest {
            annotations: named("r"),
            kind: kind.to_owned(),
            payload: None,
        })
    };
    refused(
        world.control.create_resource(create("kind")).await,
        Code::InvalidArgument,
        "Kind kind is not registered",
    );
    let request = CreateExtensionRequest {
        annotations: named("kind"),
        ..Default::default()
    };
    let extension = ask(world.control.create_extension(Request::new(request)).await)
        .extension
        .unwrap();
    let resource = ask(world.control.create_resource(create("kind")).await)
        .resource
        .unwrap();
    let remove = || {
        Request::new(RemoveExtensionRequest {
            extension_id: extension.id.clone(),
        })
    };
    refused(
        world.control.remove_extension(remove()).await,
        Code::InvalidArgument,
        "extension kind is in use by the following resources: r",
    );
    let request = RemoveResourceRequest {
        resource_id: resource.id,
    };
    ask(world.control.remove_resource(Request::new(request)).await);
    ask(world.control.remove_extension(remove()).await);
}
