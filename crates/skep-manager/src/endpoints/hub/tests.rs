use skep_objects::{
    skep_v1::TaskEndpoint,
    swarmkit::{
        Annotations, Endpoint, EndpointSpec, Network, NetworkAttachment, NetworkAttachmentConfig,
        NetworkSpec, NodeStatus, PortConfig, ServiceSpec, TaskSpec, TaskState, TaskStatus,
        endpoint::VirtualIp, node_status::State,
    },
};
use skep_store::{Store, Tx, TxError, Watch};

use super::{drains::DRAIN_LIMIT, *};
use skep_objects::swarmkit::{EngineDescription, Node, NodeDescription, Service, Task};

struct World {
    store: Store,
    watch: Watch,
    hub: Hub,
    now: Instant,
}

/// What a message says, one word a fact.
fn words(message: &EndpointsMessage) -> String {
    let mut words = Vec::new();
    if message.complete {
        words.push("complete".to_owned());
    }
    for network in &message.networks {
        let mark = match (network.complete, network.gone) {
            (true, _) => "!",
            (_, true) => "-",
            _ => "",
        };
        words.push(format!("{}{mark}:", network.network_id));
        words.extend(
            network
                .set_services
                .iter()
                .map(|service| format!("+{}", service.service_id)),
        );
        words.extend(network.removed_services.iter().map(|id| format!("-{id}")));
        let rotation = |task: &TaskEndpoint| if task.in_rotation { "*" } else { "" };
        words.extend(
            network
                .set_tasks
                .iter()
                .map(|task| format!("+{}{}", task.task_id, rotation(task))),
        );
        words.extend(network.removed_tasks.iter().map(|id| format!("-{id}")));
        words.extend(
            network
                .set_nodes
                .iter()
                .map(|node| format!("+{}", node.node_id)),
        );
        words.extend(network.removed_nodes.iter().map(|id| format!("-{id}")));
    }
    words.extend(
        message
            .drained_tasks
            .iter()
            .map(|task| format!("drained {task}")),
    );
    words.join(" ")
}

impl World {
    /// Two networks `a` and `b`, the mesh `in`, three nodes with addresses on the mesh.
    async fn new() -> Self {
        let store = Store::in_memory();
        for (id, ingress) in [("a", false), ("b", false), ("in", true)] {
            store
                .update(|tx| tx.create_network(network(id, ingress)))
                .await
                .unwrap();
        }
        for id in ["n1", "n2", "n3"] {
            store.update(|tx| tx.create_node(node(id))).await.unwrap();
        }
        let (view, watch) = store.watch();
        let now = Instant::now();
        Self {
            store,
            watch,
            hub: Hub::load(view, now),
            now,
        }
    }

    async fn put<T>(&mut self, change: impl FnOnce(&mut Tx) -> Result<T, TxError>) {
        self.store.update(change).await.map(drop).unwrap();
        let commit = self.watch.recv_commit().await.unwrap();
        self.hub.follow(&commit, self.now);
    }

    /// A task in this state on a node and networks.
    async fn task(&mut self, id: &str, node: &str, networks: &[&str], state: TaskState) {
        let attachment = |network: &&str| NetworkAttachment {
            network: Some(
                Network {
                    id: (*network).to_owned(),
                    ..Default::default()
                }
                .into(),
            ),
            addresses: vec!["10.0.1.5/24".to_owned()],
            ..Default::default()
        };
        let task = Task {
            id: id.to_owned(),
            node_id: node.into(),
            networks: networks.iter().map(attachment).collect(),
            status: Some(TaskStatus {
                state: state.into(),
                ..Default::default()
            }),
            desired_state: TaskState::Running.into(),
            ..Default::default()
        };
        self.put(|tx| tx.create_task(task)).await;
    }

    async fn observe(&mut self, id: &str, state: TaskState) {
        let change = |task: &mut Task| task.status.get_or_insert_default().state = state.into();
        self.put(|tx| tx.edit_task(id, change)).await;
    }

    async fn want(&mut self, id: &str, state: TaskState) {
        self.put(|tx| tx.edit_task(id, |task| task.desired_state = state.into()))
            .await;
    }

    /// What goes out now.
    fn sent(&mut self) -> Vec<(StreamId, String)> {
        self.hub
            .messages()
            .iter()
            .map(|(id, message)| (*id, words(message)))
            .collect()
    }

