//! Workers that ask for what is not theirs, and nodes that are members no more. Every method's
//! roles are tested against the whole table in skep-rpc; this is about what a role alone does not
//! decide.

use std::collections::BTreeSet;

use skep_objects::swarmkit::{
    AssignmentsMessage, CreateSecretRequest, DetachNetworkRequest, JoinRequest,
    ListenSubscriptionsRequest, LogContext, LogMessage, LogSelector, LogSubscriptionOptions,
    Placement, PublishLogsMessage, RemoveNodeRequest, SecretReference, SecretSpec,
    SubscribeLogsRequest, WatchRequest,
};
use skep_rpc::swarmkit::{
    ca_client::CaClient, control_client::ControlClient, log_broker_client::LogBrokerClient,
    logs_client::LogsClient, raft_membership_client::RaftMembershipClient,
    resource_allocator_client::ResourceAllocatorClient, watch_client::WatchClient,
};
use tonic::{Streaming, transport::Channel};

use super::*;

/// A worker, its way to the manager, and its session.
struct Worker {
    identity: NodeIdentity,
    channel: Channel,
    session: String,
    messages: Streaming<skep_objects::swarmkit::SessionMessage>,
}

impl Worker {
    async fn join(world: &World) -> Self {
        let identity = NodeIdentity::new(world.join(false).await);
        let addr = world.manager.listen_addr().to_string();
        let channel = skep_rpc::connect(&addr, &identity).await.unwrap();
        let request = SessionRequest {
            description: Some(NodeDescription::default()),
            session_id: String::new(),
        };
        let mut dispatcher = DispatcherClient::new(channel.clone());
        let mut messages = dispatcher.session(request).await.unwrap().into_inner();
        let session = messages.message().await.unwrap().unwrap().session_id;
        Self {
            identity,
            channel,
            session,
            messages,
        }
    }

    fn id(&self) -> &str {
        self.identity.node_id()
    }

    fn dispatcher(&self) -> DispatcherClient<Channel> {
        DispatcherClient::new(self.channel.clone())
    }

    async fn assignments(&self) -> Streaming<AssignmentsMessage> {
        let request = AssignmentsRequest {
            session_id: self.session.clone(),
        };
        let answer = self.dispatcher().assignments(request).await;
        answer.unwrap().into_inner()
    }

    async fn report(&self, task: &str) -> Result<(), tonic::Status> {
        let status = TaskStatus {
            state: TaskState::Failed.into(),
            ..Default::default()
        };
        let update = TaskStatusUpdate {
            task_id: task.to_owned(),
            status: Some(status),
        };
        let request = UpdateTaskStatusRequest {
            session_id: self.session.clone(),
            updates: vec![update],
        };
        let answer = self.dispatcher().update_task_status(request).await;
        answer.map(|_| ())
    }
}

/// A service that runs on one node only, with a secret of its own.
async fn service_with_secret(world: &World, name: &str, node: &str) {
    let control = world.manager.control();
    let spec = SecretSpec {
        annotations: Some(Annotations {
            name: name.to_owned(),
            ..Default::default()
        }),
        data: b"hush".to_vec(),
        ..Default::default()
    };
    let request = Request::new(CreateSecretRequest { spec: Some(spec) });
    let answer = control.create_secret(request).await.unwrap().into_inner();
    let reference = SecretReference {
        secret_id: answer.secret.unwrap().id,
        secret_name: name.to_owned(),
        target: Some(skep_objects::swarmkit::secret_reference::Target::File(
            skep_objects::swarmkit::FileTarget {
                name: name.to_owned(),
                ..Default::default()
            },
        )),
    };
    let mut spec = web();
    spec.annotations.as_mut().unwrap().name = name.to_owned();
    let task = spec.task.as_mut().unwrap();
    if let Some(Runtime::Container(container)) = &mut task.runtime {
        container.secrets = vec![reference];
    }
    task.placement = Some(Placement {
        constraints: vec![format!("node.id=={node}")],
        ..Default::default()
    });
    let request = Request::new(CreateServiceRequest { spec: Some(spec) });
    control.create_service(request).await.unwrap();
}

