//! What is kept of tasks that are over, and what becomes of those of lost nodes.

use std::time::Duration;

use skep_objects::swarmkit::{
    OrchestrationConfig, ReplicatedService, TaskState, node_status,
    restart_policy::RestartCondition, service_spec::Mode,
};

use crate::sim::{Sim, service};

#[test]
fn history_follows_the_clusters_limit() {
    let mut sim = Sim::new(1);
    keep(&sim, 2);
    sim.write(|tx| tx.create_service(service("bad", "fails", 1)));
    sim.advance(Duration::from_secs(42));
    assert_eq!(sim.tasks("bad").len(), 2, "{:#?}", sim.summary());
}

/// `--task-history-limit`
fn keep(sim: &Sim, limit: i64) {
    sim.write(|tx| {
        let id = tx.the_cluster().unwrap().id.clone();
        tx.edit_cluster(&id, |cluster| {
            let orchestration = OrchestrationConfig {
                task_history_retention_limit: limit,
            };
            cluster.spec.get_or_insert_default().orchestration = Some(orchestration);
        })
    });
}

#[test]
fn without_history_what_is_done_is_still_known_to_be_done() {
    for condition in [RestartCondition::None, RestartCondition::OnFailure] {
        let mut sim = Sim::new(2);
        keep(&sim, 0);
        let mut once = service("once", "completes", 2);
        let task = once.spec.as_mut().unwrap().task.get_or_insert_default();
        task.restart
            .get_or_insert_default()
            .set_condition(condition);
        sim.write(|tx| tx.create_service(once));
        sim.settle();
        let ids = |sim: &Sim| {
            let tasks = sim.tasks("once");
            tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>()
        };
        let first = ids(&sim);
        assert_eq!(first.len(), 2);
        sim.advance(Duration::from_secs(60));
        sim.change_leader();
        sim.advance(Duration::from_secs(60));
        assert_eq!(ids(&sim), first, "{:#?}", sim.summary());
    }
}

#[test]
fn without_history_the_delay_of_restarts_is_kept() {
    let mut sim = Sim::new(1);
    keep(&sim, 0);
    sim.write(|tx| tx.create_service(service("bad", "fails", 1)));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..42 {
        sim.advance(Duration::from_secs(1));
        seen.extend(sim.tasks("bad").iter().map(|task| task.id.clone()));
    }
    assert!((8..=10).contains(&seen.len()), "{} in 42 s", seen.len());
    assert!(sim.tasks("bad").len() <= 2, "{:#?}", sim.summary());
}

#[test]
fn unassigned_tasks_of_removed_slots_go_at_once() {
    let mut sim = Sim::new(0);
    sim.write(|tx| tx.create_service(service("web", "nginx", 5)));
    sim.settle();
    assert_eq!(sim.tasks("web").len(), 5);
    sim.update_service("web", |spec| {
        spec.mode = Some(Mode::Replicated(ReplicatedService { replicas: 1 }));
    });
    sim.advance(Duration::from_secs(1));
    assert_eq!(sim.tasks("web").len(), 1);
}

#[test]
fn scaled_away_tasks_wait_for_their_node_to_stop_them() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(service("web", "nginx", 1)));
    sim.settle();
    sim.silent.insert("n1".into());
    sim.write(|tx| tx.remove_service("web"));
    sim.advance(Duration::from_secs(30));
    assert_eq!(sim.tasks("web")[0].wanted_state(), TaskState::Remove);
    sim.silent.clear();
    sim.advance(Duration::from_secs(1));
    assert!(sim.tasks("web").is_empty());
}

#[test]
fn tasks_of_a_node_that_is_down_for_a_day_are_orphaned() {
    let mut sim = Sim::new(2);
    sim.write(|tx| tx.create_service(service("web", "nginx", 2)));
    sim.settle();
    sim.set_node_state("n1", node_status::State::Down);
    sim.advance(Duration::from_secs(23 * 3600));
    let of_n1 = |sim: &Sim| {
        sim.tasks("web")
            .into_iter()
            .find(|task| task.node_id == "n1")
            .map(|t| t.observed_state())
    };
    assert_eq!(of_n1(&sim), Some(TaskState::Running));
    sim.change_leader();
    sim.advance(Duration::from_secs(2 * 3600));
    assert_eq!(of_n1(&sim), Some(TaskState::Orphaned));
}

#[test]
fn a_service_that_is_to_go_goes_with_its_last_task() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(service("web", "nginx", 2)));
    sim.settle();
    sim.write(|tx| tx.edit_service("web", |service| service.pending_delete = true));
    sim.advance(Duration::from_secs(1));
    assert!(sim.view().service("web").is_none());
    assert!(sim.tasks("web").is_empty());
}
