//! Replicated services.

use std::time::Duration;

use skep_objects::swarmkit::{
    EndpointSpec, PortConfig, ReplicatedService, RestartPolicy, TaskState, UpdateConfig,
    node_spec::Availability, node_status, restart_policy::RestartCondition, service_spec::Mode,
};

use crate::sim::{Sim, service, set_image};

fn set_replicas(spec: &mut skep_objects::swarmkit::ServiceSpec, replicas: u64) {
    spec.mode = Some(Mode::Replicated(ReplicatedService { replicas }));
}

#[test]
fn a_new_service_is_assigned_in_one_transaction() {
    let mut sim = Sim::new(3);
    sim.pass();
    sim.write(|tx| tx.create_service(service("web", "nginx", 60)));
    sim.pass();
    let tasks = sim.tasks("web");
    assert_eq!(tasks.len(), 60);
    assert!(
        tasks
            .iter()
            .all(|task| task.observed_state() == TaskState::Assigned)
    );
    sim.settle();
    assert_eq!(
        sim.running("web").into_values().collect::<Vec<_>>(),
        [20, 20, 20]
    );
}

#[test]
fn published_services_get_ports_and_addresses_before_their_tasks() {
    let mut sim = Sim::new(2);
    let mut web = service("web", "nginx", 2);
    let port = PortConfig {
        target_port: 80,
        published_port: 8080,
        ..Default::default()
    };
    web.spec.as_mut().unwrap().endpoint = Some(EndpointSpec {
        ports: vec![port],
        ..Default::default()
    });
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    let view = sim.view();
    let endpoint = view.service("web").unwrap().endpoint.clone().unwrap();
    assert_eq!(endpoint.virtual_ips.len(), 1);
    assert_eq!(endpoint.virtual_ips[0].addr, "10.0.0.2/24");
    assert_eq!(endpoint.ports[0].published_port, 8080);
    for task in sim.tasks("web") {
        assert_eq!(task.endpoint.as_ref(), Some(&endpoint));
        assert_eq!(task.networks.len(), 1);
        assert_eq!(task.networks[0].addresses.len(), 1);
    }
    for node in view.nodes() {
        assert_eq!(node.attachments.len(), 1, "{}", node.id);
        assert_eq!(node.attachments[0].addresses.len(), 1);
    }
    assert_eq!(sim.count_running("web"), 2);
}

#[test]
fn scaling_reuses_the_lowest_slots_and_leaves_crowded_nodes_first() {
    let mut sim = Sim::new(2);
    sim.write(|tx| tx.create_service(service("web", "nginx", 5)));
    sim.settle();
    sim.update_service("web", |spec| set_replicas(spec, 2));
    sim.advance(Duration::from_secs(1));
    assert_eq!(sim.running("web").into_values().collect::<Vec<_>>(), [1, 1]);
    assert_eq!(sim.tasks("web").len(), 2, "{:#?}", sim.summary());
    sim.update_service("web", |spec| set_replicas(spec, 4));
    sim.settle();
    let slots: Vec<u64> = sim.live("web").iter().map(|task| task.slot).collect();
    assert_eq!(slots, [1, 2, 3, 4]);
}

#[test]
fn failed_tasks_restart_after_the_delay() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(service("bad", "fails", 1)));
    sim.settle();
    assert_eq!(sim.tasks("bad").len(), 2);
    assert_eq!(sim.live("bad")[0].wanted_state(), TaskState::Ready);
    sim.advance(Duration::from_millis(4900));
    assert_eq!(sim.tasks("bad").len(), 2);
    sim.advance(Duration::from_millis(200));
    assert_eq!(sim.tasks("bad").len(), 3);
    sim.advance(Duration::from_secs(122));
    assert_eq!(sim.tasks("bad").len(), 5, "history is kept short");
}

#[test]
fn tasks_of_lost_and_drained_nodes_move_at_once() {
    let mut sim = Sim::new(3);
    sim.write(|tx| tx.create_service(service("web", "nginx", 6)));
    sim.settle();
    sim.set_node_state("n1", node_status::State::Down);
    sim.settle();
    assert_eq!(sim.running("web").keys().collect::<Vec<_>>(), ["n2", "n3"]);
    assert_eq!(sim.count_running("web"), 6);
    sim.set_availability("n2", Availability::Drain);
    sim.settle();
    assert_eq!(sim.running("web").keys().collect::<Vec<_>>(), ["n3"]);
    assert_eq!(sim.count_running("web"), 6);
}

