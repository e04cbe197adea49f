//! How fast tasks are placed: `cargo bench -p skep-manager --bench scheduler`.
//!
//! Spread with two constraints, which nine nodes in ten meet. "placed" is the scheduler alone, with
//! all its bookkeeping; "one by one" are services of a single task each, so that nothing is shared
//! between decisions; "whole" is from service specs to assigned tasks in an in-memory store.
//! `SKEP_BENCH_QUICK=1` only shows that it runs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;
use skep_manager::clock::{Clock, Now};
use skep_manager::loops::Stages;
use skep_manager::scheduler::Eligibility;
use skep_manager::scheduler::filter::Requirements;
use skep_manager::scheduler::nodes::Cluster;
use skep_manager::scheduler::place::{Group, Placement};
use skep_manager::scheduler::strategy::Strategy;
use skep_manager::usage::UsageBook;
use skep_objects::ids::new_id;
use skep_objects::swarmkit::{
    Annotations, Cluster as ClusterObject, ContainerSpec, Node, NodeDescription, NodeSpec,
    NodeStatus, Placement as PlacementSpec, Platform, ReplicatedService, ResourceRequirements,
    Resources, Service, ServiceSpec, TaskSpec, TaskState, Version, node_spec::Membership,
    node_status, service_spec::Mode, task_spec::Runtime,
};
use skep_store::{Store, Tx};

fn main() {
    println!(
        "{:>8} {:>10} {:>8}  {:>10} {:>12}",
        "nodes", "tasks", "services", "time", "per task"
    );
    let only_whole = std::env::args().any(|argument| argument == "whole");
    if std::env::var_os("SKEP_BENCH_QUICK").is_some() {
        placed("placed", 1_000, 10_000, 10);
        placed("one by one", 1_000, 1_000, 1_000);
        whole(100, 1_000, 10);
        return;
    }
    for nodes in [1_000, 10_000].into_iter().filter(|_| !only_whole) {
        for tasks in [100_000, 1_000_000] {
            placed("placed", nodes, tasks, tasks / 1_000);
        }
        placed("one by one", nodes, 100_000, 100_000);
    }
    println!("goal: 1,000,000 placed in 1 s on one core, spread with two constraints");
    whole(1_000, 100_000, 100);
}

fn report(what: &str, nodes: usize, tasks: usize, services: usize, time: Duration) {
    let per_task = time.as_nanos() / u128::try_from(tasks.max(1)).unwrap_or(1);
    println!(
        "{nodes:>8} {tasks:>10} {services:>8}  {:>8.3} s {per_task:>9} ns  {what}",
        time.as_secs_f64()
    );
}

fn node(number: usize) -> Node {
    let labels = [
        (
            "disk".to_owned(),
            if number.is_multiple_of(10) {
                "hdd"
            } else {
                "ssd"
            }
            .to_owned(),
        ),
        ("zone".to_owned(), format!("z{}", number % 3)),
    ];
    Node {
        id: new_id(),
        spec: Some(NodeSpec {
            annotations: Some(Annotations {
                labels: labels.into(),
                ..Default::default()
            }),
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
                nano_cpus: 10_000_000_000_000,
                memory_bytes: 1 << 50,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn task_spec() -> TaskSpec {
    TaskSpec {
        runtime: Some(Runtime::Container(ContainerSpec {
            image: "nginx".to_owned(),
            ..Default::default()
        })),
        placement: Some(PlacementSpec {
            constraints: vec![
                "node.labels.disk==ssd".to_owned(),
                "node.platform.os==linux".to_owned(),
            ],
            ..Default::default()
        }),
        resources: Some(ResourceRequirements {
            reservations: Some(Resources {
                nano_cpus: 1_000_000,
                memory_bytes: 1 << 20,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn placed(what: &str, nodes: usize, tasks: usize, services: usize) {
    let mut cluster = Cluster::default();
    for number in 0..nodes {
        cluster.set_node(Arc::new(node(number)));
    }
    let ids: Vec<String> = (0..tasks).map(|number| format!("{number:025}")).collect();
    let names: Vec<String> = (0..services)
        .map(|number| format!("s{number:024}"))
        .collect();
    let spec = task_spec();
    let mut rng = StdRng::seed_from_u64(1);
    let mut eligibility = Eligibility::default();
    let start = Instant::now();
    for (name, ids) in names.iter().zip(ids.chunks(tasks / services)) {
        let requirements = Requirements::of(&spec, std::iter::empty(), std::iter::empty());
        let group = Group {
            service: cluster.service_index(name),
            spec_version: 1,
            demand: Arc::new(requirements.demand.clone()),
            requirements,
            preferences: Vec::new(),
            strategy: Strategy::Spread,
        };
        let kind = eligibility.of(&group.requirements.kind, &cluster);
        let mut placement = Placement::new(&mut cluster, &group, kind, ids.len(), Duration::ZERO);
        for id in ids {
            assert!(placement.place(id, &mut rng).is_some(), "no node");
        }
    }
    report(what, nodes, tasks, services, start.elapsed());
}

fn service(number: usize, replicas: u64) -> Service {
    Service {
        id: new_id(),
        spec_version: Some(Version::default()),
        spec: Some(ServiceSpec {
            annotations: Some(Annotations {
                name: format!("s{number}"),
                ..Default::default()
            }),
            mode: Some(Mode::Replicated(ReplicatedService { replicas })),
            task: Some(task_spec().into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn whole(nodes: usize, tasks: usize, services: usize) {
    let store = Store::in_memory();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let replicas = u64::try_from(tasks / services).unwrap_or(1);
    let set_up = store.update(|tx: &mut Tx| {
        tx.create_cluster(ClusterObject {
            id: new_id(),
            ..Default::default()
        })?;
        for number in 0..nodes {
            tx.create_node(node(number))?;
        }
        for number in 0..services {
            tx.create_service(service(number, replicas))?;
        }
        Ok::<_, skep_store::TxError>(())
    });
    runtime.block_on(set_up).expect("set up");
    let mut stages = Stages::new(1, UsageBook::new(Clock::system()));
    let now = Now {
        wall: SystemTime::UNIX_EPOCH,
        monotonic: Duration::ZERO,
    };
    let start = Instant::now();
    stages.load(&store.view(), now);
    let pass = |stages: &mut Stages| {
        runtime.block_on(store.update(|tx| stages.pass(tx, &[], now, usize::MAX)))
    };
    while pass(&mut stages).expect("a pass") == Some(now.monotonic) {}
    report("whole", nodes, tasks, services, start.elapsed());
    let view = store.view();
    let assigned = view
        .tasks()
        .filter(|task| task.observed_state() == TaskState::Assigned);
    assert_eq!(assigned.count(), tasks, "all tasks are assigned");
}
