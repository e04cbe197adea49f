//! Devices by name: CDI specifications, which say what a container needs to use a vendor's device.
//!
//! `--device vendor.com/class=name` and `--gpus` come as device requests. Specifications are files of
//! the host, read when a container starts, so that a new device is there without a restart. See
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>.

mod edits;
mod spec;

use std::path::PathBuf;

use serde_json::Value;
use skep_objects::api::container::{DeviceRequest, HostConfig};

pub(crate) use spec::Registry;

use crate::error::{EngineError, Result};

/// Refuses requests that no device can answer, before anything is made.
pub(crate) fn validate(host: &HostConfig, dirs: &[PathBuf]) -> Result<()> {
    for request in requests(host) {
        if request.driver == "cdi" {
            for name in request.device_ids.iter().flatten() {
                if !is_qualified(name) {
                    return Err(EngineError::invalid(format!(
                        "invalid CDI device name {name:?}: it must be vendor.com/class=name"
                    )));
                }
            }
        } else {
            gpus(request, &Registry::load(dirs))?;
        }
    }
    Ok(())
}

/// Changes an OCI configuration so that the devices asked for are there.
pub(crate) fn inject(spec: &mut Value, host: &HostConfig, dirs: &[PathBuf]) -> Result<()> {
    if requests(host).next().is_none() {
        return Ok(());
    }
    let registry = Registry::load(dirs);
    let mut names = Vec::new();
    for request in requests(host) {
        if request.driver == "cdi" {
            names.extend(request.device_ids.iter().flatten().cloned());
        } else {
            names.extend(gpus(request, &registry)?);
        }
    }
    let unknown: Vec<&str> = names
        .iter()
        .filter(|name| registry.device(name).is_none())
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let mut text = format!(
            "CDI device injection failed: unresolvable CDI devices {}",
            unknown.join(", ")
        );
        for error in registry.errors() {
            text.push_str(&format!("; {error}"));
        }
        return Err(EngineError::Start(text));
    }
    // What a specification says for all its devices is applied once.
    let mut applied: Vec<&str> = Vec::new();
    for name in &names {
        let Some((kind, common, device)) = registry.device(name) else {
            continue;
        };
        if !applied.contains(&kind) {
            edits::apply(spec, common)?;
            applied.push(kind);
        }
        edits::apply(spec, device)?;
    }
    Ok(())
}

fn requests(host: &HostConfig) -> impl Iterator<Item = &DeviceRequest> {
    host.device_requests.iter().flatten()
}

/// `vendor.com/class=name`.
fn is_qualified(name: &str) -> bool {
    let parts = name
        .split_once('=')
        .and_then(|(kind, device)| Some((kind.split_once('/')?, device)));
    parts.is_some_and(|((vendor, class), device)| {
        !vendor.is_empty() && !class.is_empty() && !device.is_empty()
    })
}

/// The devices that a request without names means: so many of a class, as `--gpus 2` asks.
fn gpus(request: &DeviceRequest, registry: &Registry) -> Result<Vec<String>> {
    let sets: Vec<String> = request
        .capabilities
        .iter()
        .flatten()
        .map(|set| format!("[{}]", set.join(" ")))
        .collect();
    let refused = || {
        EngineError::invalid(format!(
            "could not select device driver {:?} with capabilities: [{}]",
            request.driver,
            sets.join(" ")
        ))
    };
    let wants_gpu = request
        .capabilities
        .iter()
        .flatten()
        .any(|set| set.iter().any(|word| word == "gpu"));
    let fits = |kind: &str| {
        let (vendor, class) = kind.split_once('/').unwrap_or((kind, ""));
        let driver = request.driver.as_str();
        class == "gpu"
            && (driver.is_empty()
                || driver == kind
                || vendor == driver
                || vendor.split('.').next() == Some(driver))
    };
    let kind = registry.kinds().find(|kind| fits(kind));
    let Some(kind) = kind.filter(|_| wants_gpu) else {
        return Err(refused());
    };
    let named: Vec<String> = request
        .device_ids
        .iter()
        .flatten()
        .map(|id| {
            if is_qualified(id) {
                id.clone()
            } else {
                format!("{kind}={id}")
            }
        })
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let names = registry.names(kind);
    let single: Vec<&String> = names.iter().filter(|name| *name != "all").collect();
    let has_all = names.len() > single.len();
    let count = match usize::try_from(request.count) {
        // A negative count means all.
        Err(_) if has_all => return Ok(vec![format!("{kind}=all")]),
        Err(_) => single.len(),
        Ok(count) => count,
    };
    if single.len() < count || (count == 0 && single.is_empty()) {
        return Err(EngineError::invalid(format!(
            "could not select device driver {:?}: {count} devices of {kind} asked for, {} known",
            request.driver,
            single.len()
        )));
    }
    let chosen = single.into_iter().take(count.max(1));
    Ok(chosen.map(|name| format!("{kind}={name}")).collect())
}

#[cfg(test)]
mod tests;
