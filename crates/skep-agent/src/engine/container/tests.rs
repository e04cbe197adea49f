use super::*;
use skep_objects::swarmkit::container_spec::{DnsConfig, Ulimit};
use skep_objects::swarmkit::{
    Annotations, Driver, Endpoint, NamedGenericResource, NetworkAttachment, NetworkSpec, Platform,
    Resources, TaskSpec,
};

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.into(),
        ..Default::default()
    })
}

fn network(name: &str, driver: &str) -> NetworkAttachment {
    let spec = NetworkSpec {
        annotations: named(name),
        ..Default::default()
    };
    let network = Network {
        id: format!("id-of-{name}"),
        spec: Some(spec),
        driver_state: Some(Driver {
            name: driver.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    NetworkAttachment {
        network: Some(network.into()),
        addresses: vec!["10.0.1.7/24".into()],
        aliases: vec!["web".into()],
        ..Default::default()
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        image: "nginx:latest".into(),
        args: vec!["-g".into()],
        env: vec![
            "SLOT={{.Task.Slot}}".into(),
            "HOST={{.Node.Hostname}}".into(),
        ],
        hostname: "{{.Service.Name}}-{{.Task.Slot}}".into(),
        hosts: vec!["1.2.3.4 a b".into()],
        dns_config: Some(DnsConfig {
            nameservers: vec!["9.9.9.9".into()],
            ..Default::default()
        }),
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 1,
            hard: 2,
        }],
        labels: [("mine".to_owned(), "yes".to_owned())].into(),
        stop_grace_period: Some(prost_types::Duration {
            seconds: 7,
            nanos: 0,
        }),
        ..Default::default()
    }
}

fn task() -> Task {
    let port = |mode: PublishMode, published| PortConfig {
        target_port: 80,
        published_port: published,
        publish_mode: mode.into(),
        ..Default::default()
    };
    let gpu = NamedGenericResource {
        kind: "gpu".into(),
        value: "u1".into(),
    };
    Task {
        id: "t1".into(),
        service_id: "s1".into(),
        slot: 2,
        node_id: "n1".into(),
        service_annotations: named("web").map(Into::into),
        networks: vec![network("front", "overlay"), network("ingress", "overlay")],
        endpoint: Some(
            Endpoint {
                ports: vec![port(PublishMode::Ingress, 8080), port(PublishMode::Host, 0)],
                ..Default::default()
            }
            .into(),
        ),
        assigned_generic_resources: vec![GenericResource {
            resource: Some(Resource::NamedResourceSpec(gpu)),
        }],
        spec: Some(
            TaskSpec {
                resources: Some(ResourceRequirements {
                    limits: Some(Resources {
                        memory_bytes: 100,
                        nano_cpus: 5,
                        ..Default::default()
                    }),
                    swap_bytes: Some(50),
                    ..Default::default()
                }),
                log_driver: Some(Driver {
                    name: "local".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }
            .into(),
        ),
        ..Default::default()
    }
}

fn node() -> NodeDescription {
    NodeDescription {
        hostname: "h1".into(),
        platform: Some(Platform {
            architecture: "x86_64".into(),
            os: "linux".into(),
        }),
        ..Default::default()
    }
}

#[test]
fn a_task_becomes_its_container() {
    let made = container(
        &task(),
        &spec(),
        &node(),
        Vec::new(),
        &AllowedExtras::default(),
    )
    .unwrap();
    assert_eq!(made.name, "web.2.t1");
    assert_eq!(made.config.hostname, "web-2");
    assert_eq!(
        made.config.env.unwrap(),
        ["SLOT=2", "HOST=h1", "DOCKER_RESOURCE_GPU=u1"]
    );
    assert_eq!(made.config.stop_timeout, Some(7));
    let labels = made.config.labels.unwrap();
    assert_eq!(labels["com.docker.swarm.task.name"], "web.2.t1");
    assert_eq!(labels["com.docker.swarm.service.name"], "web");
    assert_eq!(labels["com.docker.swarm.task"], "");
    assert_eq!(labels["mine"], "yes");
    let host = made.host_config;
    assert_eq!(host.extra_hosts.unwrap(), ["a:1.2.3.4", "b:1.2.3.4"]);
    assert_eq!(
        (host.memory, host.nano_cpus, host.memory_swap),
        (100, 5, 150)
    );
    assert_eq!(host.log_config.driver, "local");
    assert_eq!(host.network_mode, "default");
    let managed = made.managed.unwrap();
    let networks: Vec<_> = managed
        .networks
        .iter()
        .map(|n| n.network.id.as_str())
        .collect();
    assert_eq!(networks, ["id-of-front", "id-of-ingress"]);
    assert_eq!(managed.host_ports.len(), 1);
    assert_eq!(
        host.port_bindings.unwrap()["80/tcp"].as_ref().unwrap()[0].host_port,
        ""
    );
}

#[test]
fn a_global_task_is_named_by_its_node() {
    let task = Task { slot: 0, ..task() };
    assert_eq!(
        container(
            &task,
            &spec(),
            &node(),
            Vec::new(),
            &AllowedExtras::default()
        )
        .unwrap()
        .name,
        "web.n1.t1"
    );
}

#[test]
fn the_host_network_is_a_mode() {
    let task = Task {
        networks: vec![network("host", "host")],
        ..task()
    };
    let made = container(
        &task,
        &spec(),
        &node(),
        Vec::new(),
        &AllowedExtras::default(),
    )
    .unwrap();
    assert_eq!(made.host_config.network_mode, "host");
    assert!(made.managed.unwrap().networks.is_empty());
}

#[test]
fn a_bad_placeholder_names_its_place() {
    let spec = ContainerSpec {
        env: vec!["X={{.Nope}}".into()],
        ..spec()
    };
    let error = container(
        &task(),
        &spec,
        &node(),
        Vec::new(),
        &AllowedExtras::default(),
    )
    .unwrap_err()
    .to_string();
    let expected = "expanding env failed: expanding env \"X={{.Nope}}\": template: expansion:1:2: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_services_never_had_comes_by_labels() {
    let labels = [
        ("skep.privileged", "true"),
        ("skep.device", "/dev/fuse,/dev/null:/dev/x:r"),
        ("skep.shm-size", "64m"),
        ("skep.pid", "host"),
    ];
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let spec = ContainerSpec { labels, ..spec() };
    let host = container(
        &task(),
        &spec,
        &node(),
        Vec::new(),
        &AllowedExtras::default(),
    )
    .unwrap()
    .host_config;
    assert!(host.privileged);
    assert_eq!(host.shm_size, 64 << 20);
    assert_eq!(host.pid_mode, "host");
    let devices = host.devices.unwrap();
    assert_eq!(devices[0].path_in_container, "/dev/fuse");
    assert_eq!(devices[1].cgroup_permissions, "r");
}

#[test]
fn a_node_may_refuse_what_services_never_had() {
    let labels = [("skep.privileged".to_owned(), "true".to_owned())].into();
    let spec = ContainerSpec { labels, ..spec() };
    let allowed = AllowedExtras::parse("device").unwrap();
    let error = container(&task(), &spec, &node(), Vec::new(), &allowed)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not let services have skep.privileged"),
        "{error}"
    );
}

#[test]
fn what_is_for_windows_is_refused() {
    let source = skep_objects::swarmkit::privileges::credential_spec::Source::File("x".into());
    let credential_spec = Some(skep_objects::swarmkit::privileges::CredentialSpec {
        source: Some(source),
    });
    let privileges = Some(Privileges {
        credential_spec,
        ..Default::default()
    });
    let spec = ContainerSpec {
        privileges,
        ..spec()
    };
    let error = container(
        &task(),
        &spec,
        &node(),
        Vec::new(),
        &AllowedExtras::default(),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("credential spec"), "{error}");
}
