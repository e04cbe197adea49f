//! What Docker's services never had, put into the container of a task: see [`skep_objects::extras`].

use skep_engine::CreateContainer;
use skep_objects::api::container::DeviceRequest;
use skep_objects::extras::{AllowedExtras, Extras};
use skep_objects::swarmkit::{ContainerSpec, Task};

use crate::executor::TaskError;

/// Applies the labels of a task, unless this node does not let services have what they ask for.
pub(super) fn apply(
    task: &Task,
    spec: &ContainerSpec,
    allowed: &AllowedExtras,
    request: &mut CreateContainer,
) -> Result<(), TaskError> {
    let service = task.service_annotations.as_ref().map(|a| &a.labels);
    let extras =
        Extras::read(&spec.labels, service).map_err(|e| TaskError::Fatal(e.to_string()))?;
    if let Some(extra) = allowed.refused(&extras) {
        return Err(TaskError::Fatal(format!(
            "this node does not let services have {} (daemon option service-extras)",
            extra.label()
        )));
    }
    let host = &mut request.host_config;
    host.privileged = extras.privileged;
    if !extras.devices.is_empty() {
        host.devices = Some(extras.devices);
    }
    let named = DeviceRequest {
        driver: "cdi".to_owned(),
        device_ids: Some(extras.named_devices),
        ..DeviceRequest::default()
    };
    let named = Some(named).filter(|named| named.device_ids.iter().any(|ids| !ids.is_empty()));
    let requests: Vec<_> = extras.gpus.into_iter().chain(named).collect();
    host.device_requests = Some(requests).filter(|requests| !requests.is_empty());
    if !extras.pid.is_empty() {
        host.pid_mode = extras.pid;
    }
    if !extras.ipc.is_empty() {
        host.ipc_mode = extras.ipc;
    }
    if let Some(bytes) = extras.shm_bytes {
        host.shm_size = bytes;
    }
    for option in extras.security {
        // As Docker's command line does with it for containers.
        if matches!(
            option.as_str(),
            "systempaths=unconfined" | "systempaths:unconfined"
        ) {
            host.masked_paths = Some(Vec::new());
            host.readonly_paths = Some(Vec::new());
        } else {
            host.security_opt.get_or_insert_default().push(option);
        }
    }
    Ok(())
}
