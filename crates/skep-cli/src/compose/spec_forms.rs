//! Forms that only the Compose Specification has, in the words of those that the conversion knows.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::normal::{UNDECODED, absolute, change, pairs, plain};
use crate::error::CliError;
use crate::grammar::parse_bytes;

/// Settings of a service that stand below `deploy` in version 3.
const MOVED: [(&str, &str); 6] = [
    ("cpus", "/resources/limits/cpus"),
    ("mem_limit", "/resources/limits/memory"),
    ("pids_limit", "/resources/limits/pids"),
    ("mem_reservation", "/resources/reservations/memory"),
    ("scale", "/replicas"),
    ("gpus", "/resources/reservations/devices"),
];

/// Changes a service. Paths are made absolute.
pub(super) fn service(service: &mut Value, dir: &Path, dialect: Dialect) -> Result<(), CliError> {
    change(service, "depends_on", |needs| match needs {
        Value::Array(names) if dialect == Dialect::Compose => names
            .iter()
            .map(|name| (plain(name), json!({"condition": "service_started"})))
            .collect::<Map<_, _>>()
            .into(),
        needs => needs,
    });
    change(service, "devices", |devices| each(devices, device));
    change(service, "gpus", |gpus| match gpus {
        Value::String(count) => json!([{"capabilities": ["gpu"], "count": count}]),
        gpus => gpus,
    });
    change(service, "group_add", |groups| {
        each(groups, |group| plain(&group).into())
    });
    for (key, place) in MOVED {
        let taken = service.as_object_mut().and_then(|s| s.shift_remove(key));
        if let Some(value) = taken.filter(|value| !value.is_null()) {
            put(service, key, place, value)?;
        }
    }
    if dialect == Dialect::Compose {
        network_mode(service)?;
        restart(service);
    }
    env_files(service, dir, dialect);
    if dialect != Dialect::Compose {
        sizes(service)?;
    }
    label_files(service, dir)
}

/// Amounts of memory, which Docker reads with the file.
fn sizes(service: &Value) -> Result<(), CliError> {
    for (group, field) in [("limits", "Limits"), ("reservations", "Reservations")] {
        let memory = &service["deploy"]["resources"][group]["memory"];
        let read = memory.as_str().map_or(Ok(0), parse_bytes);
        read.map_err(|why| {
            CliError::new(format!(
                "{UNDECODED}\n\nerror decoding 'Deploy.Resources.{field}.memory': {why}"
            ))
        })?;
    }
    Ok(())
}

/// Puts a value at a place below `deploy`, where nothing else may stand.
fn put(service: &mut Value, key: &str, place: &str, value: Value) -> Result<(), CliError> {
    let mut at = &mut service["deploy"];
    for key in place.split('/').skip(1) {
        if !at.is_null() && !at.is_object() {
            return Err(CliError::new(format!("deploy{place}: must be a mapping")));
        }
        at = &mut at[key];
    }
    if !at.is_null() && plain(at) != plain(&value) {
        let place = place.replace('/', ".");
        return Err(CliError::new(format!(
            "{key}: can't set distinct values on '{key}' and 'deploy{place}'"
        )));
    }
    *at = value;
    Ok(())
}

/// `{source, target, permissions}` as `source:target:permissions`.
fn device(device: Value) -> Value {
    match &device {
        Value::Object(map) => {
            let source = map.get("source").map(plain).unwrap_or_default();
            // A CDI device has a name, and no place.
            if !source.starts_with('/') && map.get("target").is_none() {
                return source.into();
            }
            let target = map.get("target").map_or_else(|| source.clone(), plain);
            let access = map
                .get("permissions")
                .map_or_else(|| "rwm".to_owned(), plain);
            format!("{source}:{target}:{access}").into()
        }
        _ => device,
    }
}

/// `host` and `none` are networks of a service; no other mode is.
fn network_mode(service: &mut Value) -> Result<(), CliError> {
    let taken = service
        .as_object_mut()
        .and_then(|service| service.shift_remove("network_mode"));
    match taken.as_ref().and_then(Value::as_str) {
        None | Some("") => Ok(()),
        Some(_) if service["networks"].is_object() => Err(CliError::new(
            "network_mode: declares mutually exclusive `network_mode` and `networks`",
        )),
        Some(mode @ ("host" | "none" | "bridge")) => {
            service["networks"] = json!({mode: null});
            Ok(())
        }
        Some(other) => Err(CliError::new(format!(
            "network_mode: a service cannot have the mode {other:?} (only \"host\", \"none\" or \"bridge\")"
        ))),
    }
}

/// `restart: no` is what a service does that is told nothing: but a service of a swarm starts again.
fn restart(service: &mut Value) {
    if service["restart"] == "no" && service["deploy"]["restart_policy"].is_null() {
        service["deploy"]["restart_policy"] = json!({"condition": "none"});
    }
}

/// Files of variables: their paths, and whether they must be there.
fn env_files(service: &mut Value, dir: &Path, dialect: Dialect) {
    change(service, "env_file", |files| {
        each(files, |file| {
            let path = match &file {
                Value::Object(map) => map.get("path").map(plain).unwrap_or_default(),
                text => plain(text),
            };
            let mut long = json!({"path": absolute(&path, dir), "required": true});
            // Docker's files have no quotes and no variables; the specification's have.
            if dialect != Dialect::Compose {
                long["format"] = "raw".into();
            }
            for key in ["required", "format"] {
                if let Some(value) = file.get(key) {
                    long[key] = value.clone();
                }
            }
            long
        })
    });
}

/// `label_file`: lines of `key=value`, below `labels`.
fn label_files(service: &mut Value, dir: &Path) -> Result<(), CliError> {
    let taken = service
        .as_object_mut()
        .and_then(|service| service.shift_remove("label_file"));
    let files = match taken {
        Some(Value::String(file)) => vec![file],
        Some(Value::Array(files)) => files.iter().map(plain).collect(),
        _ => return Ok(()),
    };
    let files: Vec<String> = files.iter().map(|file| absolute(file, dir)).collect();
    let mut labels = crate::opts::labels(&files, &[])?;
    let own = pairs(service["labels"].take());
    labels.extend(own.as_object().cloned().unwrap_or_default());
    service["labels"] = labels.into();
    Ok(())
}

fn each(value: Value, form: impl Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(form).collect(),
        other => other,
    }
}
