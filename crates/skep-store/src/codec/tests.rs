//! A member that reads the log or a snapshot holds together what the leader does.

use std::convert::Infallible;

use prost_types::Timestamp;
use skep_objects::swarmkit::{
    Annotations, ContainerSpec, Network, NetworkAttachment, NetworkSpec, Node, Service,
    ServiceSpec, Task, TaskSpec, TaskState, TaskStatus, Version, task_spec::Runtime,
};

use super::*;
use crate::tx::Tx;

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.into(),
        ..Default::default()
    })
}

fn spec(image: &str) -> TaskSpec {
    let container = ContainerSpec {
        image: image.into(),
        ..Default::default()
    };
    TaskSpec {
        runtime: Some(Runtime::Container(container)),
        ..Default::default()
    }
}

fn network() -> Network {
    Network {
        id: "back".into(),
        spec: Some(NetworkSpec {
            annotations: named("back"),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn task(id: &str, slot: u64, image: &str, network: &Network) -> Task {
    Task {
        id: id.into(),
        service_id: "web".into(),
        slot,
        node_id: "n1".into(),
        spec: Some(spec(image).into()),
        service_annotations: named("web").map(Into::into),
        spec_version: Some(Version {
            index: if image == "new" { 2 } else { 1 },
        }),
        status: Some(TaskStatus {
            state: TaskState::Running.into(),
            message: "started".into(),
            applied_by: "n1".into(),
            ..Default::default()
        }),
        networks: vec![NetworkAttachment {
            network: Some(network.clone().into()),
            addresses: vec![format!("10.0.0.{slot}/24")],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What a leader wrote: an entry with all that tasks mention, and one with tasks.
fn written() -> (View, [Vec<u8>; 2]) {
    let transaction = |view: View, write: &dyn Fn(&mut Tx) -> Result<(), crate::TxError>| {
        let mut tx = Tx::new(view.clone(), view.version + 1, Timestamp::default());
        write(&mut tx).expect("no conflict");
        let (mut after, events, version) = tx.into_parts();
        after.version = version;
        (after, encode_request(version, &events))
    };
    let (view, first) = transaction(View::default(), &|tx| {
        tx.create_network(network())?;
        tx.create_node(Node {
            id: "n1".into(),
            ..Default::default()
        })?;
        let service = Service {
            id: "web".into(),
            spec: Some(ServiceSpec {
                annotations: named("web"),
                task: Some(spec("new").into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        tx.create_service(service).map(drop)
    });
    let (view, second) = transaction(view, &|tx| {
        let network = tx.network("back").expect("a network").clone();
        tx.create_task(task("t1", 1, "new", &network))?;
        tx.create_task(task("t2", 2, "new", &network))?;
        tx.create_task(task("t3", 3, "old", &network))?;
        tx.create_task(task("t4", 4, "old", &network)).map(drop)
    });
    (view, [first, second])
}

fn follow(entries: &[Vec<u8>]) -> View {
    let mut view = View::default();
    for entry in entries {
        let events = decode_request(entry, &view.tables).expect("an entry");
        let tables = Arc::make_mut(&mut view.tables);
        events.iter().for_each(|event| event.apply(tables));
    }
    view
}

fn restored(view: &View) -> View {
    let mut bytes = Vec::new();
    let written = encode_snapshot(view, &Membership::default(), 64, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    });
    written.expect("nothing fails");
    decode_snapshot(&bytes, view.version).expect("a snapshot").0
}

#[test]
fn members_that_read_the_log_or_a_snapshot_share_as_the_leader_does() {
    let (leader, entries) = written();
    for view in [leader.clone(), follow(&entries), restored(&leader)] {
        let all: Vec<&Arc<Task>> = view.tasks().collect();
        let expected: Vec<&Arc<Task>> = leader.tasks().collect();
        assert_eq!(all, expected);
        let [t1, t2, t3, t4] = all[..] else {
            panic!("{all:?}")
        };
        let of_service = view
            .service("web")
            .and_then(|s| s.spec.as_ref()?.task.clone());
        let spec = |task: &Task| task.spec.clone().expect("a spec");
        assert!(spec(t1).is_same(&of_service.expect("a spec")));
        assert!(spec(t1).is_same(&spec(t2)));
        assert!(!spec(t1).is_same(&spec(t3)));
        assert!(
            spec(t3).is_same(&spec(t4)),
            "though it is not the service's"
        );
        let network = |task: &Task| task.networks[0].network.clone().expect("a network");
        let stored = view.network("back").expect("a network");
        assert!(network(t4).is_same(&stored.into()));
        for task in [t1, t2, t3, t4] {
            let status = task.status.as_ref().expect("a status");
            let node = view.tables.nodes.id("n1").expect("a node");
            assert!(task.node_id.is_same(node) && status.applied_by.is_same(node));
            let service = view.tables.services.id("web").expect("a service");
            assert!(task.service_id.is_same(service));
            let first = t1.status.as_ref().expect("a status");
            assert!(status.message.is_same(&first.message));
            assert_eq!(task.networks.capacity(), 1);
        }
    }
}
