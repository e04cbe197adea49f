//! Where tasks go.

use std::time::Duration;

use skep_manager::scheduler::strategy::STRATEGY_LABEL;
use skep_objects::swarmkit::{
    DiscreteGenericResource, Driver, EndpointSpec, EngineDescription, GenericResource, Mount,
    NamedGenericResource, Placement, PlacementPreference, Platform, PluginDescription, PortConfig,
    Service, SpreadOver, TaskState, generic_resource::Resource, mount,
    placement_preference::Preference, port_config::PublishMode, task_spec::Runtime,
};

use crate::sim::{Sim, node, service};

fn placed(replicas: u64, change: impl FnOnce(&mut Placement)) -> Service {
    let mut web = service("web", "nginx", replicas);
    let task = web.spec.as_mut().unwrap().task.as_mut().unwrap();
    change(task.placement.get_or_insert_default());
    web
}

fn reserving(name: &str, replicas: u64, cpus: i64) -> Service {
    let mut web = service(name, "nginx", replicas);
    let task = web.spec.as_mut().unwrap().task.as_mut().unwrap();
    let resources = task.resources.get_or_insert_default();
    resources.reservations.get_or_insert_default().nano_cpus = cpus * 1_000_000_000;
    web
}

fn with_strategy(mut service: Service, strategy: &str) -> Service {
    let annotations = service.spec.as_mut().unwrap().annotations.as_mut().unwrap();
    annotations
        .labels
        .insert(STRATEGY_LABEL.into(), strategy.into());
    service
}

fn create(sim: &mut Sim, service: Service) {
    sim.write(|tx| tx.create_service(service));
    sim.settle();
}

fn counts(sim: &Sim, service: &str) -> Vec<usize> {
    sim.running(service).into_values().collect()
}

fn error(sim: &Sim, service: &str) -> String {
    let tasks = sim.tasks(service);
    let waiting = tasks
        .iter()
        .find(|task| task.observed_state() == TaskState::Pending);
    waiting
        .map(|task| task.status.as_ref().unwrap().err.to_string())
        .unwrap_or_default()
}

#[test]
fn spread_evens_out_each_service_then_the_whole() {
    let mut sim = Sim::new(3);
    create(&mut sim, service("a", "nginx", 4));
    create(&mut sim, service("b", "nginx", 2));
    assert_eq!(counts(&sim, "b"), [1, 1]);
    assert!(
        sim.running("a")
            .into_iter()
            .all(|(node, count)| { count == 1 || !sim.running("b").contains_key(&node) })
    );
}

#[test]
fn binpack_fills_a_node_before_it_takes_the_next() {
    let mut sim = Sim::new(3);
    create(&mut sim, with_strategy(reserving("a", 6, 1), "binpack"));
    let mut counts = counts(&sim, "a");
    counts.sort_unstable();
    assert_eq!(counts, [2, 4]);
}

#[test]
fn binpack_without_reservations_goes_by_tasks() {
    let mut sim = Sim::new(3);
    create(&mut sim, service("one", "nginx", 1));
    create(&mut sim, with_strategy(service("a", "nginx", 5), "binpack"));
    assert_eq!(
        sim.running("a").into_keys().collect::<Vec<_>>(),
        sim.running("one").into_keys().collect::<Vec<_>>()
    );
}

#[test]
fn random_uses_all_nodes_and_the_swarms_label_counts() {
    let mut sim = Sim::new(3);
    sim.write(|tx| {
        let id = tx.the_cluster().unwrap().id.clone();
        tx.edit_cluster(&id, |cluster| {
            let spec = cluster.spec.get_or_insert_default();
            let labels = &mut spec.annotations.get_or_insert_default().labels;
            labels.insert(STRATEGY_LABEL.into(), "random".into());
        })
    });
    create(&mut sim, service("a", "nginx", 90));
    let counts = counts(&sim, "a");
    assert_eq!(counts.iter().sum::<usize>(), 90);
    assert!(
        counts.iter().all(|count| (10..60).contains(count)),
        "{counts:?}"
    );
    assert_ne!(counts, [30, 30, 30]);
}

