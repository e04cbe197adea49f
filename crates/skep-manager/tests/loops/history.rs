//! What is kept of tasks that are over, and what becomes of those of lost nodes.

use std::time::Duration;

use skep_objects::swarmkit::{
    OrchestrationConfig, ReplicatedService, TaskState, node_status, service_spec::Mode,
};

use crate::sim::{Sim, service};

#[test]
fn history_follows_the_clusters_limit() {
    let mut sim = Sim::new(1);
    sim.write(|tx| {
        let id = tx.the_cluster().unwrap().id.clone();
        tx.edit_cluster(&id, |cluster| {
            let orchestration = OrchestrationConfig {
                task_history_retention_limit: 2,
            };
            cluster.spec.get_or_insert_default().orchestration = Some(orchestration);
        })
    });
    sim.write(|tx| tx.create_service(service("bad", "fails", 1)));
    sim.advance(Duration::from_secs(42));
    assert_eq!(sim.tasks("bad").len(), 2, "{:#?}", sim.summary());
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
