//! Rolling updates and rollbacks.

use std::time::Duration;

use skep_objects::swarmkit::{
    EndpointSpec, PortConfig, ServiceSpec, Task, TaskState, UpdateConfig, UpdateStatus,
    node_status,
    port_config::PublishMode,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};
use skep_objects::timestamp::duration_message;

use crate::sim::{Sim, image, service, set_image};

fn status(sim: &Sim) -> UpdateStatus {
    let service = sim.view().service("web").cloned().unwrap();
    service.update_status.clone().unwrap_or_default()
}

fn swarm(image: &str, replicas: u64, change: impl FnOnce(&mut ServiceSpec)) -> Sim {
    let mut sim = Sim::new(3);
    let mut web = service("web", image, replicas);
    change(web.spec.as_mut().unwrap());
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    sim
}

fn config(change: impl FnOnce(&mut UpdateConfig)) -> Option<UpdateConfig> {
    let mut config = UpdateConfig {
        parallelism: 1,
        ..Default::default()
    };
    change(&mut config);
    Some(config)
}

fn seconds(seconds: u64) -> Option<prost_types::Duration> {
    Some(duration_message(Duration::from_secs(seconds)))
}

fn new_and_old(sim: &Sim, new: &str) -> (usize, usize) {
    let live = sim.live("web");
    let new = live.iter().filter(|task| image(task) == new).count();
    (new, live.len() - new)
}

#[test]
fn parallelism_and_delay_set_the_pace() {
    let mut sim = swarm("nginx:1", 6, |spec| {
        spec.update = config(|update| {
            update.parallelism = 2;
            update.delay = seconds(10);
        });
    });
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.settle();
    assert_eq!(new_and_old(&sim, "nginx:2"), (2, 4));
    sim.advance(Duration::from_secs(9));
    assert_eq!(new_and_old(&sim, "nginx:2"), (2, 4));
    sim.advance(Duration::from_secs(2));
    assert_eq!(new_and_old(&sim, "nginx:2"), (4, 2));
    sim.advance(Duration::from_secs(10));
    assert_eq!(new_and_old(&sim, "nginx:2"), (6, 0));
    assert_eq!(status(&sim).state(), UpdateState::Updating);
    sim.advance(Duration::from_secs(12));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
    assert!(status(&sim).completed_at.is_some());
}

#[test]
fn stop_first_starts_the_new_task_when_the_old_one_has_stopped() {
    let mut sim = swarm("nginx:1", 1, |_| ());
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.pass();
    let new = sim.live("web").remove(0);
    assert_eq!(new.wanted_state(), TaskState::Ready);
    sim.silent.insert(
        sim.tasks("web")
            .iter()
            .find(|t| t.id != new.id)
            .unwrap()
            .node_id
            .to_string(),
    );
    sim.advance(Duration::from_secs(50));
    assert_eq!(sim.live("web")[0].wanted_state(), TaskState::Ready);
    sim.advance(Duration::from_secs(11));
    assert_eq!(
        sim.live("web")[0].wanted_state(),
        TaskState::Running,
        "waits a minute at most"
    );
}

#[test]
fn start_first_stops_the_old_task_when_the_new_one_runs() {
    let mut sim = swarm("nginx:1", 2, |spec| {
        spec.update = config(|update| update.set_order(UpdateOrder::StartFirst));
    });
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    let mut fewest = usize::MAX;
    for _ in 0..40 {
        sim.pass();
        sim.agents_step();
        fewest = fewest.min(sim.count_running("web"));
    }
    assert_eq!(fewest, 2, "never fewer running than wanted");
    assert_eq!(new_and_old(&sim, "nginx:2"), (2, 0));
}

#[test]
fn failing_updates_pause() {
    let mut sim = swarm("nginx:1", 4, |_| ());
    sim.update_service("web", |spec| set_image(spec, "fails:2"));
    sim.advance(Duration::from_secs(60));
    assert_eq!(status(&sim).state(), UpdateState::Paused);
    let text = status(&sim).message;
    assert!(
        text.starts_with("update paused due to failure or early termination of task "),
        "{text}"
    );
    assert_eq!(new_and_old(&sim, "fails:2"), (1, 3));
    sim.update_service("web", |spec| set_image(spec, "nginx:3"));
    sim.advance(Duration::from_secs(20));
    assert_eq!(new_and_old(&sim, "nginx:3"), (4, 0));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
}

