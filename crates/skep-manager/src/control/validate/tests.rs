use prost_types::{Any, Duration};
use skep_objects::swarmkit::{
    Annotations, ConfigReference, ContainerSpec, DiscreteGenericResource, EndpointSpec, FileTarget,
    GenericResource, GenericRuntimeSpec, GlobalJob, HealthConfig, IpamConfig, IpamOptions, Mount,
    NamedGenericResource, NetworkAttachmentSpec, NetworkSpec, Placement, PortConfig, Privileges,
    ReplicatedJob, ReplicatedService, ResourceRequirements, Resources, RestartPolicy,
    RuntimeTarget, SecretReference, ServiceSpec, TaskSpec, UpdateConfig, config_reference,
    generic_resource::Resource, privileges::CredentialSpec, privileges::credential_spec::Source,
    secret_reference, service_spec::Mode, task_spec::Runtime,
};

use super::*;

fn container() -> ContainerSpec {
    ContainerSpec {
        image: "nginx:1.27".to_owned(),
        ..Default::default()
    }
}

fn service() -> ServiceSpec {
    ServiceSpec {
        annotations: Some(Annotations {
            name: "web".to_owned(),
            ..Default::default()
        }),
        task: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(container())),
                ..Default::default()
            }
            .into(),
        ),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 1 })),
        ..Default::default()
    }
}

/// `expect` is empty for what is accepted.
fn check(expect: &str, change: impl FnOnce(&mut ServiceSpec)) {
    let mut spec = service();
    change(&mut spec);
    let answer = validate_service_spec(&spec)
        .err()
        .map(|error| error.to_string());
    assert_eq!(answer.unwrap_or_default(), expect, "{spec:?}");
}

fn check_task(expect: &str, change: impl FnOnce(&mut TaskSpec)) {
    check(expect, |spec| change(spec.task.as_mut().unwrap()));
}

