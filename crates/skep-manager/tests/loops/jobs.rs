//! Jobs.

use std::time::Duration;

use skep_objects::swarmkit::{
    GlobalJob, JobStatus, ReplicatedJob, Service, TaskState, Version, node_spec::Availability,
    node_status, restart_policy::RestartCondition, service_spec::Mode,
};

use crate::sim::{Sim, node, service};

fn job(image: &str, mode: Mode) -> Service {
    let mut job = service("job", image, 0);
    job.spec.as_mut().unwrap().mode = Some(mode);
    job.job_status = Some(JobStatus {
        job_iteration: Some(Version { index: 0 }),
        ..Default::default()
    });
    job
}

fn replicated(max_concurrent: u64, total_completions: u64) -> Mode {
    Mode::ReplicatedJob(ReplicatedJob {
        max_concurrent,
        total_completions,
    })
}

fn completed(sim: &Sim) -> Vec<u64> {
    sim.tasks("job")
        .iter()
        .filter(|task| task.observed_state() == TaskState::Complete)
        .map(|task| task.slot)
        .collect()
}

fn run_again(sim: &Sim) {
    sim.update_service("job", |_| ());
    sim.write(|tx| {
        tx.edit_service("job", |service| {
            let status = service.job_status.get_or_insert_default();
            let iteration = status.job_iteration.map_or(0, |iteration| iteration.index);
            status.job_iteration = Some(Version {
                index: iteration + 1,
            });
        })
    });
}

#[test]
fn as_many_tasks_complete_as_asked_and_never_more_at_once() {
    let mut sim = Sim::new(2);
    sim.write(|tx| tx.create_service(job("completes", replicated(2, 5))));
    for _ in 0..100 {
        sim.pass();
        let unfinished = sim
            .tasks("job")
            .iter()
            .filter(|task| !task.has_stopped())
            .count();
        assert!(unfinished <= 2);
        sim.agents_step();
    }
    assert_eq!(completed(&sim), [0, 1, 2, 3, 4]);
    sim.advance(Duration::from_secs(60));
    assert_eq!(sim.tasks("job").len(), 5);
}

#[test]
fn failed_job_tasks_are_tried_again_in_their_slot() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(job("fails", replicated(1, 1))));
    sim.advance(Duration::from_secs(11));
    assert_eq!(sim.tasks("job").len(), 4);
    assert!(sim.tasks("job").iter().all(|task| task.slot == 0));
}

#[test]
fn a_new_iteration_runs_all_again_and_removes_what_still_ran() {
    let mut sim = Sim::new(2);
    sim.write(|tx| tx.create_service(job("hangs", replicated(2, 2))));
    sim.settle();
    run_again(&sim);
    sim.advance(Duration::from_secs(1));
    let tasks = sim.tasks("job");
    assert_eq!(tasks.len(), 2, "{:#?}", sim.summary());
    assert!(
        tasks
            .iter()
            .all(|task| task.job_iteration == Some(Version { index: 1 }))
    );
}

#[test]
fn global_jobs_complete_once_on_each_active_node() {
    let mut sim = Sim::new(3);
    sim.set_availability("n3", Availability::Drain);
    sim.write(|tx| tx.create_service(job("completes", Mode::GlobalJob(GlobalJob {}))));
    sim.advance(Duration::from_secs(30));
    assert_eq!(completed(&sim).len(), 2);
    assert_eq!(sim.tasks("job").len(), 2);
    run_again(&sim);
    sim.advance(Duration::from_secs(30));
    assert_eq!(completed(&sim).len(), 4);
}

#[test]
fn a_global_job_runs_on_nodes_that_come_later() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(job("completes", Mode::GlobalJob(GlobalJob {}))));
    sim.advance(Duration::from_secs(10));
    sim.write(|tx| tx.create_node(node("n2")));
    sim.advance(Duration::from_secs(10));
    assert_eq!(completed(&sim).len(), 2);
    sim.set_availability("n1", Availability::Pause);
    sim.set_availability("n1", Availability::Active);
    sim.advance(Duration::from_secs(10));
    assert_eq!(completed(&sim).len(), 2, "once on each");
}

#[test]
fn what_failed_in_an_earlier_iteration_is_not_tried_again() {
    let mut sim = Sim::new(2);
    sim.write(|tx| tx.create_service(job("missing", replicated(2, 2))));
    sim.settle();
    sim.update_service("job", |spec| crate::sim::set_image(spec, "completes:2"));
    run_again(&sim);
    sim.advance(Duration::from_secs(60));
    assert_eq!(completed(&sim).len(), 2);
}

#[test]
fn failures_and_old_iterations_of_a_job_are_kept_as_long_as_other_history() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(job("missing", replicated(1, 1))));
    sim.advance(Duration::from_secs(300));
    assert!(sim.tasks("job").len() <= 6, "{:#?}", sim.summary());
    sim.update_service("job", |spec| crate::sim::set_image(spec, "completes:2"));
    for _ in 0..10 {
        run_again(&sim);
        sim.advance(Duration::from_secs(10));
    }
    assert!(sim.tasks("job").len() <= 6, "{:#?}", sim.summary());
}

#[test]
fn a_global_job_runs_on_a_node_that_was_away() {
    let mut sim = Sim::new(2);
    sim.silent.insert("n2".into());
    sim.write(|tx| tx.create_service(job("completes", Mode::GlobalJob(GlobalJob {}))));
    sim.advance(Duration::from_secs(5));
    sim.set_node_state("n2", node_status::State::Down);
    sim.advance(Duration::from_secs(5));
    assert_eq!(completed(&sim).len(), 1);
    sim.set_node_state("n2", node_status::State::Ready);
    sim.advance(Duration::from_secs(30));
    assert_eq!(completed(&sim).len(), 2, "{:#?}", sim.summary());
    // Where it is done, and where it was given up, it is not done again.
    for node in ["n1", "n2"] {
        sim.set_availability(node, Availability::Drain);
        sim.settle();
        sim.set_availability(node, Availability::Active);
        sim.advance(Duration::from_secs(30));
    }
    assert_eq!(sim.tasks("job").len(), 3, "{:#?}", sim.summary());
}

#[test]
fn a_global_job_that_was_given_up_is_not_tried_again() {
    let mut sim = Sim::new(2);
    let mut missing = job("missing", Mode::GlobalJob(GlobalJob {}));
    let task = missing.spec.as_mut().unwrap().task.get_or_insert_default();
    task.restart
        .get_or_insert_default()
        .set_condition(RestartCondition::None);
    sim.write(|tx| tx.create_service(missing));
    sim.advance(Duration::from_secs(60));
    assert_eq!(sim.tasks("job").len(), 2, "{:#?}", sim.summary());
}
