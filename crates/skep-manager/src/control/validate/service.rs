//! The whole of a service's spec.

use std::collections::BTreeMap;

use prost::Message;
use skep_objects::autoscale::Autoscale;
use skep_objects::extras::Extras;
use skep_objects::swarmkit::{
    GenericRuntimeSpec, ServiceSpec, TaskSpec, service_spec::Mode, task_spec::Runtime,
};
use skep_objects::{STRATEGIES, STRATEGY_LABEL};

use super::{
    Validated,
    annotations::validate_service_name,
    container::validate_container,
    endpoint::validate_endpoint,
    policy::{validate_placement, validate_restart, validate_update},
    refuse,
    resources::validate_resource_requirements,
};
use crate::control::error::ControlError;
use crate::scheduler::strategy::Strategy;

/// The largest spec. A service keeps the one before, too, and each task repeats it with what the
/// task's networks are: all that must fit into one entry of the log.
const MAX_SPEC_BYTES: usize = 640 << 10;

/// Whether a service could be made to this spec, as far as the spec alone tells.
pub fn validate_service_spec(spec: &ServiceSpec) -> Validated {
    validate_service_name(spec.annotations.as_ref())?;
    let bytes = spec.encoded_len();
    if bytes > MAX_SPEC_BYTES {
        return refuse(format!(
            "service spec of {bytes} bytes is larger than {MAX_SPEC_BYTES} bytes"
        ));
    }
    validate_task(spec.task.as_deref())?;
    validate_extras(spec)?;
    validate_mode(spec)?;
    validate_update(spec.update.as_ref())?;
    validate_update(spec.rollback.as_ref())?;
    validate_endpoint(spec.endpoint.as_ref())
}

fn validate_task(task: Option<&TaskSpec>) -> Validated {
    let Some(task) = task else {
        return refuse("TaskSpec: missing runtime");
    };
    validate_resource_requirements(task.resources.as_ref())?;
    validate_restart(task.restart.as_ref())?;
    validate_placement(task.placement.as_ref())?;
    match &task.runtime {
        None => refuse("TaskSpec: missing runtime"),
        Some(Runtime::Container(container)) => validate_container(container),
        Some(Runtime::Attachment(_)) => Err(ControlError::Unimplemented(
            "RuntimeSpec: unimplemented runtime in service spec".to_owned(),
        )),
        Some(Runtime::Generic(generic)) => validate_generic(generic),
    }
}

/// What skep has beyond Docker's API comes as labels: a mistake is told now, not by each task.
fn validate_extras(spec: &ServiceSpec) -> Validated {
    let labels = spec.annotations.as_ref().map(|a| &a.labels);
    let runtime = spec.task.as_ref().and_then(|task| task.runtime.as_ref());
    if let Some(Runtime::Container(container)) = runtime
        && let Err(error) = Extras::read(&container.labels, labels)
    {
        return refuse(format!("ContainerSpec: {error}"));
    }
    validate_autoscale(spec)?;
    validate_strategy(labels)
}

/// Labels by which the service is scaled by its load.
fn validate_autoscale(spec: &ServiceSpec) -> Validated {
    let Some(annotations) = &spec.annotations else {
        return Ok(());
    };
    let scale = match Autoscale::read(&annotations.labels) {
        Ok(None) => return Ok(()),
        Ok(Some(scale)) => scale,
        Err(error) => return refuse(error.to_string()),
    };
    if !matches!(spec.mode, Some(Mode::Replicated(_))) {
        return refuse(
            "label skep.autoscale.min: only replicated services are scaled by their load",
        );
    }
    let resources = spec.task.as_ref().and_then(|task| task.resources.as_ref());
    let has_memory = resources.is_some_and(|resources| {
        let given = [&resources.limits, &resources.reservations];
        given
            .into_iter()
            .flatten()
            .any(|given| given.memory_bytes > 0)
    });
    if scale.memory_percent.is_some() && !has_memory {
        return refuse(
            "label skep.autoscale.memory: the service has neither a memory limit nor a reservation",
        );
    }
    Ok(())
}

/// The label that says how nodes are chosen, of a service or of the swarm.
pub fn validate_strategy(labels: Option<&BTreeMap<String, String>>) -> Validated {
    match labels.and_then(|labels| labels.get(STRATEGY_LABEL)) {
        Some(name) if Strategy::from_name(name).is_none() => refuse(format!(
            "invalid value {name:?} of label {STRATEGY_LABEL}: must be {}",
            STRATEGIES.join(", ")
        )),
        _ => Ok(()),
    }
}

fn validate_generic(generic: &GenericRuntimeSpec) -> Validated {
    if generic.kind.len() < 3 {
        return refuse(format!("Generic runtime: Invalid name {:?}", generic.kind));
    }
    if ["container", "attachment"].contains(&generic.kind.as_str()) {
        return refuse(format!(
            "Generic runtime: {} is a reserved name",
            generic.kind
        ));
    }
    if generic
        .payload
        .as_ref()
        .is_none_or(|payload| payload.type_url.is_empty())
    {
        return refuse("Generic runtime is missing payload type");
    }
    Ok(())
}

fn validate_mode(spec: &ServiceSpec) -> Validated {
    // A negative number in an int64 of the client's arrives here as a huge one.
    let negative = |number: u64| i64::try_from(number).is_err();
    match &spec.mode {
        None => refuse("Unrecognized service mode"),
        Some(Mode::Replicated(mode)) if negative(mode.replicas) => {
            refuse("Number of replicas must be non-negative")
        }
        Some(Mode::ReplicatedJob(mode)) if negative(mode.max_concurrent) => {
            refuse("Maximum concurrent jobs must not be negative")
        }
        Some(Mode::ReplicatedJob(mode)) if negative(mode.total_completions) => {
            refuse("Total completed jobs must not be negative")
        }
        Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)) if spec.update.is_some() => {
            refuse("Jobs may not have an update config")
        }
        Some(_) => Ok(()),
    }
}