#[test]
fn a_removed_service_leaves_no_task() {
    let mut sim = Sim::new(2);
    sim.write(|tx| tx.create_service(service("web", "nginx", 6)));
    sim.settle();
    sim.write(|tx| tx.remove_service("web"));
    sim.advance(Duration::from_secs(1));
    assert!(sim.tasks("web").is_empty(), "{:#?}", sim.summary());
}

#[test]
fn tasks_without_a_node_say_why_and_run_when_one_comes() {
    let mut sim = Sim::new(3);
    let mut web = service("web", "nginx", 1);
    let task = web.spec.as_mut().unwrap().task.as_mut().unwrap();
    task.placement.get_or_insert_default().constraints = vec!["node.labels.disk==ssd".into()];
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    let tasks = sim.tasks("web");
    let status = tasks[0].status.as_ref().unwrap();
    assert_eq!(
        status.err,
        "no suitable node (scheduling constraints not satisfied on 3 nodes)"
    );
    assert_eq!(status.state(), TaskState::Pending);
    sim.set_label("n2", "disk", "SSD");
    sim.settle();
    assert_eq!(sim.running("web").keys().collect::<Vec<_>>(), ["n2"]);
    assert_eq!(sim.tasks("web")[0].status.as_ref().unwrap().err, "");
}

#[test]
fn a_rolling_update_replaces_every_task_in_turn() {
    let mut sim = Sim::new(3);
    sim.write(|tx| tx.create_service(service("web", "nginx:1", 6)));
    sim.settle();
    sim.update_service("web", |spec| set_image(spec, "nginx:2"));
    sim.settle();
    assert!(
        sim.live("web")
            .iter()
            .all(|task| crate::sim::image(task) == "nginx:2")
    );
    assert_eq!(sim.count_running("web"), 6);
    let status = |sim: &Sim| {
        sim.view()
            .service("web")
            .unwrap()
            .update_status
            .clone()
            .unwrap()
    };
    assert_eq!(status(&sim).message, "update in progress");
    sim.advance(Duration::from_secs(6));
    assert_eq!(status(&sim).message, "update completed");
}

#[test]
fn large_services_are_worked_off_in_several_transactions() {
    let mut sim = Sim::new(4);
    sim.write(|tx| tx.create_service(service("web", "nginx", 2000)));
    let mut before = 0;
    while sim.pass() {
        let tasks = sim.tasks("web").len();
        assert!(
            tasks - before <= 800,
            "{} in one transaction",
            tasks - before
        );
        before = tasks;
    }
    let assigned = |sim: &Sim| {
        let tasks = sim.tasks("web");
        tasks
            .iter()
            .filter(|task| task.observed_state() == TaskState::Assigned)
            .count()
    };
    assert_eq!(assigned(&sim), 2000);
    sim.update_service("web", |spec| set_replicas(spec, 10));
    sim.advance(Duration::from_secs(1));
    assert_eq!(sim.tasks("web").len(), 10);
}

#[test]
fn many_tasks_without_a_node_all_say_why() {
    let mut sim = Sim::new(0);
    sim.write(|tx| tx.create_service(service("web", "nginx", 2000)));
    while sim.pass() {}
    let tasks = sim.tasks("web");
    assert_eq!(tasks.len(), 2000);
    assert!(
        tasks
            .iter()
            .all(|task| task.status.as_ref().unwrap().err == "no suitable node")
    );
}

#[test]
fn slots_that_were_given_up_do_not_come_back_through_their_history() {
    let mut sim = Sim::new(2);
    let mut web = service("web", "completes", 4);
    let spec = web.spec.as_mut().unwrap();
    spec.task.get_or_insert_default().restart = Some(RestartPolicy {
        condition: RestartCondition::None.into(),
        ..Default::default()
    });
    spec.update = Some(UpdateConfig::default());
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    sim.update_service("web", |spec| {
        set_image(spec, "nginx");
        let task = spec.task.get_or_insert_default();
        let placement = task.placement.get_or_insert_default();
        placement.constraints = vec!["node.hostname==nowhere".into()];
    });
    sim.settle();
    assert_eq!(sim.live("web").len(), 4, "{:#?}", sim.summary());
    sim.update_service("web", |spec| set_replicas(spec, 2));
    sim.advance(Duration::from_secs(1));
    let mut slots: Vec<u64> = sim.live("web").iter().map(|task| task.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, [1, 2], "{:#?}", sim.summary());
}