/// `(kind, node of the task or name of the secret)` of everything in a message.
fn contents(message: &AssignmentsMessage) -> BTreeSet<(&'static str, String)> {
    let items = message.changes.iter().filter_map(|change| {
        match change.assignment.as_ref()?.item.as_ref()? {
            Item::Task(task) => Some(("task", task.node_id.to_string())),
            Item::Secret(secret) => {
                let annotations = secret.spec.as_ref()?.annotations.as_ref()?;
                Some(("secret", annotations.name.clone()))
            }
            Item::Config(_) | Item::Volume(_) => Some(("other", String::new())),
        }
    });
    items.collect()
}

#[track_caller]
fn denied<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) {
    assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_gets_its_own_assignments_and_reports_for_its_own_tasks_only() {
    within(async {
        let world = founded().await;
        let (good, bad) = (Worker::join(&world).await, Worker::join(&world).await);
        service_with_secret(&world, "mine", good.id()).await;
        service_with_secret(&world, "yours", bad.id()).await;
        let task = world
            .task(|task| task.node_id == good.id() && task.observed_state() >= TaskState::Assigned)
            .await;
        world
            .task(|task| task.node_id == bad.id() && task.observed_state() >= TaskState::Assigned)
            .await;
        let mut given = BTreeSet::new();
        let mut stream = bad.assignments().await;
        while given.len() < 2 {
            given.extend(contents(&stream.message().await.unwrap().unwrap()));
        }
        let own = [
            ("secret", "yours".to_owned()),
            ("task", bad.id().to_owned()),
        ];
        assert_eq!(given, BTreeSet::from(own));

        denied(bad.report(&task.id).await);
        assert_eq!(
            world
                .manager
                .store()
                .view()
                .task(&task.id)
                .unwrap()
                .observed_state(),
            task.observed_state()
        );
        // Another node's session is no key to what is that node's.
        let session_id = good.session.clone();
        let answer = bad
            .dispatcher()
            .assignments(AssignmentsRequest {
                session_id: session_id.clone(),
            })
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
        let answer = bad
            .dispatcher()
            .heartbeat(HeartbeatRequest { session_id })
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
        good.report(&task.id).await.unwrap();
        world.manager.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cannot_act_as_a_manager_or_for_another_node() {
    within(async {
        let world = founded().await;
        let (good, bad) = (Worker::join(&world).await, Worker::join(&world).await);
        let channel = || bad.channel.clone();
        denied(
            ControlClient::new(channel())
                .list_nodes(ListNodesRequest::default())
                .await,
        );
        denied(
            RaftMembershipClient::new(channel())
                .join(JoinRequest::default())
                .await,
        );
        denied(
            WatchClient::new(channel())
                .watch(WatchRequest::default())
                .await,
        );
        denied(
            LogsClient::new(channel())
                .subscribe_logs(SubscribeLogsRequest::default())
                .await,
        );
        denied(
            CaClient::new(channel())
                .get_unlock_key(skep_objects::swarmkit::GetUnlockKeyRequest::default())
                .await,
        );
        // Saying that a manager called does not make it so, nor does saying that another node did.
        for (role, node) in [
            ("swarm-manager", world.manager.node_id()),
            ("swarm-worker", good.id()),
        ] {
            let mut request = Request::new(HeartbeatRequest {
                session_id: good.session.clone(),
            });
            let metadata = request.metadata_mut();
            metadata.insert("forwarded_cert", "true".parse().unwrap());
            metadata.insert("forwarded_cert_cn", node.parse().unwrap());
            let org = good.identity.cluster_id().parse().unwrap();
            metadata.insert("forwarded_cert_org", org);
            metadata.insert("forwarded_cert_ou", role.parse().unwrap());
            denied(bad.dispatcher().heartbeat(request).await);
        }
        let request = DetachNetworkRequest {
            attachment_id: attachment_of(&world, &good).await,
        };
        denied(
            ResourceAllocatorClient::new(channel())
                .detach_network(request)
                .await,
        );
        world.manager.stop().await;
    })
    .await;
}

/// A task that stands for a container of the node on an attachable network.
async fn attachment_of(world: &World, node: &Worker) -> String {
    use skep_objects::swarmkit::{NetworkAttachmentSpec, TaskSpec};
    let task = Task {
        id: "attachment1".to_owned(),
        node_id: node.id().into(),
        spec: Some(
            TaskSpec {
                runtime: Some(Runtime::Attachment(NetworkAttachmentSpec::default())),
                ..Default::default()
            }
            .into(),
        ),
        ..Default::default()
    };
    let created = world
        .manager
        .store()
        .update(|tx| tx.create_task(task).map(|_| ()));
    created.await.unwrap();
    "attachment1".to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_hears_of_no_other_nodes_logs_and_writes_into_none() {
    within(async {
        let world = founded().await;
        let (good, bad) = (Worker::join(&world).await, Worker::join(&world).await);
        service_with_secret(&world, "mine", good.id()).await;
        let task = world
            .task(|task| task.node_id == good.id() && task.observed_state() >= TaskState::Assigned)
            .await;
        let mut listening = Vec::new();
        for worker in [&good, &bad] {
            let mut client = LogBrokerClient::new(worker.channel.clone());
            let request = ListenSubscriptionsRequest::default();
            listening.push(
                client
                    .listen_subscriptions(request)
                    .await
                    .unwrap()
                    .into_inner(),
            );
        }
        let local = skep_rpc::connect_local(&world.manager.local_dialer()).unwrap();
        let request = SubscribeLogsRequest {
            selector: Some(LogSelector {
                service_ids: vec![task.service_id.to_string()],
                ..Default::default()
            }),
            // Nodes whose tasks have not run yet are asked only by who follows.
            options: Some(LogSubscriptionOptions {
                follow: true,
                ..Default::default()
            }),
        };
        let mut lines = LogsClient::new(local)
            .subscribe_logs(request)
            .await
            .unwrap()
            .into_inner();
        let asked = listening[0].message().await.unwrap().unwrap();
        let publish = |worker: &Worker, node: &str| {
            let context = LogContext {
                service_id: task.service_id.to_string(),
                task_id: task.id.clone(),
                node_id: node.to_owned(),
            };
            let message = PublishLogsMessage {
                subscription_id: asked.id.clone(),
                messages: vec![LogMessage {
                    context: Some(context),
                    data: b"line".to_vec(),
                    ..Default::default()
                }],
                close: true,
            };
            let mut client = LogBrokerClient::new(worker.channel.clone());
            async move { client.publish_logs(tokio_stream::once(message)).await }
        };
        for node in [bad.id(), good.id()] {
            let refused = publish(&bad, node).await.unwrap_err();
            assert_eq!(refused.message(), "no such subscription");
        }
        denied(publish(&good, bad.id()).await);
        publish(&good, good.id()).await.unwrap();
        let heard = lines.message().await.unwrap().unwrap();
        assert_eq!(
            heard.messages[0].context.as_ref().unwrap().node_id,
            good.id()
        );
        let told = tokio::time::timeout(Wait::from_millis(50), listening[1].message()).await;
        assert!(told.is_err(), "{told:?}");
        world.manager.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_refused_at_once_and_its_streams_end() {
    within(async {
        let world = founded().await;
        let mut worker = Worker::join(&world).await;
        let mut assignments = worker.assignments().await;
        assignments.message().await.unwrap().unwrap();
        let mut logs = LogBrokerClient::new(worker.channel.clone())
            .listen_subscriptions(ListenSubscriptionsRequest::default())
            .await
            .unwrap()
            .into_inner();
        let request = RemoveNodeRequest {
            node_id: worker.id().to_owned(),
            force: true,
        };
        let control = world.manager.control();
        control.remove_node(Request::new(request)).await.unwrap();
        while worker.messages.message().await.is_ok_and(|m| m.is_some()) {}
        while assignments.message().await.is_ok_and(|m| m.is_some()) {}
        while logs.message().await.is_ok_and(|m| m.is_some()) {}
        let beat = HeartbeatRequest {
            session_id: worker.session.clone(),
        };
        denied(worker.dispatcher().heartbeat(beat).await);
        let request = SessionRequest::default();
        denied(worker.dispatcher().session(request).await);
        // Its certificate, though not expired, gets it no new one.
        let roots = worker.identity.current();
        let renewed = bootstrap::renew(
            worker.channel.clone(),
            Some(&world.manager.listen_addr().to_string()),
            roots.roots(),
        )
        .await;
        assert!(renewed.is_err());
        let view = world.manager.store().view();
        let cluster = view.the_cluster().unwrap();
        let entry = &cluster.blacklisted_certificates[worker.id()];
        assert!(entry.expiry.is_some());
        world.manager.stop().await;
    })
    .await;
}
