//! Rebalancing: a node that joins gets its part, one task at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_manager::orchestrator::rebalance;
use skep_objects::swarmkit::{Extension, Resource, node_spec::Availability};

use crate::sim::{Sim, annotations, image, node, service, set_image};

/// Two nodes with three tasks each, and a third that has none.
fn swarm(automatic: bool) -> Sim {
    let mut sim = Sim::new(2);
    let mut web = service("web", "nginx:1", 6);
    if automatic {
        let spec = web.spec.get_or_insert_default();
        let annotations = spec.annotations.get_or_insert_default();
        let label = (rebalance::LABEL.to_owned(), "auto".to_owned());
        annotations.labels.extend([label]);
    }
    sim.write(|tx| {
        tx.create_extension(Extension {
            id: "extension".into(),
            annotations: annotations(rebalance::KIND),
            ..Default::default()
        })?;
        tx.create_service(web)
    });
    sim.settle();
    sim.write(|tx| tx.create_node(node("n3")));
    sim
}

fn ask(sim: &Sim) {
    let request = Resource {
        id: "request".into(),
        annotations: annotations("web"),
        kind: rebalance::KIND.into(),
        ..Default::default()
    };
    sim.write(|tx| tx.create_resource(request));
}

fn is_asked(sim: &Sim) -> bool {
    sim.view()
        .resources_by_kind(rebalance::KIND)
        .next()
        .is_some()
}

fn even() -> BTreeMap<String, usize> {
    ["n1", "n2", "n3"].map(|id| (id.to_owned(), 2)).into()
}

#[test]
fn a_request_evens_a_service_out_without_a_gap() {
    let mut sim = swarm(false);
    sim.advance(Duration::from_secs(60));
    assert_eq!(sim.running("web").len(), 2, "nothing moves unasked");
    ask(&sim);
    let (mut fewest, mut most) = (usize::MAX, 0);
    for _ in 0..80 {
        sim.pass();
        sim.agents_step();
        fewest = fewest.min(sim.count_running("web"));
        most = most.max(sim.live("web").len());
    }
    assert_eq!(sim.running("web"), even());
    assert_eq!((fewest, most), (6, 7), "one at a time, start-first");
    assert!(!is_asked(&sim), "the request is done with");
}

#[test]
fn the_swarms_own_label_is_heeded_when_it_comes() {
    let mut sim = swarm(false);
    sim.advance(Duration::from_secs(10));
    assert_eq!(sim.running("web").len(), 2);
    sim.write(|tx| {
        let id = tx.the_cluster().unwrap().id.clone();
        tx.edit_cluster(&id, |cluster| {
            let spec = cluster.spec.get_or_insert_default();
            let labels = &mut spec.annotations.get_or_insert_default().labels;
            labels.insert(rebalance::LABEL.into(), "auto".into());
        })
    });
    sim.settle();
    assert_eq!(sim.running("web"), even());
}

#[test]
fn the_label_rebalances_whenever_a_node_joins_or_returns() {
    let mut sim = swarm(true);
    sim.settle();
    assert_eq!(sim.running("web"), even());
    sim.set_availability("n1", Availability::Drain);
    sim.advance(Duration::from_secs(10));
    assert_eq!(sim.running("web").len(), 2);
    sim.set_availability("n1", Availability::Active);
    sim.advance(Duration::from_secs(10));
    assert_eq!(sim.running("web"), even());
}

#[test]
fn a_move_that_fails_leaves_the_old_task() {
    let mut sim = swarm(false);
    sim.silent.insert("n3".into());
    ask(&sim);
    sim.advance(Duration::from_secs(60));
    assert_eq!(sim.live("web").len(), 7, "the new task waits for its agent");
    sim.advance(Duration::from_secs(600));
    assert_eq!(sim.live("web").len(), 6);
    assert_eq!(sim.count_running("web"), 6);
    assert!(!is_asked(&sim));
}

#[test]
fn an_update_goes_before_a_move() {
    let mut sim = swarm(false);
    sim.silent.insert("n3".into());
    ask(&sim);
    sim.settle();
    sim.silent.clear();
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(60));
    assert_eq!(sim.running("web"), even());
    assert!(sim.live("web").iter().all(|task| image(task) == "nginx:2"));
    assert!(!is_asked(&sim));
}

#[test]
fn a_leader_goes_on_with_a_move_of_the_one_before() {
    let mut sim = swarm(false);
    sim.silent.insert("n3".into());
    ask(&sim);
    sim.settle();
    sim.change_leader();
    sim.silent.clear();
    sim.settle();
    assert_eq!(sim.running("web"), even());
    assert!(!is_asked(&sim));
}

#[test]
fn a_request_goes_with_its_service() {
    let mut sim = swarm(false);
    sim.silent.insert("n3".into());
    ask(&sim);
    sim.settle();
    sim.write(|tx| tx.remove_service("web").map(drop));
    sim.silent.clear();
    sim.settle();
    assert!(!is_asked(&sim));
    assert!(sim.tasks("web").is_empty());
}
