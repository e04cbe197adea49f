//! What a manager costs: `cargo xtask bench manager`.
//!
//! An in-memory store is filled by the leader's own loops: services of an overlay network, their
//! tasks assigned to 1,000 nodes and reported as running. Then the control API and the conversion
//! to JSON are timed as the HTTP API uses them, and the process's memory is read from `/proc`. The same
//! lists over HTTP, beside dockerd: `cargo xtask bench cluster`. What one event costs the leader's
//! loops is in `events`, which the argument of that name shows alone. `SKEP_BENCH_QUICK=1` is for a look.

mod events;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use prost::Message as _;
use skep::http::convert;
use skep_manager::clock::{Clock, Now};
use skep_manager::control::{ControlServer, Member, Members};
use skep_manager::loops::Stages;
use skep_manager::usage::UsageBook;
use skep_objects::ids::new_id;
use skep_objects::swarmkit::{
    Annotations, Cluster, ContainerSpec, ContainerStatus, GetServiceRequest, GetTaskRequest,
    IpamConfig, IpamOptions, ListServiceStatusesRequest, ListServicesRequest, ListTasksRequest,
    Network, NetworkAttachmentConfig, NetworkSpec, Node, NodeDescription, NodeSpec, NodeStatus,
    Platform, ReplicatedService, Resources, Service, ServiceSpec, Task, TaskSpec, TaskState,
    Version, node_spec::Membership, node_status, service_spec::Mode, task_spec::Runtime,
    task_status::RuntimeStatus,
};
use skep_rpc::swarmkit::control_server::Control;
use skep_store::{Store, Tx, TxError, View};
use tonic::Request;

const NODES: usize = 1_000;

struct Alone;

impl Members for Alone {
    fn all(&self) -> Vec<Member> {
        Vec::new()
    }

    fn can_remove(&self, _raft_id: u64) -> bool {
        false
    }
}

fn main() {
    let quick = std::env::var_os("SKEP_BENCH_QUICK").is_some();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(TOLD) => {
            let path = arguments.next().expect("a file");
            be_told(&runtime, &path).expect("objects of a file");
            return;
        }
        Some("events") => return events::rows(&runtime, quick),
        _ => {}
    }
    println!("{:<52} {:>12}  goal", "what", "");
    // In a fresh process: memory that was freed before would be used again, and not be counted.
    memory(&runtime, if quick { 20 } else { 100 }, 1_000);
    let (services, replicas) = if quick { (50, 20) } else { (500, 20) };
    let few = filled(&runtime, 200, 1).0;
    time_list(&runtime, &few, "2 ms");
    drop(few);
    let (store, _) = filled(&runtime, services, replicas);
    time_list(&runtime, &store, "");
    time_answers(&runtime, &store);
    drop(store);
    events::rows(&runtime, quick);
}

