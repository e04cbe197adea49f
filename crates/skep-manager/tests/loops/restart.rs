//! Restart policies.

use std::time::Duration;

use skep_objects::swarmkit::{
    RestartPolicy, TaskState, node_status, restart_policy::RestartCondition,
};
use skep_objects::timestamp::duration_message;

use crate::sim::{Sim, service};

fn swarm(image: &str, change: impl FnOnce(&mut RestartPolicy)) -> Sim {
    let mut sim = Sim::new(2);
    let mut web = service("web", image, 1);
    let mut policy = RestartPolicy {
        condition: RestartCondition::Any.into(),
        delay: Some(duration_message(Duration::from_secs(1))),
        ..Default::default()
    };
    change(&mut policy);
    web.spec.as_mut().unwrap().task.as_mut().unwrap().restart = Some(policy);
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    sim
}

#[test]
fn condition_any_restarts_what_completed() {
    let mut sim = swarm("completes", |_| ());
    sim.advance(Duration::from_millis(2500));
    assert_eq!(sim.tasks("web").len(), 4);
}

#[test]
fn condition_on_failure_restarts_only_what_failed() {
    let mut sim = swarm("completes", |policy| {
        policy.set_condition(RestartCondition::OnFailure)
    });
    sim.advance(Duration::from_secs(20));
    assert_eq!(sim.tasks("web").len(), 1);
    let mut sim = swarm("fails", |policy| {
        policy.set_condition(RestartCondition::OnFailure)
    });
    sim.advance(Duration::from_millis(2500));
    assert_eq!(sim.tasks("web").len(), 4);
}

#[test]
fn condition_none_restarts_nothing() {
    let mut sim = swarm("fails", |policy| {
        policy.set_condition(RestartCondition::None)
    });
    sim.advance(Duration::from_secs(20));
    assert_eq!(sim.tasks("web").len(), 1);
    assert_eq!(sim.tasks("web")[0].wanted_state(), TaskState::Shutdown);
}

#[test]
fn max_attempts_end_the_restarts_over_a_change_of_leader_too() {
    let mut sim = swarm("fails", |policy| policy.max_attempts = 3);
    sim.advance(Duration::from_millis(1500));
    sim.change_leader();
    sim.advance(Duration::from_secs(60));
    assert_eq!(sim.tasks("web").len(), 4, "{:#?}", sim.summary());
    assert!(sim.live("web").is_empty());
}

#[test]
fn attempts_outside_the_window_do_not_count() {
    let mut sim = swarm("fails", |policy| {
        policy.max_attempts = 2;
        policy.delay = Some(duration_message(Duration::from_secs(3)));
        policy.window = Some(duration_message(Duration::from_secs(5)));
    });
    sim.advance(Duration::from_secs(60));
    assert!(!sim.live("web").is_empty(), "{:#?}", sim.summary());
}

#[test]
fn the_delay_goes_on_under_a_new_leader() {
    let mut sim = swarm("fails", |policy| {
        policy.delay = Some(duration_message(Duration::from_secs(10)));
    });
    sim.advance(Duration::from_secs(6));
    sim.change_leader();
    sim.advance(Duration::from_millis(3900));
    assert_eq!(sim.tasks("web").len(), 2);
    sim.advance(Duration::from_millis(200));
    assert_eq!(sim.tasks("web").len(), 3);
}

#[test]
fn a_node_that_comes_back_stops_the_tasks_that_were_replaced() {
    let mut sim = swarm("nginx", |_| ());
    let node = sim.tasks("web")[0].node_id.clone();
    sim.set_node_state(&node, node_status::State::Down);
    sim.settle();
    assert_eq!(sim.count_running("web"), 1);
    assert_ne!(sim.live("web")[0].node_id, node);
    sim.set_node_state(&node, node_status::State::Ready);
    sim.settle();
    let old = sim
        .tasks("web")
        .into_iter()
        .find(|task| task.node_id == node)
        .unwrap();
    assert_eq!(old.observed_state(), TaskState::Shutdown);
    assert_eq!(sim.count_running("web"), 1);
}
