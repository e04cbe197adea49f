//! Services that are scaled by the load of their tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_manager::orchestrator::service as facts;
use skep_objects::skep_v1::TaskUsage;
use skep_objects::swarmkit::{Service, Task, node_spec::Availability, service_spec::Mode};

use crate::sim::{Sim, service, set_image};

/// A service with the labels, of which each task should use half a CPU.
fn scaled(replicas: u64) -> Service {
    let mut service = service("web", "nginx", replicas);
    let spec = service.spec.as_mut().unwrap();
    let labels = &mut spec.annotations.get_or_insert_default().labels;
    for (key, value) in [
        ("min", "2"),
        ("max", "6"),
        ("cpu", "50"),
        ("cooldown", "1m"),
    ] {
        labels.insert(format!("skep.autoscale.{key}"), value.into());
    }
    service
}

fn swarm(replicas: u64) -> Sim {
    let mut sim = Sim::new(3);
    sim.write(|tx| tx.create_service(scaled(replicas)).map(drop));
    sim.advance(Duration::from_secs(1));
    sim
}

fn replicas(sim: &Sim) -> u64 {
    let view = sim.view();
    match facts::spec(view.service("web").unwrap()).mode {
        Some(Mode::Replicated(mode)) => mode.replicas,
        other => panic!("{other:?}"),
    }
}

/// Lets time pass, of which agents tell that each task uses so much of a CPU.
fn load(sim: &mut Sim, seconds: u64, per_cent: u64) {
    load_of(sim, seconds, per_cent, &|_| true);
}

/// The same, where agents know of some tasks only.
fn load_of(sim: &mut Sim, seconds: u64, per_cent: u64, is_known: &dyn Fn(&str) -> bool) {
    for _ in 0..seconds / 5 {
        let view = sim.view();
        let mut said: BTreeMap<String, Vec<TaskUsage>> = BTreeMap::new();
        for task in view
            .tasks_by_service("web")
            .filter(|task| is_known(&task.id))
        {
            said.entry(task.node_id.to_string())
                .or_default()
                .push(TaskUsage {
                    task_id: task.id.clone(),
                    nano_cpus: per_cent * 10_000_000,
                    ..Default::default()
                });
        }
        let now = sim.now().monotonic;
        for (node, usages) in said {
            sim.usage.note(&node, usages, now);
        }
        sim.advance(Duration::from_secs(5));
    }
}

#[test]
fn tasks_that_have_just_begun_are_given_time_to_tell_of_their_load() {
    let mut sim = swarm(4);
    load(&mut sim, 30, 50);
    let old: Vec<String> = sim.live("web").iter().map(|task| task.id.clone()).collect();
    let node = sim.live("web")[0].node_id.to_string();
    sim.set_availability(&node, Availability::Drain);
    sim.advance(Duration::from_millis(500));
    assert_eq!(sim.count_running("web"), 4);
    // What the old ones carry, four can carry: the new ones do not carry as much besides.
    let is_old = |id: &str| old.iter().any(|old| old == id);
    load_of(&mut sim, 10, 66, &is_old);
    assert_eq!(replicas(&sim), 4);
}

#[test]
fn tasks_come_at_once_and_go_after_the_cooldown() {
    let mut sim = swarm(2);
    load(&mut sim, 10, 50);
    assert_eq!(replicas(&sim), 2, "on target");
    load(&mut sim, 10, 100);
    assert_eq!(replicas(&sim), 4);
    assert_eq!(sim.count_running("web"), 4);
    load(&mut sim, 5, 100);
    assert_eq!(replicas(&sim), 4, "the new ones are given time");
    load(&mut sim, 20, 100);
    assert_eq!(replicas(&sim), 6, "and no more than the most");
    load(&mut sim, 50, 10);
    assert_eq!(replicas(&sim), 6);
    load(&mut sim, 20, 10);
    assert_eq!(replicas(&sim), 2);
    assert_eq!(sim.count_running("web"), 2);
}

#[test]
fn one_moment_of_load_in_the_cooldown_keeps_the_tasks() {
    let mut sim = swarm(4);
    load(&mut sim, 40, 10);
    load(&mut sim, 5, 50);
    load(&mut sim, 40, 10);
    assert_eq!(replicas(&sim), 4);
    load(&mut sim, 30, 10);
    assert_eq!(replicas(&sim), 2);
}

