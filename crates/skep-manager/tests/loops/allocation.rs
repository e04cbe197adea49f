//! Networks, addresses and ports.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_objects::swarmkit::{
    Driver, EndpointSpec, IpamConfig, IpamOptions, Network, NetworkAttachmentConfig,
    NetworkAttachmentSpec, NetworkSpec, PortConfig, Service, Task, TaskSpec, TaskState,
    endpoint_spec::ResolutionMode, task_spec::Runtime,
};

use crate::sim::{Sim, annotations, service};

fn network(id: &str, subnet: &str) -> Network {
    let config = IpamConfig {
        subnet: subnet.into(),
        ..Default::default()
    };
    let configs = if subnet.is_empty() {
        vec![]
    } else {
        vec![config]
    };
    Network {
        id: id.into(),
        spec: Some(NetworkSpec {
            annotations: annotations(id),
            ipam: Some(IpamOptions {
                configs,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn attached(name: &str, replicas: u64, network: &str) -> Service {
    let mut service = service(name, "nginx", replicas);
    let task = service.spec.as_mut().unwrap().task.as_mut().unwrap();
    task.networks = vec![NetworkAttachmentConfig {
        target: network.into(),
        ..Default::default()
    }];
    service
}

fn addresses(sim: &Sim, network: &str) -> Vec<String> {
    let view = sim.view();
    let of_services = view.services().flat_map(|service| {
        let vips = service
            .endpoint
            .iter()
            .flat_map(|endpoint| &endpoint.virtual_ips);
        vips.filter(|vip| vip.network_id == network)
            .map(|vip| vip.addr.clone())
    });
    let on = |attachments: &[skep_objects::swarmkit::NetworkAttachment]| {
        attachments
            .iter()
            .filter(|a| a.network.as_ref().unwrap().id == network)
            .flat_map(|a| a.addresses.clone())
            .collect::<Vec<_>>()
    };
    let of_tasks = view
        .tasks()
        .filter(|task| !task.has_stopped())
        .flat_map(|t| on(&t.networks));
    let of_nodes = view.nodes().flat_map(|node| on(&node.attachments));
    of_services.chain(of_tasks).chain(of_nodes).collect()
}

#[test]
fn nobody_shares_an_address_even_after_a_change_of_leader() {
    let mut sim = Sim::new(3);
    sim.write(|tx| tx.create_network(network("back", "10.10.19.0/24")));
    sim.write(|tx| tx.create_service(attached("a", 10, "back")));
    sim.settle();
    let before = addresses(&sim, "back");
    assert_eq!(before.len(), 1 + 10 + 3);
    sim.change_leader();
    sim.write(|tx| tx.create_service(attached("b", 10, "back")));
    sim.settle();
    let after = addresses(&sim, "back");
    assert_eq!(after.len(), 2 + 20 + 3);
    assert!(before.iter().all(|address| after.contains(address)));
    assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), after.len());
    let networks = sim.view();
    let state = networks
        .network("back")
        .unwrap()
        .driver_state
        .clone()
        .unwrap();
    let option = "com.docker.network.driver.overlay.vxlanid_list";
    assert_eq!(state.options[option], "4097");
    assert_eq!(
        networks
            .network("ingress")
            .unwrap()
            .driver_state
            .clone()
            .unwrap()
            .options[option],
        "4096"
    );
}

#[test]
fn addresses_of_stopped_tasks_are_given_back_but_not_at_once() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_network(network("back", "10.10.19.0/28")));
    sim.write(|tx| tx.create_service(attached("a", 3, "back")));
    sim.settle();
    for round in 0..6 {
        let before = addresses(&sim, "back");
        sim.update_service("a", |spec| {
            spec.task.get_or_insert_default().force_update = round + 1
        });
        sim.advance(Duration::from_secs(10));
        assert_eq!(sim.count_running("a"), 3, "{:#?}", sim.summary());
        assert_ne!(before, addresses(&sim, "back"));
    }
}

#[test]
fn a_full_network_says_so_and_goes_on_when_there_is_room() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_network(network("small", "10.10.19.0/29")));
    sim.write(|tx| tx.create_service(attached("a", 5, "small")));
    sim.settle();
    let waiting: Vec<_> = sim
        .tasks("a")
        .into_iter()
        .filter(|task| task.observed_state() == TaskState::New)
        .collect();
    assert_eq!(waiting.len(), 1, "{:#?}", sim.summary());
    assert_eq!(
        waiting[0].status.as_ref().unwrap().err,
        "no available IP addresses on this pool: 10.10.19.0/29"
    );
    sim.update_service("a", |spec| {
        spec.mode = Some(skep_objects::swarmkit::service_spec::Mode::Replicated(
            skep_objects::swarmkit::ReplicatedService { replicas: 3 },
        ));
    });
    sim.advance(Duration::from_secs(1));
    assert_eq!(sim.tasks("a").len(), 3);
}

