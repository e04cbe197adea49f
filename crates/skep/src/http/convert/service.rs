//! Services: specs both ways, and the object that managers answer with.

use proto::endpoint_spec::ResolutionMode;
use proto::port_config::{Protocol, PublishMode};
use proto::service_spec::Mode;
use proto::task_spec::Runtime;
use proto::update_config::{FailureAction, UpdateOrder};
use skep_objects::api::encode::{self, duration, nanoseconds};
use skep_objects::api::service as api;
use skep_objects::swarmkit as proto;

use super::{ConvertError, annotations, meta, proto_name, set_time, task, to_annotations, word};

/// A service as the API shows it, without the counts that `status` asks for.
pub fn from_service(service: &proto::Service) -> api::Service {
    let (version, created_at, updated_at) = meta(service.meta.as_ref());
    api::Service {
        id: service.id.clone(),
        version,
        created_at,
        updated_at,
        spec: service.spec.as_ref().map(from_spec).unwrap_or_default(),
        previous_spec: service.previous_spec.as_ref().map(from_spec),
        endpoint: service
            .endpoint
            .as_deref()
            .map(from_endpoint)
            .unwrap_or_default(),
        update_status: service.update_status.as_ref().map(from_update_status),
        service_status: None,
        job_status: service.job_status.as_ref().map(|job| api::JobStatus {
            job_iteration: api::Version {
                index: job.job_iteration.as_ref().map_or(0, |v| v.index),
            },
            last_execution: encode::timestamp(job.last_execution.as_ref()),
        }),
    }
}

fn from_update_status(status: &proto::UpdateStatus) -> api::UpdateStatus {
    use proto::update_status::UpdateState;
    let state = match status.state() {
        UpdateState::Unknown => "",
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    };
    api::UpdateStatus {
        state: state.to_owned(),
        started_at: set_time(status.started_at.as_ref()),
        completed_at: set_time(status.completed_at.as_ref()),
        message: status.message.clone(),
    }
}

fn from_endpoint(endpoint: &proto::Endpoint) -> api::Endpoint {
    api::Endpoint {
        spec: endpoint
            .spec
            .as_ref()
            .map(from_endpoint_spec)
            .unwrap_or_default(),
        ports: from_ports(&endpoint.ports),
        virtual_ips: endpoint
            .virtual_ips
            .iter()
            .map(|vip| api::EndpointVirtualIp {
                network_id: vip.network_id.clone(),
                addr: vip.addr.clone(),
            })
            .collect(),
    }
}

fn from_endpoint_spec(spec: &proto::EndpointSpec) -> api::EndpointSpec {
    api::EndpointSpec {
        mode: word(spec.mode().as_str_name(), "RESOLUTION_MODE_"),
        ports: from_ports(&spec.ports),
    }
}

/// Published ports.
pub fn from_ports(ports: &[proto::PortConfig]) -> Vec<api::PortConfig> {
    let convert = |port: &proto::PortConfig| api::PortConfig {
        name: port.name.clone(),
        protocol: word(port.protocol().as_str_name(), "PROTOCOL_"),
        target_port: port.target_port,
        published_port: port.published_port,
        publish_mode: word(port.publish_mode().as_str_name(), "PUBLISH_MODE_"),
    };
    ports.iter().map(convert).collect()
}

fn to_port(port: api::PortConfig) -> Result<proto::PortConfig, ConvertError> {
    let protocol = match port.protocol.as_str() {
        "" => Protocol::Tcp,
        text => Protocol::from_str_name(&proto_name("PROTOCOL_", text))
            .ok_or_else(|| super::invalid("PortConfig protocol", text))?,
    };
    let mode = match port.publish_mode.as_str() {
        "" => PublishMode::Ingress,
        text => PublishMode::from_str_name(&proto_name("PUBLISH_MODE_", text))
            .ok_or_else(|| super::invalid("PortConfig publish mode", text))?,
    };
    Ok(proto::PortConfig {
        name: port.name,
        protocol: protocol.into(),
        target_port: port.target_port,
        published_port: port.published_port,
        publish_mode: mode.into(),
    })
}

/// A service's spec as the API shows it. Credentials for the registry are left out.
pub fn from_spec(spec: &proto::ServiceSpec) -> api::ServiceSpec {
    let (name, labels) = annotations(spec.annotations.as_ref());
    let mut task_template = spec
        .task
        .as_deref()
        .map(task::from_spec)
        .unwrap_or_default();
    if matches!(
        spec.task.as_ref().and_then(|t| t.runtime.as_ref()),
        Some(Runtime::Container(_))
    ) {
        task_template.runtime = "container".to_owned();
    }
    #[allow(deprecated)] // where managers before API 1.25 kept them
    let networks: Vec<_> = spec
        .networks
        .iter()
        .map(task::from_network_config)
        .collect();
    api::ServiceSpec {
        name,
        labels,
        task_template,
        mode: spec.mode.as_ref().map(from_mode).unwrap_or_default(),
        update_config: spec.update.as_ref().map(from_update),
        rollback_config: spec.rollback.as_ref().map(from_update),
        networks: Some(networks).filter(|n| !n.is_empty()),
        endpoint_spec: spec.endpoint.as_ref().map(from_endpoint_spec),
    }
}

