//! Flags of services that Docker's services do not have.

use serde_json::Value;
use skep_objects::extras::Extra;
use skep_objects::{STRATEGIES, STRATEGY_LABEL};

use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{
    extra_parts, security_of, set_devices, set_extra, set_gpus, set_ipc, set_pid, set_security,
};

/// Puts them into the spec of a new service.
pub(super) fn create(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    let container = &mut spec["TaskTemplate"]["ContainerSpec"];
    if matches.given("device") {
        set_devices(container, matches.list("device"))?;
    }
    if matches.given("security-opt") {
        set_security(container, matches.list("security-opt"))?;
    }
    singles(container, matches)?;
    strategy(spec, matches)
}

/// Changes a spec by them.
pub(super) fn update(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    let container = &mut spec["TaskTemplate"]["ContainerSpec"];
    if matches.given("device-add") || matches.given("device-rm") {
        let mut devices = extra_parts(container, Extra::Device);
        change(&mut devices, matches, "device", |known, gone| {
            known == gone || known.split(':').next() == Some(gone)
        });
        set_devices(container, &devices)?;
    }
    if matches.given("security-opt-add") || matches.given("security-opt-rm") {
        let mut options = security_of(container);
        change(&mut options, matches, "security-opt", |known, gone| {
            known == gone || known.split(['=', ':']).next() == Some(gone)
        });
        set_security(container, &options)?;
    }
    singles(container, matches)?;
    strategy(spec, matches)
}

fn change(
    list: &mut Vec<String>,
    matches: &Matches,
    flag: &str,
    names: impl Fn(&str, &str) -> bool,
) {
    for gone in matches.list(&format!("{flag}-rm")) {
        list.retain(|known| !names(known, gone));
    }
    for new in matches.list(&format!("{flag}-add")) {
        if !list.contains(new) {
            list.push(new.clone());
        }
    }
}

/// Flags that `create` and `update` have in common; an empty value takes one back.
fn singles(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if matches.given("privileged") {
        let value = if matches.flag("privileged") {
            "true"
        } else {
            ""
        };
        set_extra(container, Extra::Privileged, value);
    }
    if let Some(gpus) = matches.given_text("gpus") {
        set_gpus(container, gpus)?;
    }
    if let Some(mode) = matches.given_text("pid") {
        set_pid(container, mode)?;
    }
    if let Some(mode) = matches.given_text("ipc") {
        set_ipc(container, mode)?;
    }
    if let Some(bytes) = matches.bytes("shm-size") {
        let value = match bytes {
            0 => String::new(),
            bytes => bytes.to_string(),
        };
        set_extra(container, Extra::ShmSize, &value);
    }
    Ok(())
}

fn strategy(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if let Some(name) = matches.given_text("placement-strategy") {
        set_strategy(&mut spec["Labels"], name)?;
    }
    Ok(())
}

/// Writes how nodes are chosen into the labels of a service or of the swarm; nothing takes it back.
pub(crate) fn set_strategy(labels: &mut Value, name: &str) -> Result<(), CliError> {
    if name.is_empty() {
        if let Some(labels) = labels.as_object_mut() {
            labels.shift_remove(STRATEGY_LABEL);
        }
        return Ok(());
    }
    if !STRATEGIES.contains(&name) {
        return Err(CliError::new(format!(
            "unknown placement strategy: {name} (must be {})",
            STRATEGIES.join(", ")
        )));
    }
    labels[STRATEGY_LABEL] = name.into();
    Ok(())
}
