//! Tasks, and the part of a service's spec that describes them.

use proto::{generic_resource, placement_preference, restart_policy::RestartCondition, task_spec};
use skep_objects::api::encode::{self, duration, nanoseconds};
use skep_objects::api::service as api;
use skep_objects::api::task::{
    ContainerStatus, NetworkAttachment, PortStatus, Task, TaskStatus, VolumeAttachment,
};
use skep_objects::swarmkit as proto;

use super::network::from_task_network;
use super::service::from_ports;
use super::{ConvertError, annotations, container, from_driver, meta, proto_name, to_driver, word};

/// A task as the API shows it.
pub fn from_task(task: &proto::Task) -> Task {
    let (version, created_at, updated_at) = meta(task.meta.as_ref());
    let (name, labels) = annotations(task.annotations.as_deref());
    let status = task.status.clone().unwrap_or_default();
    Task {
        id: task.id.clone(),
        version,
        created_at,
        updated_at,
        name,
        labels,
        spec: task.spec.as_deref().map(from_spec).unwrap_or_default(),
        service_id: task.service_id.to_string(),
        slot: task.slot,
        node_id: task.node_id.to_string(),
        desired_state: task.desired_state().name().to_owned(),
        status: from_status(status),
        networks_attachments: task.networks.iter().map(from_attachment).collect(),
        generic_resources: from_generic_resources(&task.assigned_generic_resources),
        job_iteration: task
            .job_iteration
            .as_ref()
            .map(|v| api::Version { index: v.index }),
        volumes: Some(task.volumes.iter().map(from_volume).collect())
            .filter(|v: &Vec<_>| !v.is_empty()),
    }
}

fn from_status(status: proto::TaskStatus) -> TaskStatus {
    let container_status = status.runtime_status.as_ref().map(|runtime| {
        let proto::task_status::RuntimeStatus::Container(container) = runtime;
        ContainerStatus {
            container_id: container.container_id.clone(),
            pid: container.pid,
            exit_code: container.exit_code,
        }
    });
    let ports = status
        .port_status
        .as_ref()
        .map(|p| from_ports(&p.ports))
        .unwrap_or_default();
    TaskStatus {
        timestamp: encode::timestamp(status.timestamp.as_ref()),
        state: status.state().name().to_owned(),
        message: status.message.into(),
        err: status.err.into(),
        container_status,
        port_status: PortStatus { ports },
    }
}

fn from_attachment(attachment: &proto::NetworkAttachment) -> NetworkAttachment {
    NetworkAttachment {
        network: attachment
            .network
            .as_deref()
            .map(from_task_network)
            .unwrap_or_default(),
        addresses: attachment.addresses.clone(),
    }
}

fn from_volume(volume: &proto::VolumeAttachment) -> VolumeAttachment {
    VolumeAttachment {
        id: volume.id.clone(),
        source: volume.source.clone(),
        target: volume.target.clone(),
    }
}

/// Generic resources, named and counted.
pub fn from_generic_resources(resources: &[proto::GenericResource]) -> Vec<api::GenericResource> {
    resources
        .iter()
        .filter_map(|resource| resource.resource.as_ref())
        .map(|resource| match resource {
            generic_resource::Resource::NamedResourceSpec(named) => api::GenericResource {
                named_resource_spec: Some(api::NamedGenericResource {
                    kind: named.kind.clone(),
                    value: named.value.clone(),
                }),
                discrete_resource_spec: None,
            },
            generic_resource::Resource::DiscreteResourceSpec(count) => api::GenericResource {
                named_resource_spec: None,
                discrete_resource_spec: Some(api::DiscreteGenericResource {
                    kind: count.kind.clone(),
                    value: count.value,
                }),
            },
        })
        .collect()
}

fn to_generic_resources(resources: Vec<api::GenericResource>) -> Vec<proto::GenericResource> {
    let convert = |resource: api::GenericResource| {
        let named = resource.named_resource_spec.map(|named| {
            generic_resource::Resource::NamedResourceSpec(proto::NamedGenericResource {
                kind: named.kind,
                value: named.value,
            })
        });
        let counted = resource.discrete_resource_spec.map(|count| {
            generic_resource::Resource::DiscreteResourceSpec(proto::DiscreteGenericResource {
                kind: count.kind,
                value: count.value,
            })
        });
        Some(proto::GenericResource {
            resource: Some(named.or(counted)?),
        })
    };
    resources.into_iter().filter_map(convert).collect()
}

/// What a task runs, as the API shows it. The runtime's name is for services only.
pub fn from_spec(spec: &proto::TaskSpec) -> api::TaskSpec {
    let mut converted = api::TaskSpec {
        restart_policy: spec.restart.as_ref().map(from_restart),
        placement: spec.placement.as_ref().map(from_placement),
        networks: spec.networks.iter().map(from_network_config).collect(),
        log_driver: spec.log_driver.as_ref().map(from_driver),
        force_update: spec.force_update,
        ..api::TaskSpec::default()
    };
    let mut pids = 0;
    match &spec.runtime {
        Some(task_spec::Runtime::Container(container)) => {
            pids = container.pids_limit;
            converted.container_spec = Some(container::from_spec(container));
        }
        Some(task_spec::Runtime::Attachment(attachment)) => {
            converted.network_attachment_spec = Some(api::NetworkAttachmentSpec {
                container_id: attachment.container_id.clone(),
            });
        }
        Some(task_spec::Runtime::Generic(_)) | None => {}
    }
    converted.resources = spec.resources.as_ref().map(|r| from_resources(r, pids));
    converted
}