#[test]
fn the_limits_hold_whoever_sets_the_scale_and_whatever_is_known() {
    let mut sim = swarm(1);
    assert_eq!(replicas(&sim), 2);
    sim.update_service("web", |spec| {
        let Some(Mode::Replicated(mode)) = &mut spec.mode else {
            panic!("not replicated")
        };
        mode.replicas = 50;
    });
    sim.advance(Duration::from_secs(1));
    assert_eq!(replicas(&sim), 6);
    sim.advance(Duration::from_secs(600));
    assert_eq!(replicas(&sim), 6, "nothing is known of its load");
}

#[test]
fn old_news_and_those_of_other_nodes_do_not_count() {
    let mut sim = swarm(2);
    let view = sim.view();
    let now = sim.now().monotonic;
    for task in view.tasks_by_service("web") {
        let usage = TaskUsage {
            task_id: task.id.clone(),
            nano_cpus: 4_000_000_000,
            ..Default::default()
        };
        sim.usage.note("another", vec![usage], now);
    }
    sim.advance(Duration::from_secs(30));
    assert_eq!(replicas(&sim), 2);
    // Nor do they keep their own nodes' from being heard.
    load(&mut sim, 10, 100);
    assert_eq!(replicas(&sim), 4);
}

#[test]
fn labels_that_come_later_reach_the_agents_without_replacing_tasks() {
    let mut sim = Sim::new(3);
    sim.write(|tx| tx.create_service(service("web", "nginx", 3)).map(drop));
    sim.advance(Duration::from_secs(1));
    let labels = scaled(3).spec.unwrap().annotations.unwrap().labels;
    sim.update_service("web", |spec| {
        spec.annotations.get_or_insert_default().labels = labels.clone();
    });
    sim.advance(Duration::from_secs(6));
    let tasks = sim.tasks("web");
    assert_eq!(tasks.len(), 3);
    for task in tasks {
        assert_eq!(task.service_annotations.as_ref().unwrap().labels, labels);
    }
    load(&mut sim, 10, 100);
    assert_eq!(replicas(&sim), 6);
}

#[test]
fn labels_that_go_end_the_metering_of_the_tasks_that_run() {
    let unlabel = |sim: &Sim| {
        sim.update_service("web", |spec| {
            spec.annotations.get_or_insert_default().labels.clear();
        });
    };
    let metered = |sim: &Sim| {
        let tasks = sim.tasks("web").into_iter();
        let labels = |task: &Task| task.service_annotations.as_ref().unwrap().labels.len();
        tasks.filter(|task| labels(task) > 0).count()
    };
    let mut sim = swarm(3);
    assert_eq!(metered(&sim), 3);
    unlabel(&sim);
    sim.advance(Duration::from_secs(1));
    assert_eq!((metered(&sim), sim.tasks("web").len()), (0, 3));

    // Nor does it go on where the leader changes meanwhile.
    let mut sim = swarm(3);
    unlabel(&sim);
    sim.change_leader();
    sim.advance(Duration::from_secs(1));
    assert_eq!((metered(&sim), sim.tasks("web").len()), (0, 3));
}

#[test]
fn a_new_leader_goes_on_from_what_it_hears() {
    let mut sim = swarm(2);
    load(&mut sim, 5, 50);
    sim.change_leader();
    load(&mut sim, 10, 100);
    assert_eq!(replicas(&sim), 4);
}

#[test]
fn a_scale_by_load_is_no_update_and_stays_through_a_rollback() {
    let mut sim = swarm(2);
    let before = facts::spec(sim.view().service("web").unwrap());
    load(&mut sim, 10, 100);
    let view = sim.view();
    let service = view.service("web").unwrap();
    assert_eq!(service.previous_spec, None);
    assert_eq!(service.update_status, None);
    assert_ne!(facts::spec(service), before);
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    load(&mut sim, 60, 50);
    assert_eq!(sim.count_running("web"), 4);
    load(&mut sim, 10, 75);
    assert_eq!(replicas(&sim), 6);
    let before = sim.view().service("web").unwrap().previous_spec.clone();
    match before.unwrap().mode {
        Some(Mode::Replicated(mode)) => assert_eq!(mode.replicas, 6),
        other => panic!("{other:?}"),
    }
}