    fn said(&mut self, expect: &[(StreamId, &str)]) {
        let sent = self.sent();
        let sent: Vec<_> = sent
            .iter()
            .map(|(id, words)| (*id, words.as_str()))
            .collect();
        assert_eq!(sent, expect);
    }

    /// Sends and acknowledges until nothing is left.
    fn settle(&mut self) {
        loop {
            let messages = self.hub.messages();
            if messages.is_empty() {
                return;
            }
            for (id, message) in messages {
                self.hub.acknowledge(id, message.sequence);
            }
        }
    }
}

fn network(id: &str, ingress: bool) -> Network {
    let annotations = Annotations {
        name: id.to_owned(),
        ..Default::default()
    };
    let spec = NetworkSpec {
        annotations: Some(annotations),
        ingress,
        ..Default::default()
    };
    Network {
        id: id.to_owned(),
        spec: Some(spec),
        ..Default::default()
    }
}

fn node(id: &str) -> Node {
    let attachment = NetworkAttachment {
        network: Some(network("in", true).into()),
        addresses: vec!["10.0.0.9/24".to_owned()],
        ..Default::default()
    };
    Node {
        id: id.to_owned(),
        status: Some(NodeStatus {
            state: State::Ready.into(),
            addr: format!("192.168.0.{id}"),
            ..Default::default()
        }),
        attachments: vec![attachment],
        ..Default::default()
    }
}

fn service(id: &str, vips: &[(&str, &str)]) -> Service {
    let vip = |(network, addr): &(&str, &str)| VirtualIp {
        network_id: (*network).to_owned(),
        addr: (*addr).to_owned(),
    };
    let annotations = Annotations {
        name: id.to_owned(),
        ..Default::default()
    };
    Service {
        id: id.to_owned(),
        spec: Some(ServiceSpec {
            annotations: Some(annotations),
            ..Default::default()
        }),
        endpoint: Some(
            Endpoint {
                ports: vec![PortConfig {
                    published_port: 80,
                    ..Default::default()
                }],
                virtual_ips: vips.iter().map(vip).collect(),
                ..Default::default()
            }
            .into(),
        ),
        ..Default::default()
    }
}

const RUNNING: TaskState = TaskState::Running;

#[tokio::test]
async fn a_node_gets_the_mesh_and_the_networks_of_its_tasks() {
    let mut world = World::new().await;
    world.task("t1", "n1", &["a"], RUNNING).await;
    world.task("t2", "n2", &["b"], RUNNING).await;
    let one = world.hub.open("n1");
    let three = world.hub.open("n3");
    world.said(&[
        (one, "complete a!: +t1* in!: +n1 +n2 +n3"),
        (three, "complete in!: +n1 +n2 +n3"),
    ]);
    world.task("t3", "n3", &["a"], TaskState::Assigned).await;
    world.said(&[(one, "a: +t3"), (three, "a!: +t1* +t3")]);
    world.observe("t3", TaskState::Failed).await;
    world.said(&[(one, "a: -t3"), (three, "a-:")]);
    world.observe("t2", TaskState::Failed).await;
    world.said(&[]);
}

#[tokio::test]
async fn a_task_is_in_rotation_while_it_runs_and_is_to_run_on_a_node_that_is_there() {
    let mut world = World::new().await;
    world.task("t1", "n1", &["a"], TaskState::Starting).await;
    world.task("t2", "n2", &["a"], RUNNING).await;
    let two = world.hub.open("n2");
    world.said(&[(two, "complete a!: +t1 +t2* in!: +n1 +n2 +n3")]);
    world.observe("t1", RUNNING).await;
    world.said(&[(two, "a: +t1*")]);
    world
        .put(|tx| {
            tx.edit_node("n1", |node| {
                node.status.as_mut().unwrap().state = State::Down.into()
            })
        })
        .await;
    world.said(&[(two, "a: +t1")]);
    world
        .put(|tx| {
            tx.edit_node("n1", |node| {
                node.status.as_mut().unwrap().state = State::Ready.into()
            })
        })
        .await;
    world.hub.acknowledge(two, 3);
    world.said(&[(two, "a: +t1*")]);
    world.want("t1", TaskState::Complete).await;
    world.said(&[]);
    world.want("t1", TaskState::Shutdown).await;
    world.hub.acknowledge(two, 4);
    world.said(&[(two, "a: +t1")]);
}