fn check_container(expect: &str, change: impl FnOnce(&mut ContainerSpec)) {
    check_task(expect, |task| {
        let mut spec = container();
        change(&mut spec);
        task.runtime = Some(Runtime::Container(spec));
    });
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

#[test]
fn service_names_are_dns_names_of_at_most_63_characters() {
    let name = |text: &str| {
        let name = text.to_owned();
        move |spec: &mut ServiceSpec| spec.annotations.as_mut().unwrap().name = name
    };
    check("", name("web"));
    check("", name("a_b--C9"));
    check("", name(&"a".repeat(63)));
    check("meta: name must be provided", name(""));
    check("name must be 63 characters or fewer", name(&"a".repeat(64)));
    for bad in ["-web", "web-", "we b", "web.eu", "wéb", "_"] {
        check("name must be valid as a DNS name component", name(bad));
    }
    check("meta: name must be provided", |spec| {
        spec.annotations = None
    });
}

#[test]
fn secret_and_config_names_have_their_own_alphabet() {
    let long = "a".repeat(65);
    let invalid = "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end \
                   character must be [a-zA-Z0-9]";
    for (name, expect) in [
        ("db.password-1_x", ""),
        (&long[..64], ""),
        ("", "name must be provided"),
        (&long, invalid),
        (".a", invalid),
        ("a.", invalid),
        ("a b", invalid),
    ] {
        let annotations = Annotations {
            name: name.to_owned(),
            ..Default::default()
        };
        let answer = validate_object_name(Some(&annotations))
            .err()
            .map(|error| error.to_string());
        assert_eq!(answer.unwrap_or_default(), expect, "{name}");
    }
}

#[test]
fn a_service_has_a_mode_and_jobs_have_no_update_config() {
    check("Unrecognized service mode", |spec| spec.mode = None);
    let minus_one = u64::MAX;
    check("Number of replicas must be non-negative", |spec| {
        spec.mode = Some(Mode::Replicated(ReplicatedService {
            replicas: minus_one,
        }));
    });
    check("Maximum concurrent jobs must not be negative", |spec| {
        spec.mode = Some(Mode::ReplicatedJob(ReplicatedJob {
            max_concurrent: minus_one,
            total_completions: 1,
        }));
    });
    check("Total completed jobs must not be negative", |spec| {
        spec.mode = Some(Mode::ReplicatedJob(ReplicatedJob {
            max_concurrent: 1,
            total_completions: minus_one,
        }));
    });
    check("Jobs may not have an update config", |spec| {
        spec.mode = Some(Mode::GlobalJob(GlobalJob {}));
        spec.update = Some(UpdateConfig::default());
    });
    check("", |spec| spec.mode = Some(Mode::GlobalJob(GlobalJob {})));
}

#[test]
fn cpu_and_memory_have_a_least_amount() {
    let limits = |nano_cpus, memory_bytes| {
        Some(ResourceRequirements {
            limits: Some(Resources {
                nano_cpus,
                memory_bytes,
                generic: vec![],
            }),
            ..Default::default()
        })
    };
    check_task("", |task| task.resources = limits(0, 0));
    check_task("", |task| task.resources = limits(1_000_000, 4 << 20));
    check_task("invalid cpu value 0.0005: Must be at least 0.001", |task| {
        task.resources = limits(500_000, 0);
    });
    check_task("invalid memory value 1024: Must be at least 4MiB", |task| {
        task.resources = limits(0, 1024);
    });
}

#[test]
fn only_numbers_of_generic_resources_can_be_reserved() {
    let reserve = |resource| {
        Some(ResourceRequirements {
            reservations: Some(Resources {
                generic: vec![GenericResource {
                    resource: Some(resource),
                }],
                ..Default::default()
            }),
            ..Default::default()
        })
    };
    let kind = || "gpu".to_owned();
    check_task("", |task| {
        task.resources = reserve(Resource::DiscreteResourceSpec(DiscreteGenericResource {
            kind: kind(),
            value: 2,
        }));
    });
    check_task(
        "invalid argument for resource gpu: only a number of them can be reserved",
        |task| {
            let named = NamedGenericResource {
                kind: kind(),
                value: "UUID1".to_owned(),
            };
            task.resources = reserve(Resource::NamedResourceSpec(named));
        },
    );
}

#[test]
fn policies_hold_no_negative_durations() {
    let update = |config: UpdateConfig| move |spec: &mut ServiceSpec| spec.update = Some(config);
    check_task("TaskSpec: restart-delay cannot be negative", |task| {
        task.restart = Some(RestartPolicy {
            delay: seconds(-1),
            ..Default::default()
        });
    });
    check_task("TaskSpec: restart-window cannot be negative", |task| {
        task.restart = Some(RestartPolicy {
            window: seconds(-1),
            ..Default::default()
        });
    });
    check(
        "TaskSpec: update-delay cannot be negative",
        update(UpdateConfig {
            delay: seconds(-1),
            ..Default::default()
        }),
    );
    check(
        "TaskSpec: update-monitor cannot be negative",
        update(UpdateConfig {
            monitor: seconds(-1),
            ..Default::default()
        }),
    );
    for ratio in [-0.1, 1.1, f32::NAN] {
        check(
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
            update(UpdateConfig {
                max_failure_ratio: ratio,
                ..Default::default()
            }),
        );
    }
    check("TaskSpec: update-delay cannot be negative", |spec| {
        spec.rollback = Some(UpdateConfig {
            delay: seconds(-1),
            ..Default::default()
        });
    });
}

#[test]
fn constraints_are_comparisons() {
    let constraint = |text: &str| {
        let placement = Placement {
            constraints: vec![text.to_owned()],
            ..Default::default()
        };
        move |task: &mut TaskSpec| task.placement = Some(placement)
    };
    check_task("", constraint("node.labels.disk == ssd"));
    check_task(
        "constraint expected one operator from ==, !=",
        constraint("node.role=manager"),
    );
    check_task("key '?' is invalid", constraint("? == 1"));
}

#[test]
fn an_image_is_a_valid_reference() {
    check_container("ContainerSpec: image reference must be provided", |spec| {
        spec.image.clear()
    });
    check_container(
        "ContainerSpec: \"Nginx:::\" is not a valid repository/tag",
        |spec| {
            spec.image = "Nginx:::".to_owned();
        },
    );
}

#[test]
fn placeholders_must_expand() {
    check_container("", |container| {
        container.hostname = "{{.Service.Name}}-{{.Task.Slot}}".into();
        container.env = vec!["NODE={{.Node.Hostname}}".into(), "PLAIN={}".into()];
    });
    check_container(
        "expanding hostname failed: template: expansion:1:2: executing \"expansion\" at <.Nothing>: can't evaluate field Nothing in type *template.Context",
        |container| container.hostname = "{{.Nothing}}".into(),
    );
    check_container(
        "expanding env failed: expanding env \"A={{.Task.Colour}}\": template: expansion:1:7: executing \"expansion\" at <.Task.Colour>: can't evaluate field Colour in type struct { ID string; Name string; Slot string }",
        |container| container.env = vec!["A={{.Task.Colour}}".into()],
    );
}

#[test]
fn two_mounts_cannot_share_a_target() {
    let mount = Mount {
        target: "/data".to_owned(),
        ..Default::default()
    };
    check_container("", |spec| spec.mounts = vec![mount.clone()]);
    check_container("ContainerSpec: duplicate mount point: /data", |spec| {
        spec.mounts = vec![mount.clone(), mount.clone()];
    });
}

#[test]
fn health_check_durations_are_unset_or_a_millisecond() {
    let tiny = || {
        Some(Duration {
            seconds: 0,
            nanos: 999_999,
        })
    };
    let health =
        |check: HealthConfig| move |spec: &mut ContainerSpec| spec.healthcheck = Some(check);
    check_container(
        "",
        health(HealthConfig {
            interval: seconds(0),
            ..Default::default()
        }),
    );
    let text =
        |name: &str| format!("ContainerSpec: {name} in HealthConfig cannot be less than 1ms");
    check_container(
        &text("Interval"),
        health(HealthConfig {
            interval: tiny(),
            ..Default::default()
        }),
    );
    check_container(
        &text("Timeout"),
        health(HealthConfig {
            timeout: tiny(),
            ..Default::default()
        }),
    );
    check_container(
        &text("StartPeriod"),
        health(HealthConfig {
            start_period: seconds(-1),
            ..Default::default()
        }),
    );
    check_container(
        &text("StartInterval"),
        health(HealthConfig {
            start_interval: tiny(),
            ..Default::default()
        }),
    );
    check_container(
        "ContainerSpec: Retries in HealthConfig cannot be negative",
        health(HealthConfig {
            retries: -1,
            ..Default::default()
        }),
    );
}

fn secret(name: &str, file: &str) -> SecretReference {
    SecretReference {
        secret_id: format!("id-{name}"),
        secret_name: name.to_owned(),
        target: Some(secret_reference::Target::File(FileTarget {
            name: file.to_owned(),
            ..Default::default()
        })),
    }
}

#[test]
fn secret_references_are_whole_and_do_not_collide() {
    check_container("", |spec| {
        spec.secrets = vec![secret("a", "a"), secret("b", "b")]
    });
    check_container(
        "secret references 'a' and 'b' have a conflicting target: 'x'",
        |spec| {
            spec.secrets = vec![secret("a", "x"), secret("b", "x")];
        },
    );
    check_container(
        "malformed file based secret reference, invalid target file name provided",
        |spec| spec.secrets = vec![secret("a", "")],
    );
    check_container("malformed secret reference, no target provided", |spec| {
        spec.secrets = vec![SecretReference {
            target: None,
            ..secret("a", "a")
        }];
    });
    check_container("malformed secret reference", |spec| {
        spec.secrets = vec![SecretReference {
            secret_id: String::new(),
            ..secret("a", "a")
        }];
    });
}

#[test]
fn a_credential_spec_needs_its_config_among_the_references() {
    let config = |target| ConfigReference {
        config_id: "c1".to_owned(),
        config_name: "spec".to_owned(),
        target: Some(target),
    };
    let privileges = || {
        Some(Privileges {
            credential_spec: Some(CredentialSpec {
                source: Some(Source::Config("c1".to_owned())),
            }),
            ..Default::default()
        })
    };
    check_container("", |spec| {
        spec.privileges = privileges();
        spec.configs = vec![config(config_reference::Target::Runtime(RuntimeTarget {}))];
    });
    check_container(
        "CredentialSpec references config c1 that isn't in config references with RuntimeTarget",
        |spec| spec.privileges = privileges(),
    );
}

#[test]
fn ports_do_not_collide_and_ingress_needs_a_vip() {
    let port = |published_port, publish_mode| PortConfig {
        published_port,
        publish_mode,
        target_port: 80,
        ..Default::default()
    };
    let endpoint = |mode, ports: Vec<PortConfig>| {
        move |spec: &mut ServiceSpec| spec.endpoint = Some(EndpointSpec { mode, ports })
    };
    check(
        "",
        endpoint(0, vec![port(80, 0), port(81, 0), port(0, 0), port(0, 0)]),
    );
    check("", endpoint(1, vec![port(80, 1)]));
    check(
        "EndpointSpec: duplicate published ports provided",
        endpoint(0, vec![port(80, 0), port(80, 1)]),
    );
    check(
        "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        endpoint(1, vec![port(80, 0)]),
    );
    check(
        "EndpointSpec: invalid port 65536: Must be at most 65535",
        endpoint(0, vec![port(65_536, 0)]),
    );
    let udp = PortConfig {
        protocol: 1,
        ..port(80, 0)
    };
    check("", endpoint(0, vec![port(80, 0), udp]));
}

#[test]
fn a_task_runs_a_container_or_a_generic_runtime() {
    let generic = |kind: &str, type_url: &str| {
        let spec = GenericRuntimeSpec {
            kind: kind.to_owned(),
            payload: Some(Any {
                type_url: type_url.to_owned(),
                value: vec![],
            }),
        };
        move |task: &mut TaskSpec| task.runtime = Some(Runtime::Generic(spec))
    };
    check("TaskSpec: missing runtime", |spec| spec.task = None);
    check_task("TaskSpec: missing runtime", |task| task.runtime = None);
    check_task(
        "RuntimeSpec: unimplemented runtime in service spec",
        |task| {
            task.runtime = Some(Runtime::Attachment(NetworkAttachmentSpec::default()));
        },
    );
    check_task("", generic("plugin", "type.googleapis.com/x"));
    check_task("Generic runtime: Invalid name \"p\"", generic("p", "x"));
    check_task(
        "Generic runtime: container is a reserved name",
        generic("container", "x"),
    );
    check_task(
        "Generic runtime is missing payload type",
        generic("plugin", ""),
    );
}

#[test]
fn a_network_s_pool_holds_its_range_and_gateway() {
    let check = |pool: (&str, &str, &str), expect: &str| {
        let (subnet, range, gateway) = pool;
        let config = IpamConfig {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            ..Default::default()
        };
        let spec = NetworkSpec {
            annotations: Some(Annotations {
                name: "net".to_owned(),
                ..Default::default()
            }),
            ipam: Some(IpamOptions {
                driver: None,
                configs: vec![config],
            }),
            ..Default::default()
        };
        let answer = validate_network_spec(&spec)
            .err()
            .map(|error| error.to_string());
        assert_eq!(answer.unwrap_or_default(), expect);
    };
    check(("10.1.0.0/16", "10.1.5.0/24", "10.1.0.1"), "");
    check(("fd00::/64", "", "fd00::1"), "");
    check(("0.0.0.0/0", "10.1.5.0/24", "10.1.0.1"), "");
    check(("", "", ""), "ipam configuration: invalid subnet ");
    check(
        ("10.1.0.0/33", "", ""),
        "ipam configuration: invalid subnet 10.1.0.0/33",
    );
    check(
        ("10.1.0.0/16", "x", ""),
        "ipam configuration: invalid range x",
    );
    check(
        ("10.1.0.0/16", "10.2.0.0/24", ""),
        "ipam configuration: subnet 10.1.0.0/16 does not contain range 10.2.0.0/24",
    );
    check(
        ("10.1.0.0/16", "", "x"),
        "ipam configuration: invalid gateway x",
    );
    check(
        ("10.1.0.0/16", "", "10.2.0.1"),
        "ipam configuration: subnet 10.1.0.0/16 does not contain gateway 10.2.0.1",
    );
}

#[test]
fn an_ingress_network_is_not_attachable() {
    let spec = NetworkSpec {
        ingress: true,
        attachable: true,
        ..Default::default()
    };
    let answer = validate_network_spec(&spec).unwrap_err().to_string();
    assert_eq!(answer, "ingress network cannot be attachable");
}

#[test]
fn labels_of_scaling_by_load_are_whole_and_fit_the_service() {
    let check = |labels: &[(&str, &str)], expect: &str, change: fn(&mut ServiceSpec)| {
        check(expect, |spec| {
            let own = &mut spec.annotations.get_or_insert_default().labels;
            for (key, value) in [("min", "1"), ("max", "4")].iter().chain(labels) {
                own.insert(format!("skep.autoscale.{key}"), (*value).to_owned());
            }
            change(spec);
        });
    };
    let with_memory = |spec: &mut ServiceSpec| {
        let resources = spec
            .task
            .get_or_insert_default()
            .resources
            .get_or_insert_default();
        resources.limits.get_or_insert_default().memory_bytes = 64 << 20;
    };
    check(&[("cpu", "70")], "", |_| ());
    check(&[("memory", "70")], "", with_memory);
    check(
        &[("memory", "70")],
        "label skep.autoscale.memory: the service has neither a memory limit nor a reservation",
        |_| (),
    );
    check(
        &[("cpu", "70"), ("max", "many")],
        "invalid value \"many\" of label skep.autoscale.max: must be a whole number from 1",
        |_| (),
    );
    check(
        &[("cpu", "70")],
        "label skep.autoscale.min: only replicated services are scaled by their load",
        |spec| spec.mode = Some(Mode::GlobalJob(GlobalJob {})),
    );
}