fn row(what: &str, figure: &str, goal: &str) {
    println!("{what:<52} {figure:>12}  {goal}");
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The median of several runs.
fn timed(mut run: impl FnMut()) -> String {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    milliseconds(times[times.len() / 2])
}

fn control(store: &Store) -> ControlServer {
    ControlServer::new(store.clone(), std::sync::Arc::new(Alone))
}

fn services(runtime: &tokio::runtime::Runtime, control: &ControlServer) -> Vec<Service> {
    let request = Request::new(ListServicesRequest::default());
    let answer = runtime.block_on(control.list_services(request));
    answer.expect("services").into_inner().services
}

fn time_list(runtime: &tokio::runtime::Runtime, store: &Store, goal: &str) {
    let control = control(store);
    let list = timed(|| {
        let rows: Vec<_> = services(runtime, &control)
            .iter()
            .map(convert::service::from_service)
            .collect();
        drop(serde_json::to_vec(&rows).expect("JSON"));
    });
    let count = store.view().services().count();
    row(&format!("list {count} services"), &list, goal);
}

fn time_answers(runtime: &tokio::runtime::Runtime, store: &Store) {
    let control = control(store);
    let ids: Vec<String> = store.view().services().map(|s| s.id.clone()).collect();
    let service = ids[0].clone();
    let (all, tasks) = (ids.len(), store.view().tasks().count());
    let statuses = timed(|| {
        let request = ListServiceStatusesRequest {
            services: ids.clone(),
        };
        let answer = runtime.block_on(control.list_service_statuses(Request::new(request)));
        drop(answer.expect("statuses"));
    });
    row("and how many tasks of each run", &statuses, "");
    let list_tasks = timed(|| {
        let request = Request::new(ListTasksRequest::default());
        let answer = runtime.block_on(control.list_tasks(request));
        let tasks = answer.expect("tasks").into_inner().tasks;
        let rows: Vec<_> = tasks.iter().map(convert::task::from_task).collect();
        drop(serde_json::to_vec(&rows).expect("JSON"));
    });
    row(&format!("list {tasks} tasks"), &list_tasks, "");
    let inspect_service = timed(|| {
        let request = GetServiceRequest {
            service_id: service.clone(),
            ..Default::default()
        };
        let answer = runtime.block_on(control.get_service(Request::new(request)));
        let found = answer.expect("a service").into_inner().service;
        let shown = convert::service::from_service(&found.expect("a service"));
        drop(serde_json::to_vec(&shown).expect("JSON"));
    });
    row(
        &format!("inspect one of {all} services"),
        &inspect_service,
        "",
    );
    let task = store.view().tasks().next().expect("a task").id.clone();
    let inspect_task = timed(|| {
        let request = GetTaskRequest {
            task_id: task.clone(),
        };
        let answer = runtime.block_on(control.get_task(Request::new(request)));
        let found = answer.expect("a task").into_inner().task;
        let shown = convert::task::from_task(&found.expect("a task"));
        drop(serde_json::to_vec(&shown).expect("JSON"));
    });
    row(&format!("inspect one of {tasks} tasks"), &inspect_task, "");
}

/// What each task adds: to a manager that is told of it, as followers are, and to a leader that made
/// it, with what the leader's loops remember.
fn memory(runtime: &tokio::runtime::Runtime, services: usize, replicas: u64) {
    let before = resident_bytes();
    let (leader, stages) = filled(runtime, services, replicas);
    let tasks = leader.view().tasks().count();
    let of_leader = resident_bytes().saturating_sub(before) / tasks.max(1);
    drop(stages);
    let file = tempfile::NamedTempFile::new().expect("a file");
    write_objects(&leader.view(), file.path()).expect("objects in a file");
    // Another process: what this one freed would be used again, and not be counted.
    let program = std::env::current_exe().expect("this program");
    let told = Command::new(program).arg(TOLD).arg(file.path()).output();
    let told = String::from_utf8(told.expect("a manager").stdout).expect("text");
    row(
        &format!("memory of a manager, each of {tasks} tasks"),
        &format!("{} B", told.trim()),
        "1024 B",
    );
    let what = "of the leader, with what its loops know and used";
    row(what, &format!("{of_leader} B"), "");
}

/// First argument of the process that is told of a swarm.
const TOLD: &str = "told";

/// Objects as followers get them: a byte for the kind, four for the length, the message.
fn write_objects(view: &View, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut write = |kind: u8, bytes: Vec<u8>| {
        let length = u32::try_from(bytes.len()).expect("no large objects");
        out.write_all(&[kind])?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&bytes)
    };
    for network in view.networks() {
        write(0, network.encode_to_vec())?;
    }
    for node in view.nodes() {
        write(3, node.encode_to_vec())?;
    }
    for service in view.services() {
        write(1, service.encode_to_vec())?;
    }
    for task in view.tasks() {
        write(2, task.encode_to_vec())?;
    }
    out.flush()
}

/// Reads a swarm's objects into a store, and prints what each task took.
fn be_told(runtime: &tokio::runtime::Runtime, path: &str) -> std::io::Result<()> {
    let mut input = BufReader::new(File::open(path)?);
    let store = Store::in_memory();
    let mut before = None;
    let mut next = |bytes: &mut Vec<u8>| -> Option<u8> {
        let mut head = [0; 5];
        input.read_exact(&mut head).ok()?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        bytes.resize(usize::try_from(length).ok()?, 0);
        input.read_exact(bytes).ok()?;
        if head[0] == 2 {
            before.get_or_insert_with(resident_bytes);
        }
        Some(head[0])
    };
    let (mut more, mut bytes) = (true, Vec::new());
    while more {
        write(runtime, &store, |tx| {
            for _ in 0..200 {
                match next(&mut bytes) {
                    None => more = false,
                    Some(0) => drop(tx.create(Network::decode(&bytes[..]).expect("a network"))?),
                    Some(1) => drop(tx.create(Service::decode(&bytes[..]).expect("a service"))?),
                    Some(3) => drop(tx.create(Node::decode(&bytes[..]).expect("a node"))?),
                    Some(_) => drop(tx.create(Task::decode(&bytes[..]).expect("a task"))?),
                }
            }
            Ok(())
        });
    }
    let grown = resident_bytes().saturating_sub(before.unwrap_or(0));
    println!("{}", grown / store.view().tasks().count().max(1));
    Ok(())
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = statm.split_whitespace().nth(1).expect("resident pages");
    pages.parse::<usize>().expect("a number") * 4096
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.to_owned(),
        ..Default::default()
    })
}