#[tokio::test]
async fn services_are_shown_where_they_have_an_address_and_their_ports_on_the_mesh_only() {
    let mut world = World::new().await;
    world.task("t1", "n1", &["a"], RUNNING).await;
    world
        .put(|tx| {
            tx.create_service(service(
                "s1",
                &[("a", "10.0.1.2/24"), ("in", "10.0.0.2/24")],
            ))
        })
        .await;
    let one = world.hub.open("n1");
    let messages = world.hub.messages();
    let networks = &messages[0].1.networks;
    let on = |id: &str| {
        networks
            .iter()
            .find(|network| network.network_id == id)
            .unwrap()
    };
    assert_eq!(on("a").set_services[0].virtual_ips, ["10.0.1.2"]);
    assert!(on("a").set_services[0].ports.is_empty());
    assert_eq!(on("in").set_services[0].ports.len(), 1);
    world
        .put(|tx| {
            tx.edit_service("s1", |service| {
                service.endpoint = self::service("", &[("in", "10.0.0.2/24")]).endpoint
            })
        })
        .await;
    world.said(&[(one, "a: -s1")]);
    world.put(|tx| tx.remove_service("s1")).await;
    world.said(&[(one, "in: -s1")]);
}

#[tokio::test]
async fn a_round_robin_service_needs_no_address() {
    let mut world = World::new().await;
    let mut round_robin = service("s1", &[]);
    let spec = round_robin.spec.as_mut().unwrap();
    spec.endpoint = Some(EndpointSpec {
        mode: 1,
        ports: vec![],
    });
    let target = "a".to_owned();
    let networks = vec![NetworkAttachmentConfig {
        target,
        ..Default::default()
    }];
    spec.task = Some(
        TaskSpec {
            networks,
            ..Default::default()
        }
        .into(),
    );
    world.put(|tx| tx.create_service(round_robin)).await;
    world.task("t1", "n1", &["a"], RUNNING).await;
    let one = world.hub.open("n1");
    world.said(&[(one, "complete a!: +s1 +t1* in!: +n1 +n2 +n3")]);
}

#[tokio::test]
async fn a_task_is_drained_once_the_other_nodes_of_its_network_know() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    let (one, two, three) = (
        world.hub.open("n1"),
        world.hub.open("n2"),
        world.hub.open("n3"),
    );
    world.settle();
    world.want("t1", TaskState::Shutdown).await;
    world.said(&[(one, "a: +t1"), (two, "a: +t1")]);
    world.hub.acknowledge(one, 2);
    world.hub.acknowledge(three, 2);
    world.said(&[]);
    world.hub.acknowledge(two, 2);
    world.said(&[(one, "drained t1")]);
    world.want("t1", TaskState::Remove).await;
    world.said(&[]);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_waited_for_two_seconds() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    let (one, two) = (world.hub.open("n1"), world.hub.open("n2"));
    world.settle();
    world.want("t1", TaskState::Shutdown).await;
    world.sent();
    world.hub.close(two);
    assert_eq!(world.hub.next_limit(), Some(world.now + DRAIN_LIMIT));
    world.hub.expire(world.now + DRAIN_LIMIT / 2);
    world.said(&[]);
    world.hub.expire(world.now + DRAIN_LIMIT);
    world.said(&[(one, "drained t1")]);
}

#[tokio::test]
async fn a_node_that_is_down_is_not_waited_for() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    let (one, _two) = (world.hub.open("n1"), world.hub.open("n2"));
    world.settle();
    world.want("t1", TaskState::Shutdown).await;
    world.sent();
    world
        .put(|tx| {
            tx.edit_node("n2", |node| {
                node.status.as_mut().unwrap().state = State::Down.into()
            })
        })
        .await;
    let sent = world.sent();
    assert_eq!(sent[0], (one, "a: +t2 drained t1".to_owned()));
}

#[tokio::test]
async fn a_node_that_comes_back_is_told_everything_again() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    let (_, two) = (world.hub.open("n1"), world.hub.open("n2"));
    world.settle();
    world.want("t1", TaskState::Shutdown).await;
    world.sent();
    world.hub.close(two);
    let again = world.hub.open("n2");
    world.said(&[(again, "complete a!: +t1 +t2* in!: +n1 +n2 +n3")]);
    world.hub.acknowledge(two, 9);
    world.said(&[]);
    world.hub.acknowledge(again, 1);
    assert_eq!(world.sent().len(), 1);
    let one = world.hub.open("n1");
    world.said(&[(one, "complete a!: +t1 +t2* in!: +n1 +n2 +n3 drained t1")]);
}