#[test]
fn failing_updates_roll_back_when_asked() {
    let mut sim = swarm("nginx:1", 4, |spec| {
        spec.update = config(|update| update.set_failure_action(FailureAction::Rollback));
    });
    sim.update_service("web", |spec| set_image(spec, "missing:2"));
    sim.settle();
    assert_eq!(status(&sim).state(), UpdateState::RollbackStarted);
    sim.advance(Duration::from_secs(20));
    assert_eq!(status(&sim).state(), UpdateState::RollbackCompleted);
    assert_eq!(status(&sim).message, "rollback completed");
    assert_eq!(new_and_old(&sim, "nginx:1"), (4, 0));
    assert_eq!(sim.count_running("web"), 4);
    assert!(sim.view().service("web").unwrap().previous_spec.is_none());
}

#[test]
fn the_tasks_of_a_slot_are_told_apart_by_the_time_that_they_were_created_at() {
    let mut sim = swarm("nginx:1", 1, |spec| {
        spec.update = config(|update| update.set_failure_action(FailureAction::Rollback));
    });
    sim.update_service("web", |spec| set_image(spec, "fails:2"));
    sim.advance(Duration::from_secs(30));
    assert_eq!(status(&sim).state(), UpdateState::RollbackCompleted);
    // That which was to take the place of the one that failed, and that of the rollback, were made at
    // once.
    let mut tasks = sim.tasks("web");
    tasks.sort_by_key(|task| {
        let created = task.meta.as_ref().unwrap().created_at.unwrap();
        (created.seconds, created.nanos, task.slot)
    });
    let created = |task: &Task| {
        let created = task.meta.as_ref().unwrap().created_at.unwrap();
        i128::from(created.seconds) * 1_000_000_000 + i128::from(created.nanos)
    };
    let apart = tasks
        .windows(2)
        .map(|pair| created(&pair[1]) - created(&pair[0]));
    assert_eq!(apart.min(), Some(1), "{:#?}", sim.summary());
    assert_eq!(image(tasks.last().unwrap()), "nginx:1");
    assert_eq!(tasks.last().unwrap().observed_state(), TaskState::Running);
}

#[test]
fn a_failing_rollback_pauses() {
    let mut sim = swarm("fails:1", 2, |spec| {
        spec.update = config(|update| update.set_failure_action(FailureAction::Rollback));
    });
    sim.update_service("web", |spec| set_image(spec, "missing:2"));
    sim.advance(Duration::from_secs(60));
    assert_eq!(status(&sim).state(), UpdateState::RollbackPaused);
}

#[test]
fn failures_below_the_ratio_are_borne() {
    let mut sim = swarm("nginx:1", 4, |spec| {
        spec.update = config(|update| {
            update.max_failure_ratio = 1.0;
            update.monitor = seconds(1);
        });
    });
    sim.update_service("web", |spec| set_image(spec, "fails:2"));
    sim.advance(Duration::from_secs(30));
    assert_eq!(new_and_old(&sim, "fails:2"), (4, 0));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
}

#[test]
fn changed_constraints_move_only_the_tasks_that_break_them() {
    let mut sim = swarm("nginx:1", 3, |_| ());
    let before: Vec<String> = sim.live("web").iter().map(|task| task.id.clone()).collect();
    sim.update_service("web", |spec| {
        let placement = spec
            .task
            .get_or_insert_default()
            .placement
            .get_or_insert_default();
        placement.constraints = vec!["node.hostname!=n1".into()];
    });
    sim.advance(Duration::from_secs(10));
    assert!(!sim.running("web").contains_key("n1"));
    assert_eq!(sim.count_running("web"), 3);
    let kept = sim
        .live("web")
        .iter()
        .filter(|task| before.contains(&task.id))
        .count();
    assert_eq!(kept, 2);
}

#[test]
fn an_update_survives_a_change_of_leader() {
    let mut sim = swarm("nginx:1", 6, |spec| {
        spec.update = config(|update| update.delay = seconds(5));
    });
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(6));
    let (new, old) = new_and_old(&sim, "nginx:2");
    assert_eq!((new, old), (2, 4));
    sim.change_leader();
    sim.settle();
    assert_eq!(new_and_old(&sim, "nginx:2").0, 2, "the delay is kept");
    sim.advance(Duration::from_secs(60));
    assert_eq!(new_and_old(&sim, "nginx:2"), (6, 0));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
}