fn from_mode(mode: &Mode) -> api::ServiceMode {
    let mut converted = api::ServiceMode::default();
    match mode {
        Mode::Replicated(replicated) => {
            converted.replicated = Some(api::ReplicatedService {
                replicas: Some(replicated.replicas),
            });
        }
        Mode::Global(_) => converted.global = Some(api::GlobalService {}),
        Mode::ReplicatedJob(job) => {
            converted.replicated_job = Some(api::ReplicatedJob {
                max_concurrent: Some(job.max_concurrent),
                total_completions: Some(job.total_completions),
            });
        }
        Mode::GlobalJob(_) => converted.global_job = Some(api::GlobalJob {}),
    }
    converted
}

fn to_mode(mode: api::ServiceMode) -> Result<Mode, ConvertError> {
    let mut modes = Vec::new();
    if let Some(replicated) = mode.replicated {
        let replicas = replicated.replicas.unwrap_or(1);
        modes.push(Mode::Replicated(proto::ReplicatedService { replicas }));
    }
    if mode.global.is_some() {
        modes.push(Mode::Global(proto::GlobalService {}));
    }
    if let Some(job) = mode.replicated_job {
        let max_concurrent = job.max_concurrent.unwrap_or(1);
        let total_completions = job.total_completions.unwrap_or(max_concurrent);
        modes.push(Mode::ReplicatedJob(proto::ReplicatedJob {
            max_concurrent,
            total_completions,
        }));
    }
    if mode.global_job.is_some() {
        modes.push(Mode::GlobalJob(proto::GlobalJob {}));
    }
    if modes.len() > 1 {
        return Err(ConvertError(
            "must specify only one service mode".to_owned(),
        ));
    }
    Ok(modes
        .pop()
        .unwrap_or(Mode::Replicated(proto::ReplicatedService { replicas: 1 })))
}

fn from_update(config: &proto::UpdateConfig) -> api::UpdateConfig {
    api::UpdateConfig {
        parallelism: config.parallelism,
        delay: nanoseconds(config.delay.as_ref()),
        failure_action: word(config.failure_action().as_str_name(), "FAILURE_ACTION_"),
        monitor: nanoseconds(config.monitor.as_ref()),
        max_failure_ratio: config.max_failure_ratio,
        order: word(config.order().as_str_name(), "UPDATE_ORDER_"),
    }
}

fn to_update(config: api::UpdateConfig) -> Result<proto::UpdateConfig, ConvertError> {
    let failure_action = match config.failure_action.as_str() {
        "" => FailureAction::Pause,
        text => FailureAction::from_str_name(&proto_name("FAILURE_ACTION_", text))
            .ok_or_else(|| ConvertError(format!("unrecognized update failure action {text}")))?,
    };
    let order = match config.order.as_str() {
        "" => UpdateOrder::StopFirst,
        text => UpdateOrder::from_str_name(&proto_name("UPDATE_ORDER_", text))
            .ok_or_else(|| ConvertError(format!("unrecognized update order {text}")))?,
    };
    Ok(proto::UpdateConfig {
        parallelism: config.parallelism,
        // SwarmKit's field cannot be absent there: it is sent even when zero.
        delay: Some(duration(config.delay)),
        failure_action: failure_action.into(),
        monitor: Some(config.monitor).filter(|m| *m != 0).map(duration),
        max_failure_ratio: config.max_failure_ratio,
        order: order.into(),
    })
}

fn to_endpoint(spec: api::EndpointSpec) -> Result<proto::EndpointSpec, ConvertError> {
    let mode = match spec.mode.as_str() {
        "" => ResolutionMode::Vip,
        text => ResolutionMode::from_str_name(&proto_name("RESOLUTION_MODE_", text))
            .ok_or_else(|| super::invalid("ResolutionMode", text))?,
    };
    Ok(proto::EndpointSpec {
        mode: mode.into(),
        ports: spec
            .ports
            .into_iter()
            .map(to_port)
            .collect::<Result<_, _>>()?,
    })
}

/// A service's spec as managers keep it.
pub fn to_spec(mut spec: api::ServiceSpec) -> Result<proto::ServiceSpec, ConvertError> {
    // Clients of old put networks beside the task template.
    let networks = spec.networks.take().unwrap_or_default();
    if spec.task_template.networks.is_empty() {
        spec.task_template.networks = networks;
    }
    #[allow(deprecated)] // the field must be named
    Ok(proto::ServiceSpec {
        annotations: to_annotations(spec.name, spec.labels),
        task: Some(task::to_spec(spec.task_template)?.into()),
        mode: Some(to_mode(spec.mode)?),
        update: spec.update_config.map(to_update).transpose()?,
        networks: Vec::new(),
        endpoint: spec.endpoint_spec.map(to_endpoint).transpose()?,
        rollback: spec.rollback_config.map(to_update).transpose()?,
    })
}