#[tokio::test]
async fn with_nobody_else_there_a_task_is_drained_at_once() {
    let mut world = World::new().await;
    world.task("t1", "n1", &["a"], RUNNING).await;
    let one = world.hub.open("n1");
    world.settle();
    world.want("t1", TaskState::Shutdown).await;
    world.said(&[(one, "a: +t1 drained t1")]);
}

#[tokio::test]
async fn a_slow_node_gets_what_is_left_in_one_message() {
    let mut world = World::new().await;
    world.task("t0", "n1", &["a"], RUNNING).await;
    let one = world.hub.open("n1");
    world.sent();
    for number in 1..10 {
        world
            .task(&format!("t{number}"), "n2", &["a"], RUNNING)
            .await;
        world.sent();
    }
    world.put(|tx| tx.remove_task("t9")).await;
    world.said(&[]);
    world.hub.acknowledge(one, 1);
    world.said(&[(one, "a: +t4* +t5* +t6* +t7* +t8* -t9")]);
}

#[tokio::test]
async fn the_mesh_comes_and_goes_with_its_network() {
    let mut world = World::new().await;
    let one = world.hub.open("n1");
    world.settle();
    world.put(|tx| tx.remove_network("in")).await;
    world.said(&[(one, "in-:")]);
    world
        .put(|tx| tx.create_network(network("new", true)))
        .await;
    world.said(&[(one, "new!:")]);
}

impl World {
    /// The nodes run skep: they are to listen.
    async fn run_skep(&mut self, nodes: &[&str]) {
        for id in nodes {
            let labels = [(skep_objects::DATA_PATH_LABEL.to_owned(), String::new())];
            let engine = EngineDescription {
                labels: labels.into(),
                ..Default::default()
            };
            let description = NodeDescription {
                engine: Some(engine),
                ..Default::default()
            };
            self.put(|tx| tx.edit_node(id, |node| node.description = Some(description)))
                .await;
        }
    }

    /// Another manager leads from now on: nobody listens to it yet.
    fn change_leader(&mut self) {
        let (view, watch) = self.store.watch();
        self.watch = watch;
        self.hub = Hub::load(view, self.now);
    }
}

#[tokio::test]
async fn after_a_change_of_leader_nodes_that_are_to_listen_are_waited_for() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    world.run_skep(&["n1", "n2", "n3"]).await;
    world.want("t1", TaskState::Shutdown).await;
    world.change_leader();
    let one = world.hub.open("n1");
    world.said(&[(one, "complete a!: +t1 +t2* in!: +n1 +n2 +n3")]);
    let two = world.hub.open("n2");
    world.sent();
    world.hub.acknowledge(two, 1);
    world.said(&[(one, "drained t1")]);
}

#[tokio::test]
async fn a_dockerd_never_listens_and_is_not_waited_for() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    world.run_skep(&["n1"]).await;
    let one = world.hub.open("n1");
    world.settle();
    world.want("t1", TaskState::Shutdown).await;
    world.said(&[(one, "a: +t1 drained t1")]);
}

#[tokio::test]
async fn a_withdrawn_task_leaves_rotation_and_is_drained() {
    let mut world = World::new().await;
    for (id, node) in [("t1", "n1"), ("t2", "n2")] {
        world.task(id, node, &["a"], RUNNING).await;
    }
    let (one, two) = (world.hub.open("n1"), world.hub.open("n2"));
    world.settle();
    let tasks = ["t1", "t2", "t9"].map(str::to_owned);
    world.hub.withdraw(one, &tasks, world.now);
    // Somebody else's stays, and nothing is said of it; one that is not there takes no traffic.
    world.said(&[(one, "a: +t1 drained t9"), (two, "a: +t1")]);
    world.hub.acknowledge(two, 2);
    world.said(&[(one, "drained t1")]);
    world.observe("t1", TaskState::Failed).await;
    assert!(world.hub.withdrawn.is_empty());
}

#[tokio::test]
async fn invented_tasks_do_not_pile_up_for_a_node_that_withdraws_them() {
    let mut world = World::new().await;
    world.task("t2", "n2", &["a"], RUNNING).await;
    let one = world.hub.open("n1");
    world.settle();
    world.hub.withdraw(one, &["t2".to_owned()], world.now);
    world.said(&[]);
    let invented: Vec<String> = (0..5000).map(|number| format!("x{number}")).collect();
    world.hub.withdraw(one, &invented, world.now);
    let (_, message) = world.hub.messages().remove(0);
    assert_eq!(message.drained_tasks.len(), 1024);
}