#[test]
fn the_newest_spec_wins_over_an_update_that_is_under_way() {
    let mut sim = swarm("nginx:1", 4, |spec| {
        spec.update = config(|update| update.delay = seconds(30));
    });
    sim.update_service("web", |spec| set_image(spec, "hangs:2"));
    sim.settle();
    assert_eq!(sim.count_running("web"), 3);
    sim.update_service("web", |spec| {
        set_image(spec, "nginx:3");
        spec.update = None;
    });
    sim.advance(Duration::from_secs(20));
    assert_eq!(new_and_old(&sim, "nginx:3"), (4, 0));
    assert_eq!(sim.count_running("web"), 4);
}

#[test]
fn start_first_gives_the_place_of_a_task_that_never_ran_to_the_new_one() {
    let mut sim = Sim::new(1);
    let mut web = service("web", "hangs:1", 1);
    let spec = web.spec.as_mut().unwrap();
    spec.update = config(|update| update.set_order(UpdateOrder::StartFirst));
    let task = spec.task.get_or_insert_default();
    task.placement.get_or_insert_default().max_replicas = 1;
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(20));
    assert_eq!(new_and_old(&sim, "nginx:2"), (1, 0));
    assert_eq!(sim.count_running("web"), 1);
}

#[test]
fn start_first_waits_for_a_host_port_and_says_so() {
    let mut sim = Sim::new(1);
    let mut web = service("web", "nginx:1", 1);
    let spec = web.spec.as_mut().unwrap();
    spec.update = config(|update| update.set_order(UpdateOrder::StartFirst));
    let port = PortConfig {
        target_port: 80,
        published_port: 8080,
        publish_mode: PublishMode::Host.into(),
        ..Default::default()
    };
    spec.endpoint = Some(EndpointSpec {
        ports: vec![port],
        ..Default::default()
    });
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(120));
    // As Docker: the old task runs on, the new one says what it waits for, the update goes on.
    let mut tasks = sim.live("web").into_iter();
    let new = tasks.find(|task| image(task) == "nginx:2").unwrap();
    assert_eq!(new.observed_state(), TaskState::Pending);
    assert_eq!(
        new.status.as_ref().unwrap().err,
        "no suitable node (host-mode port already in use on 1 node)"
    );
    assert_eq!(sim.count_running("web"), 1);
    assert_eq!(status(&sim).state(), UpdateState::Updating);
    // An update with the other order gets it out of there.
    sim.update_service("web", |spec| spec.update = None);
    sim.advance(Duration::from_secs(20));
    assert_eq!(new_and_old(&sim, "nginx:2"), (1, 0));
    assert_eq!(sim.count_running("web"), 1);
    assert_eq!(status(&sim).state(), UpdateState::Completed);
}

#[test]
fn parallelism_0_updates_all_at_once() {
    let mut sim = swarm("nginx:1", 6, |spec| {
        spec.update = config(|update| update.parallelism = 0);
    });
    sim.update_service("web", |spec| set_image(spec, "hangs:2"));
    sim.settle();
    assert_eq!(new_and_old(&sim, "hangs:2"), (6, 0));
}

#[test]
fn a_task_that_ends_with_success_ends_early() {
    let mut sim = swarm("nginx:1", 3, |_| ());
    sim.update_service("web", |spec| set_image(spec, "completes:2"));
    sim.settle();
    assert_eq!(status(&sim).state(), UpdateState::Paused);
    let text = status(&sim).message;
    assert!(text.contains("early termination of task"), "{text}");
    assert!(new_and_old(&sim, "completes:2").0 < 3);
}

#[test]
fn failures_after_the_monitored_time_do_not_count() {
    let mut sim = swarm("nginx:1", 2, |spec| {
        spec.update = config(|update| {
            update.monitor = seconds(2);
            update.delay = seconds(10);
        });
    });
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(3));
    let mut tasks = sim.live("web").into_iter();
    let new = tasks.find(|task| image(task) == "nginx:2").unwrap();
    let fail = |sim: &Sim, id: &str| {
        sim.write(|tx| {
            tx.edit_task(id, |task| {
                task.status
                    .get_or_insert_default()
                    .set_state(TaskState::Failed);
            })
        });
    };
    fail(&sim, &new.id);
    sim.advance(Duration::from_secs(30));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
    assert_eq!(new_and_old(&sim, "nginx:2"), (2, 0));
}

