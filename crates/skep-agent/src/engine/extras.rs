//! What Docker's services never had, asked for by labels of the service or of its containers:
//! `skep.privileged`, `skep.device`, `skep.gpus`, `skep.pid`, `skep.ipc`, `skep.shm-size`,
//! `skep.security-opt`. A container label goes over a service label.

use skep_engine::CreateContainer;
use skep_objects::api::container::{DeviceMapping, DeviceRequest};
use skep_objects::swarmkit::{ContainerSpec, Task};

use crate::executor::TaskError;

pub(super) fn apply(
    task: &Task,
    spec: &ContainerSpec,
    request: &mut CreateContainer,
) -> Result<(), TaskError> {
    let service = task.service_annotations.as_ref().map(|a| &a.labels);
    let label = |name: &str| {
        let key = format!("skep.{name}");
        spec.labels
            .get(&key)
            .or_else(|| service?.get(&key))
            .filter(|v| !v.is_empty())
            .cloned()
    };
    let invalid = |name: &str, value: &str| {
        TaskError::Fatal(format!("invalid value {value:?} of label skep.{name}"))
    };
    let host = &mut request.host_config;
    if let Some(value) = label("privileged") {
        host.privileged = value.parse().map_err(|_| invalid("privileged", &value))?;
    }
    if let Some(value) = label("device") {
        let devices = value
            .split(',')
            .map(|d| device(d).ok_or_else(|| invalid("device", d)));
        host.devices = Some(devices.collect::<Result<_, _>>()?);
    }
    if let Some(value) = label("gpus") {
        host.device_requests = Some(vec![gpus(&value).ok_or_else(|| invalid("gpus", &value))?]);
    }
    if let Some(value) = label("pid") {
        host.pid_mode = value;
    }
    if let Some(value) = label("ipc") {
        host.ipc_mode = value;
    }
    if let Some(value) = label("shm-size") {
        host.shm_size = bytes(&value).ok_or_else(|| invalid("shm-size", &value))?;
    }
    if let Some(value) = label("security-opt") {
        let options = host.security_opt.get_or_insert_default();
        options.extend(value.split(',').map(str::to_owned));
    }
    Ok(())
}

/// `/dev/x[:/dev/y[:rwm]]`.
fn device(text: &str) -> Option<DeviceMapping> {
    let mut parts = text.trim().split(':');
    let host = parts.next().filter(|p| p.starts_with('/'))?;
    let inside = parts.next().unwrap_or(host);
    let permissions = parts.next().unwrap_or("rwm");
    let is_valid = permissions.chars().all(|c| "rwm".contains(c)) && parts.next().is_none();
    is_valid.then(|| DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

/// `all` or a number.
fn gpus(text: &str) -> Option<DeviceRequest> {
    let count = if text == "all" {
        -1
    } else {
        text.parse().ok()?
    };
    Some(DeviceRequest {
        count,
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..Default::default()
    })
}

/// `64m`, `1g`, `1048576`.
fn bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last()? {
        'k' => (&lower[..lower.len() - 1], 10),
        'm' => (&lower[..lower.len() - 1], 20),
        'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}