fn node(number: usize) -> Node {
    Node {
        id: new_id(),
        spec: Some(NodeSpec {
            membership: Membership::Accepted.into(),
            ..Default::default()
        }),
        status: Some(NodeStatus {
            state: node_status::State::Ready.into(),
            addr: "192.0.2.1".to_owned(),
            ..Default::default()
        }),
        description: Some(NodeDescription {
            hostname: format!("node-{number}"),
            platform: Some(Platform {
                architecture: "x86_64".into(),
                os: "linux".into(),
            }),
            resources: Some(Resources {
                nano_cpus: 64_000_000_000,
                memory_bytes: 1 << 40,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn network() -> Network {
    Network {
        id: "back".into(),
        spec: Some(NetworkSpec {
            annotations: named("back"),
            ipam: Some(IpamOptions {
                configs: vec![IpamConfig {
                    subnet: "172.16.0.0/12".into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn service(number: usize, replicas: u64) -> Service {
    let container = ContainerSpec {
        image: "registry.example.com/team/web:1.27.3@sha256:\
                0a399eb16751829e1af26fea27b20c3ec28d7ab1fb72182879dcae1cca21206a"
            .to_owned(),
        env: vec!["LOG_LEVEL=info".into(), "DATABASE=db.internal:5432".into()],
        ..Default::default()
    };
    let task = TaskSpec {
        runtime: Some(Runtime::Container(container)),
        networks: vec![NetworkAttachmentConfig {
            target: "back".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Service {
        id: new_id(),
        spec_version: Some(Version::default()),
        spec: Some(ServiceSpec {
            annotations: named(&format!("service-{number}")),
            mode: Some(Mode::Replicated(ReplicatedService { replicas })),
            task: Some(task.into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A swarm whose services all run, and the loops that made it.
fn filled(runtime: &tokio::runtime::Runtime, services: usize, replicas: u64) -> (Store, Stages) {
    let store = Store::in_memory();
    write(runtime, &store, |tx| {
        tx.create_cluster(Cluster {
            id: new_id(),
            ..Default::default()
        })?;
        tx.create_network(network())?;
        for number in 0..NODES {
            tx.create_node(node(number))?;
        }
        for number in 0..services {
            tx.create_service(service(number, replicas))?;
        }
        Ok(())
    });
    let mut stages = Stages::new(1, UsageBook::new(Clock::system()));
    let now = Now {
        wall: SystemTime::UNIX_EPOCH,
        monotonic: Duration::ZERO,
    };
    stages.load(&store.view(), now);
    let mut pass = || {
        let done = runtime.block_on(store.update(|tx| stages.pass(tx, &[], now, 10_000)));
        done.expect("a pass")
    };
    while pass() == Some(now.monotonic) {}
    let ids: Vec<String> = store.view().tasks().map(|task| task.id.clone()).collect();
    for ids in ids.chunks(1_000) {
        write(runtime, &store, |tx| {
            ids.iter().try_for_each(|id| run(tx, id))
        });
    }
    (store, stages)
}

fn run(tx: &mut Tx, task: &str) -> Result<(), TxError> {
    let now = tx.now();
    // The leader is a node of the swarm.
    let leader = tx.nodes().next().map(|node| node.id.as_str().into());
    tx.edit_task(task, |task| {
        let status = task.status.get_or_insert_default();
        status.set_state(TaskState::Running);
        status.message = "started".into();
        status.timestamp = Some(now);
        status.applied_at = Some(now);
        status.applied_by = leader.unwrap_or_default();
        status.runtime_status = Some(RuntimeStatus::Container(ContainerStatus {
            container_id: "c".repeat(64),
            pid: 4711,
            exit_code: 0,
        }));
    })?;
    Ok(())
}

fn write(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    change: impl FnOnce(&mut Tx) -> Result<(), TxError>,
) {
    runtime
        .block_on(store.update(change))
        .expect("the store takes it");
}