#[test]
fn with_continue_the_update_goes_on_over_failures() {
    let mut sim = swarm("nginx:1", 3, |spec| {
        spec.update = config(|update| update.set_failure_action(FailureAction::Continue));
    });
    sim.update_service("web", |spec| set_image(spec, "fails:2"));
    sim.advance(Duration::from_secs(60));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
    assert_eq!(new_and_old(&sim, "fails:2"), (3, 0));
}

/// As the control API does it on request.
fn roll_back(sim: &Sim) {
    let now = sim.now().timestamp();
    sim.write(|tx| {
        tx.edit_service("web", |service| {
            std::mem::swap(&mut service.spec, &mut service.previous_spec);
            std::mem::swap(
                &mut service.spec_version,
                &mut service.previous_spec_version,
            );
            service.update_status = Some(UpdateStatus {
                state: UpdateState::RollbackStarted.into(),
                started_at: Some(now),
                ..Default::default()
            });
        })
    });
}

#[test]
fn a_manual_rollback_ends_a_paused_update_and_keeps_what_still_runs() {
    let mut sim = swarm("nginx:1", 4, |spec| {
        spec.rollback = config(|rollback| rollback.parallelism = 0);
    });
    let before: Vec<String> = sim.live("web").iter().map(|task| task.id.clone()).collect();
    sim.update_service("web", |spec| set_image(spec, "fails:2"));
    sim.advance(Duration::from_secs(30));
    assert_eq!(status(&sim).state(), UpdateState::Paused);
    roll_back(&sim);
    sim.advance(Duration::from_secs(30));
    assert_eq!(status(&sim).state(), UpdateState::RollbackCompleted);
    assert_eq!(sim.count_running("web"), 4);
    let live = sim.live("web");
    let kept = live.iter().filter(|task| before.contains(&task.id));
    assert_eq!(kept.count(), 3, "only what had changed is replaced");
}

#[test]
fn a_rollback_of_a_rollback_brings_the_new_spec_back() {
    let mut sim = swarm("nginx:1", 2, |_| ());
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(30));
    for expect in ["nginx:1", "nginx:2", "nginx:1"] {
        roll_back(&sim);
        sim.advance(Duration::from_secs(30));
        assert_eq!(status(&sim).state(), UpdateState::RollbackCompleted);
        assert_eq!(new_and_old(&sim, expect), (2, 0));
    }
}

#[test]
fn labels_alone_replace_nothing_and_a_forced_update_replaces_all() {
    let mut sim = swarm("nginx:1", 2, |_| ());
    let ids = |sim: &Sim| {
        let live = sim.live("web");
        live.iter().map(|task| task.id.clone()).collect::<Vec<_>>()
    };
    let before = ids(&sim);
    sim.update_service("web", |spec| {
        let labels = &mut spec.annotations.get_or_insert_default().labels;
        labels.insert("tier".into(), "front".into());
    });
    sim.advance(Duration::from_secs(20));
    assert_eq!(ids(&sim), before);
    assert_eq!(status(&sim), UpdateStatus::default());
    sim.update_service("web", |spec| {
        spec.task.get_or_insert_default().force_update += 1;
    });
    sim.advance(Duration::from_secs(20));
    assert!(ids(&sim).iter().all(|id| !before.contains(id)));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
}

#[test]
fn a_node_that_is_lost_during_an_update_does_not_stall_it() {
    for failure in [FailureAction::Pause, FailureAction::Continue] {
        let mut sim = swarm("nginx:1", 6, |spec| {
            spec.update = config(|update| update.set_failure_action(failure));
        });
        // Its agent is gone before the manager knows.
        sim.silent.insert("n1".into());
        sim.update_service("web", |spec| set_image(spec, "nginx:2"));
        sim.advance(Duration::from_secs(3));
        let live = sim.live("web");
        let mut new = live.iter().filter(|task| image(task) == "nginx:2");
        assert!(new.any(|task| task.node_id == "n1"), "{:#?}", sim.summary());
        sim.set_node_state("n1", node_status::State::Down);
        sim.advance(Duration::from_secs(60));
        assert_eq!(
            status(&sim).state(),
            UpdateState::Completed,
            "{:#?}",
            sim.summary()
        );
        assert_eq!(new_and_old(&sim, "nginx:2"), (6, 0));
    }
}