#[test]
fn preferences_even_out_branches_whatever_their_size() {
    let mut sim = Sim::new(5);
    for (node, zone, rack) in [
        ("n1", "a", "1"),
        ("n2", "b", "1"),
        ("n3", "b", "2"),
        ("n4", "b", "2"),
        ("n5", "b", "2"),
    ] {
        sim.set_label(node, "zone", zone);
        sim.set_label(node, "rack", rack);
    }
    let spread = |descriptor: &str| PlacementPreference {
        preference: Some(Preference::Spread(SpreadOver {
            spread_descriptor: descriptor.into(),
        })),
    };
    create(
        &mut sim,
        placed(12, |placement| {
            placement.preferences = vec![spread("node.labels.zone"), spread("node.labels.rack")];
        }),
    );
    let running = sim.running("web");
    assert_eq!(running["n1"], 6);
    assert_eq!(running["n2"], 3);
    assert_eq!(running["n3"] + running["n4"] + running["n5"], 3);
}

#[test]
fn max_replicas_bound_each_node() {
    let mut sim = Sim::new(2);
    create(&mut sim, placed(6, |placement| placement.max_replicas = 2));
    assert_eq!(counts(&sim, "web"), [2, 2]);
    assert_eq!(
        error(&sim, "web"),
        "no suitable node (max replicas per node limit exceed)"
    );
}

#[test]
fn reservations_are_added_up_and_freed() {
    let mut sim = Sim::new(1);
    create(&mut sim, reserving("a", 3, 1));
    create(&mut sim, reserving("b", 1, 2));
    assert_eq!(
        error(&sim, "b"),
        "no suitable node (insufficient resources on 1 node)"
    );
    sim.write(|tx| tx.remove_service("a"));
    sim.advance(Duration::from_secs(1));
    assert_eq!(sim.count_running("b"), 1);
}

#[test]
fn host_ports_are_taken_once_a_node() {
    let mut sim = Sim::new(2);
    let mut web = service("web", "nginx", 3);
    let port = PortConfig {
        target_port: 80,
        published_port: 80,
        publish_mode: PublishMode::Host.into(),
        ..Default::default()
    };
    web.spec.as_mut().unwrap().endpoint = Some(EndpointSpec {
        ports: vec![port],
        ..Default::default()
    });
    create(&mut sim, web);
    assert_eq!(counts(&sim, "web"), [1, 1]);
    assert_eq!(
        error(&sim, "web"),
        "no suitable node (host-mode port already in use on 2 nodes)"
    );
}