#[test]
fn round_robin_services_have_no_address_of_their_own() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_network(network("back", "")));
    let mut web = attached("a", 1, "back");
    let endpoint = EndpointSpec {
        mode: ResolutionMode::Dnsrr.into(),
        ..Default::default()
    };
    web.spec.as_mut().unwrap().endpoint = Some(endpoint);
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    // As dockerd's: its clients see an endpoint without anything.
    assert_eq!(sim.view().service("a").unwrap().endpoint, None);
    assert_eq!(sim.count_running("a"), 1);
    sim.update_service("a", |spec| spec.endpoint = None);
    sim.settle();
    assert_eq!(
        sim.view()
            .service("a")
            .unwrap()
            .endpoint
            .as_ref()
            .unwrap()
            .virtual_ips
            .len(),
        1
    );
}

#[test]
fn node_local_networks_are_attached_without_addresses() {
    let mut sim = Sim::new(1);
    let mut host = network("host", "");
    host.spec.as_mut().unwrap().driver_config = Some(Driver {
        name: "host".into(),
        ..Default::default()
    });
    sim.write(|tx| tx.create_network(host));
    sim.write(|tx| tx.create_service(attached("a", 1, "host")));
    sim.settle();
    let task = sim.live("a").remove(0);
    assert_eq!(task.observed_state(), TaskState::Running);
    assert_eq!(
        task.networks[0]
            .network
            .as_ref()
            .unwrap()
            .driver_state
            .as_ref()
            .unwrap()
            .name,
        "host"
    );
    assert!(task.networks[0].addresses.is_empty());
}

#[test]
fn a_service_waits_for_its_network() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_service(attached("a", 1, "later")));
    sim.settle();
    assert_eq!(sim.count_running("a"), 0);
    sim.write(|tx| tx.create_network(network("later", "")));
    sim.settle();
    assert_eq!(sim.count_running("a"), 1);
}

#[test]
fn addresses_that_are_given_back_go_to_those_that_wait() {
    let mut sim = Sim::new(1);
    sim.write(|tx| {
        tx.create_network(network("back", "10.10.19.0/28"))?;
        tx.create_service(attached("b", 2, "back"))
    });
    sim.settle();
    sim.write(|tx| tx.create_service(attached("a", 20, "back")));
    sim.settle();
    let running = sim.count_running("a");
    assert!((1..20).contains(&running), "{running}");
    sim.write(|tx| tx.remove_service("b"));
    sim.advance(Duration::from_secs(10));
    assert_eq!(sim.count_running("b"), 0);
    // Those of two tasks and of their service.
    assert_eq!(sim.count_running("a"), running + 3);
}

#[test]
fn containers_attached_by_hand_get_an_address_too() {
    let mut sim = Sim::new(1);
    sim.write(|tx| tx.create_network(network("back", "10.10.19.0/24")));
    sim.settle();
    sim.write(|tx| {
        tx.create_task(Task {
            id: "attachment".into(),
            node_id: "n1".into(),
            desired_state: TaskState::Running.into(),
            spec: Some(
                TaskSpec {
                    runtime: Some(Runtime::Attachment(NetworkAttachmentSpec::default())),
                    networks: vec![NetworkAttachmentConfig {
                        target: "back".into(),
                        addresses: vec!["10.10.19.99".into()],
                        ..Default::default()
                    }],
                    ..Default::default()
                }
                .into(),
            ),
            ..Default::default()
        })
    });
    sim.settle();
    let task = sim.view().task("attachment").cloned().unwrap();
    assert_eq!(task.observed_state(), TaskState::Running);
    assert_eq!(task.networks[0].addresses, ["10.10.19.99/24"]);
}

#[test]
fn open_ports_are_chosen_and_kept() {
    let mut sim = Sim::new(1);
    let mut web = service("a", "nginx", 1);
    let port = PortConfig {
        target_port: 80,
        ..Default::default()
    };
    web.spec.as_mut().unwrap().endpoint = Some(EndpointSpec {
        ports: vec![port],
        ..Default::default()
    });
    sim.write(|tx| tx.create_service(web));
    sim.settle();
    let published = |sim: &Sim| {
        sim.view()
            .service("a")
            .unwrap()
            .endpoint
            .as_ref()
            .unwrap()
            .ports[0]
            .published_port
    };
    assert_eq!(published(&sim), 30_000);
    sim.update_service("a", |spec| {
        spec.task.get_or_insert_default().force_update = 1
    });
    sim.advance(Duration::from_secs(10));
    sim.change_leader();
    sim.settle();
    assert_eq!(published(&sim), 30_000);
}
