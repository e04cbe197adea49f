//! Global services.

use std::time::Duration;

use skep_objects::swarmkit::{
    GlobalService, Service, TaskState, node_spec::Availability, node_status,
    restart_policy::RestartCondition, service_spec::Mode,
};

use crate::sim::{Sim, image, node, service, set_image};

fn global(image: &str) -> Service {
    let mut agent = service("agent", image, 0);
    agent.spec.as_mut().unwrap().mode = Some(Mode::Global(GlobalService {}));
    agent
}

fn swarm(nodes: usize) -> Sim {
    let mut sim = Sim::new(nodes);
    sim.write(|tx| tx.create_service(global("agent:1")));
    sim.settle();
    sim
}

fn nodes(sim: &Sim) -> Vec<String> {
    sim.running("agent").into_keys().collect()
}

#[test]
fn every_node_has_one_task_and_new_nodes_get_one() {
    let mut sim = swarm(3);
    assert_eq!(nodes(&sim), ["n1", "n2", "n3"]);
    sim.write(|tx| tx.create_node(node("n4")));
    sim.settle();
    assert_eq!(
        sim.running("agent").into_values().collect::<Vec<_>>(),
        [1, 1, 1, 1]
    );
}

#[test]
fn drained_and_lost_nodes_lose_their_task_and_get_it_back() {
    let mut sim = swarm(3);
    sim.set_availability("n1", Availability::Drain);
    sim.set_node_state("n2", node_status::State::Down);
    sim.settle();
    assert_eq!(nodes(&sim), ["n3"]);
    sim.set_availability("n1", Availability::Active);
    sim.set_node_state("n2", node_status::State::Ready);
    sim.settle();
    assert_eq!(nodes(&sim), ["n1", "n2", "n3"]);
}

#[test]
fn paused_nodes_keep_their_task_and_get_none() {
    let mut sim = swarm(1);
    sim.set_availability("n1", Availability::Pause);
    let mut paused = node("n2");
    paused
        .spec
        .as_mut()
        .unwrap()
        .set_availability(Availability::Pause);
    sim.write(|tx| tx.create_node(paused));
    sim.settle();
    assert_eq!(nodes(&sim), ["n1"]);
}

#[test]
fn constraints_choose_the_nodes_and_are_enforced() {
    let mut sim = Sim::new(3);
    sim.set_label("n2", "gpu", "yes");
    let mut service = global("agent:1");
    let task = service.spec.as_mut().unwrap().task.as_mut().unwrap();
    task.placement.get_or_insert_default().constraints = vec!["node.labels.gpu==yes".into()];
    sim.write(|tx| tx.create_service(service));
    sim.settle();
    assert_eq!(nodes(&sim), ["n2"]);
    sim.set_label("n2", "gpu", "no");
    sim.set_label("n3", "gpu", "yes");
    sim.settle();
    assert_eq!(nodes(&sim), ["n3"]);
}

#[test]
fn a_removed_nodes_tasks_are_deleted() {
    let mut sim = swarm(2);
    sim.write(|tx| tx.remove_node("n1"));
    sim.settle();
    assert_eq!(nodes(&sim), ["n2"]);
    assert_eq!(sim.tasks("agent").len(), 1);
}

#[test]
fn failed_tasks_restart_on_their_node() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(global("fails")));
    sim.advance(Duration::from_secs(6));
    let tasks = sim.tasks("agent");
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().all(|task| task.node_id == "n1"));
}

#[test]
fn updates_roll_from_node_to_node() {
    let mut sim = swarm(3);
    sim.update_service("agent", |spec| set_image(spec, "hangs:2"));
    sim.settle();
    assert_eq!(sim.count_running("agent"), 2);
    sim.update_service("agent", |spec| set_image(spec, "agent:3"));
    sim.settle();
    assert!(
        sim.live("agent")
            .iter()
            .all(|task| image(task) == "agent:3")
    );
    assert_eq!(nodes(&sim), ["n1", "n2", "n3"]);
}

#[test]
fn a_task_that_does_not_fit_its_node_says_why() {
    let mut sim = Sim::new(1);
    let mut service = global("agent:1");
    let task = service.spec.as_mut().unwrap().task.as_mut().unwrap();
    let resources = task.resources.get_or_insert_default();
    resources.reservations.get_or_insert_default().nano_cpus = 64_000_000_000;
    sim.write(|tx| tx.create_service(service));
    sim.settle();
    let status = sim.tasks("agent")[0].status.clone().unwrap();
    assert_eq!(status.state(), TaskState::Pending);
    assert_eq!(status.err, "insufficient resources on 1 node");
}

/// With so many attempts and this condition.
fn restarting(image: &str, max_attempts: u64, condition: RestartCondition) -> Service {
    let mut agent = global(image);
    let task = agent.spec.as_mut().unwrap().task.get_or_insert_default();
    let restart = task.restart.get_or_insert_default();
    restart.max_attempts = max_attempts;
    restart.set_condition(condition);
    agent
}

#[test]
fn a_node_that_was_away_often_still_has_its_task() {
    for condition in [RestartCondition::Any, RestartCondition::None] {
        let mut sim = Sim::new(2);
        sim.write(|tx| tx.create_service(restarting("agent:1", 2, condition)));
        sim.settle();
        for _ in 0..4 {
            sim.set_availability("n1", Availability::Drain);
            sim.advance(Duration::from_secs(1));
            sim.set_availability("n1", Availability::Active);
            sim.advance(Duration::from_secs(1));
            sim.set_node_state("n1", node_status::State::Down);
            sim.advance(Duration::from_secs(1));
            sim.set_node_state("n1", node_status::State::Ready);
            sim.advance(Duration::from_secs(1));
            assert_eq!(nodes(&sim), ["n1", "n2"], "{:#?}", sim.summary());
        }
    }
}

#[test]
fn a_global_task_that_keeps_failing_is_given_up() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(restarting("fails", 2, RestartCondition::Any)));
    sim.advance(Duration::from_secs(120));
    assert_eq!(sim.tasks("agent").len(), 3, "{:#?}", sim.summary());
}