fn from_resources(resources: &proto::ResourceRequirements, pids: i64) -> api::ResourceRequirements {
    api::ResourceRequirements {
        limits: resources.limits.as_ref().map(|limits| api::Limit {
            nano_cpus: limits.nano_cpus,
            memory_bytes: limits.memory_bytes,
            pids,
        }),
        reservations: resources
            .reservations
            .as_ref()
            .map(|reservations| api::Resources {
                nano_cpus: reservations.nano_cpus,
                memory_bytes: reservations.memory_bytes,
                generic_resources: from_generic_resources(&reservations.generic),
            }),
        swap_bytes: resources.swap_bytes,
        memory_swappiness: resources.memory_swappiness,
    }
}

fn to_resources(resources: api::ResourceRequirements) -> proto::ResourceRequirements {
    proto::ResourceRequirements {
        limits: resources.limits.map(|limits| proto::Resources {
            nano_cpus: limits.nano_cpus,
            memory_bytes: limits.memory_bytes,
            generic: Vec::new(),
        }),
        reservations: resources.reservations.map(|reservations| proto::Resources {
            nano_cpus: reservations.nano_cpus,
            memory_bytes: reservations.memory_bytes,
            generic: to_generic_resources(reservations.generic_resources),
        }),
        swap_bytes: resources.swap_bytes,
        memory_swappiness: resources.memory_swappiness,
    }
}

fn from_restart(policy: &proto::RestartPolicy) -> api::RestartPolicy {
    api::RestartPolicy {
        condition: word(policy.condition().as_str_name(), "RESTART_CONDITION_"),
        delay: policy.delay.as_ref().map(|d| nanoseconds(Some(d))),
        max_attempts: Some(policy.max_attempts),
        window: policy.window.as_ref().map(|w| nanoseconds(Some(w))),
    }
}

fn to_restart(policy: api::RestartPolicy) -> Result<proto::RestartPolicy, ConvertError> {
    let condition = match policy.condition.as_str() {
        "" => RestartCondition::Any,
        text => RestartCondition::from_str_name(&proto_name("RESTART_CONDITION_", text))
            .ok_or_else(|| super::invalid("RestartCondition", text))?,
    };
    Ok(proto::RestartPolicy {
        condition: condition.into(),
        delay: policy.delay.map(duration),
        max_attempts: policy.max_attempts.unwrap_or_default(),
        window: policy.window.map(duration),
    })
}

fn from_placement(placement: &proto::Placement) -> api::Placement {
    let spread = |preference: &proto::PlacementPreference| {
        let placement_preference::Preference::Spread(over) = preference.preference.as_ref()?;
        let spread = api::SpreadOver {
            spread_descriptor: over.spread_descriptor.clone(),
        };
        Some(api::PlacementPreference {
            spread: Some(spread),
        })
    };
    let platform = |p: &proto::Platform| api::Platform {
        architecture: p.architecture.clone(),
        os: p.os.clone(),
    };
    api::Placement {
        constraints: placement.constraints.clone(),
        preferences: placement.preferences.iter().filter_map(spread).collect(),
        max_replicas: placement.max_replicas,
        platforms: placement.platforms.iter().map(platform).collect(),
    }
}

fn to_placement(placement: api::Placement) -> proto::Placement {
    let preference = |preference: api::PlacementPreference| {
        let over = proto::SpreadOver {
            spread_descriptor: preference.spread?.spread_descriptor,
        };
        Some(proto::PlacementPreference {
            preference: Some(placement_preference::Preference::Spread(over)),
        })
    };
    let platform = |p: api::Platform| proto::Platform {
        architecture: p.architecture,
        os: p.os,
    };
    proto::Placement {
        constraints: placement.constraints,
        preferences: placement
            .preferences
            .into_iter()
            .filter_map(preference)
            .collect(),
        platforms: placement.platforms.into_iter().map(platform).collect(),
        max_replicas: placement.max_replicas,
    }
}

/// A network that a service asks for.
pub fn from_network_config(
    config: &proto::NetworkAttachmentConfig,
) -> api::NetworkAttachmentConfig {
    api::NetworkAttachmentConfig {
        target: config.target.clone(),
        aliases: config.aliases.clone(),
        driver_opts: config.driver_attachment_opts.clone(),
    }
}

/// A network that a service asks for, as managers keep it.
pub fn to_network_config(config: api::NetworkAttachmentConfig) -> proto::NetworkAttachmentConfig {
    proto::NetworkAttachmentConfig {
        target: config.target,
        aliases: config.aliases,
        addresses: Vec::new(),
        driver_attachment_opts: config.driver_opts,
    }
}

/// What a task runs, as managers keep it.
pub fn to_spec(spec: api::TaskSpec) -> Result<proto::TaskSpec, ConvertError> {
    let pids = spec
        .resources
        .as_ref()
        .and_then(|r| r.limits.as_ref())
        .map_or(0, |l| l.pids);
    let runtime = match spec.runtime.as_str() {
        "" | "container" => {
            let container = spec.container_spec.map(container::to_spec).transpose()?;
            container.map(|mut container| {
                container.pids_limit = pids;
                task_spec::Runtime::Container(container)
            })
        }
        "plugin" => return Err(ConvertError("plugin services are not supported".to_owned())),
        "attachment" => {
            return Err(ConvertError(
                "runtime type network attachment is not supported".to_owned(),
            ));
        }
        other => return Err(ConvertError(format!("unknown runtime: {other}"))),
    };
    Ok(proto::TaskSpec {
        runtime,
        resources: spec.resources.map(to_resources),
        restart: spec.restart_policy.map(to_restart).transpose()?,
        placement: spec.placement.map(to_placement),
        log_driver: spec.log_driver.map(to_driver),
        networks: spec.networks.into_iter().map(to_network_config).collect(),
        force_update: spec.force_update,
        resource_references: Vec::new(),
    })
}