#[test]
fn platforms_and_plugins_are_looked_at() {
    let mut sim = Sim::new(2);
    sim.write(|tx| {
        tx.edit_node("n2", |node| {
            let description = node.description.get_or_insert_default();
            description.platform.get_or_insert_default().architecture = "aarch64".into();
            description.engine = Some(EngineDescription {
                plugins: vec![PluginDescription {
                    r#type: "Volume".into(),
                    name: "nfs:latest".into(),
                }],
                ..Default::default()
            });
        })?;
        tx.edit_node("n1", |node| {
            node.description.get_or_insert_default().engine = Some(EngineDescription::default());
        })
    });
    create(
        &mut sim,
        placed(2, |placement| {
            placement.platforms = vec![Platform {
                architecture: "arm64".into(),
                os: "linux".into(),
            }];
        }),
    );
    assert_eq!(sim.running("web").into_keys().collect::<Vec<_>>(), ["n2"]);
    let mut stored = service("stored", "nginx", 2);
    let runtime = stored
        .spec
        .as_mut()
        .unwrap()
        .task
        .as_mut()
        .unwrap()
        .runtime
        .as_mut();
    if let Some(Runtime::Container(container)) = runtime {
        container.mounts = vec![Mount {
            r#type: mount::Type::Volume.into(),
            volume_options: Some(mount::VolumeOptions {
                driver_config: Some(Driver {
                    name: "nfs".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }];
    }
    create(&mut sim, stored);
    assert_eq!(
        sim.running("stored").into_keys().collect::<Vec<_>>(),
        ["n2"]
    );
    create(&mut sim, {
        let mut windows = placed(1, |placement| {
            placement.platforms = vec![Platform {
                architecture: String::new(),
                os: "windows".into(),
            }];
        });
        windows.id = "windows".into();
        windows
            .spec
            .as_mut()
            .unwrap()
            .annotations
            .as_mut()
            .unwrap()
            .name = "windows".into();
        windows
    });
    assert_eq!(
        error(&sim, "windows"),
        "no suitable node (unsupported platform on 2 nodes)"
    );
}

#[test]
fn generic_resources_are_assigned_by_name() {
    let mut sim = Sim::new(1);
    let gpu = |value: &str| GenericResource {
        resource: Some(Resource::NamedResourceSpec(NamedGenericResource {
            kind: "gpu".into(),
            value: value.into(),
        })),
    };
    sim.write(|tx| {
        tx.edit_node("n1", |node| {
            let resources = node
                .description
                .get_or_insert_default()
                .resources
                .get_or_insert_default();
            resources.generic = vec![gpu("a"), gpu("b")];
        })
    });
    let mut web = service("web", "nginx", 3);
    let task = web.spec.as_mut().unwrap().task.as_mut().unwrap();
    let reservations = task
        .resources
        .get_or_insert_default()
        .reservations
        .get_or_insert_default();
    let one = DiscreteGenericResource {
        kind: "gpu".into(),
        value: 1,
    };
    reservations.generic = vec![GenericResource {
        resource: Some(Resource::DiscreteResourceSpec(one)),
    }];
    create(&mut sim, web);
    let mut assigned: Vec<_> = sim
        .live("web")
        .iter()
        .flat_map(|task| task.assigned_generic_resources.clone())
        .collect();
    assigned.sort_by_key(|resource| format!("{resource:?}"));
    assert_eq!(assigned, [gpu("a"), gpu("b")]);
    assert_eq!(
        error(&sim, "web"),
        "no suitable node (insufficient resources on 1 node)"
    );
}

#[test]
fn nodes_where_tasks_keep_failing_are_used_last() {
    let mut sim = Sim::new(2);
    sim.write(|tx| {
        tx.edit_node("n2", |node| {
            node.spec
                .get_or_insert_default()
                .set_availability(skep_objects::swarmkit::node_spec::Availability::Pause)
        })
    });
    create(&mut sim, service("bad", "fails", 1));
    sim.advance(Duration::from_secs(29));
    sim.set_availability(
        "n2",
        skep_objects::swarmkit::node_spec::Availability::Active,
    );
    sim.advance(Duration::from_secs(12));
    let live = sim.live("bad");
    assert_eq!(live[0].node_id, "n2", "{:#?}", sim.summary());
}

#[test]
fn a_node_that_breaks_a_constraint_loses_its_tasks() {
    let mut sim = Sim::new(2);
    sim.set_label("n1", "disk", "ssd");
    create(
        &mut sim,
        placed(2, |placement| {
            placement.constraints = vec!["node.labels.disk==ssd".into()];
        }),
    );
    assert_eq!(sim.running("web")["n1"], 2);
    sim.set_label("n1", "disk", "hdd");
    sim.set_label("n2", "disk", "ssd");
    sim.advance(Duration::from_secs(6));
    assert_eq!(
        sim.running("web").into_iter().collect::<Vec<_>>(),
        [("n2".to_owned(), 2)]
    );
    let rejected = sim
        .tasks("web")
        .into_iter()
        .find(|task| task.node_id == "n1")
        .unwrap();
    let status = rejected.status.as_ref().unwrap();
    assert_eq!(status.state(), TaskState::Rejected);
    assert_eq!(status.err, "assigned node no longer meets constraints");
}

#[test]
fn a_node_that_shrinks_loses_what_no_longer_fits() {
    let mut sim = Sim::new(1);
    create(&mut sim, reserving("a", 3, 1));
    sim.write(|tx| {
        tx.edit_node("n1", |node| {
            let description = node.description.get_or_insert_default();
            description.resources.get_or_insert_default().nano_cpus = 2_000_000_000;
        })
    });
    sim.advance(Duration::from_secs(6));
    assert_eq!(sim.count_running("a"), 2);
    sim.write(|tx| tx.create_node(node("n9")));
    sim.settle();
    assert_eq!(sim.count_running("a"), 3);
}