#[test]
fn a_slot_that_is_scaled_away_during_an_update_is_not_waited_for() {
    let mut sim = swarm("nginx:1", 3, |_| ());
    sim.silent.extend(["n1", "n2", "n3"].map(String::from));
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(1));
    for node in ["n1", "n2", "n3"] {
        sim.set_node_state(node, node_status::State::Down);
    }
    sim.write(|tx| {
        tx.edit_service("web", |service| {
            let spec = service.spec.get_or_insert_default();
            let replicas = skep_objects::swarmkit::ReplicatedService { replicas: 0 };
            spec.mode = Some(skep_objects::swarmkit::service_spec::Mode::Replicated(
                replicas,
            ));
        })
    });
    sim.advance(Duration::from_secs(60));
    assert_eq!(
        status(&sim).state(),
        UpdateState::Completed,
        "{:#?}",
        sim.summary()
    );
}

/// As an agent reports it to its manager.
fn fail(sim: &Sim, id: &str) {
    let now = sim.now().timestamp();
    sim.write(|tx| {
        tx.edit_task(id, |task| {
            let status = task.status.get_or_insert_default();
            status.set_state(TaskState::Failed);
            status.timestamp = Some(now);
            status.applied_at = Some(now);
        })
    });
}

fn newest_with(sim: &Sim, wanted: &str) -> String {
    let live = sim.live("web");
    let new = live.iter().find(|task| image(task) == wanted);
    new.unwrap().id.clone()
}

#[test]
fn a_new_leader_does_not_count_what_ran_for_long_as_failed() {
    let mut sim = swarm("nginx:1", 4, |spec| {
        spec.update = config(|update| update.delay = seconds(20));
    });
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(15));
    fail(&sim, &newest_with(&sim, "nginx:2"));
    sim.settle();
    sim.change_leader();
    sim.advance(Duration::from_secs(120));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
    // One that ran for longer than it is watched may fail right after the change, too.
    sim.update_service("web", |spec| set_image(spec, "nginx:3"));
    sim.advance(Duration::from_secs(15));
    sim.change_leader();
    sim.settle();
    fail(&sim, &newest_with(&sim, "nginx:3"));
    sim.advance(Duration::from_secs(120));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
}

#[test]
fn a_new_leader_knows_how_many_slots_an_update_is_about() {
    let mut sim = swarm("nginx:1", 4, |spec| {
        spec.update = config(|update| {
            update.delay = seconds(10);
            update.max_failure_ratio = 0.3;
        });
    });
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.advance(Duration::from_secs(1));
    fail(&sim, &newest_with(&sim, "nginx:2"));
    sim.advance(Duration::from_secs(12));
    assert_eq!(new_and_old(&sim, "nginx:2"), (2, 2), "one of four failed");
    sim.change_leader();
    sim.advance(Duration::from_secs(120));
    assert_eq!(status(&sim).state(), UpdateState::Completed);
    // Two of four are too many, whoever leads.
    sim.update_service("web", |spec| set_image(spec, "nginx:3"));
    sim.advance(Duration::from_secs(1));
    fail(&sim, &newest_with(&sim, "nginx:3"));
    sim.change_leader();
    sim.advance(Duration::from_secs(11));
    let before = status(&sim).state();
    let running: Vec<String> = sim
        .live("web")
        .iter()
        .filter(|task| image(task) == "nginx:3")
        .map(|task| task.id.clone())
        .collect();
    assert_eq!((before, running.len()), (UpdateState::Updating, 2));
    let newest = sim
        .tasks("web")
        .into_iter()
        .filter(|task| running.contains(&task.id));
    let newest = newest.max_by_key(|task| {
        let created = task.meta.as_ref().and_then(|meta| meta.created_at);
        created.map(|at| (at.seconds, at.nanos))
    });
    fail(&sim, &newest.unwrap().id);
    sim.settle();
    assert_eq!(status(&sim).state(), UpdateState::Paused);
}
