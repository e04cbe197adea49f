//! A file as Docker holds it: what is empty is left out, what stands in a map of the user's is text.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::compose::dialect::Dialect;
use crate::compose::normal::{pairs, plain};

/// Maps whose keys and values are the user's.
const USERS: [&str; 6] = [
    "labels",
    "environment",
    "args",
    "driver_opts",
    "options",
    "sysctls",
];
/// Maps whose keys are the user's, of known keys each.
const NAMED: [&str; 2] = ["networks", "ulimits"];
/// Structures that Docker points to: they are there although they are empty.
const POINTED: [&str; 11] = [
    "bind",
    "discrete_resource_spec",
    "healthcheck",
    "limits",
    "logging",
    "reservations",
    "restart_policy",
    "rollback_config",
    "tmpfs",
    "update_config",
    "volume",
];
/// Numbers and times of which zero is one.
const NUMBERS: [&str; 6] = [
    "interval",
    "max_attempts",
    "mode",
    "parallelism",
    "replicas",
    "retries",
];

/// A service.
pub(super) fn service(service: &mut Value, dialect: Dialect) {
    build(service);
    let Value::Object(map) = service else { return };
    structure(map, "", dialect != Dialect::Compose);
}

/// An entry of another section. Docker takes a secret or a config that names no file for one of the
/// directory that the stack's file is in.
pub(super) fn entry(entry: &mut Value, section: &str, dir: &Path, dialect: Dialect) {
    let Value::Object(map) = entry else { return };
    let is_docker = dialect != Dialect::Compose;
    structure(map, section, is_docker);
    let is_file = matches!(section, "secrets" | "configs");
    if !is_docker {
        return;
    }
    map.retain(|key, _| !key.starts_with("x-") || key == "x-cluster-spec");
    let has_other = ["external", "driver", "file"]
        .iter()
        .any(|key| map.contains_key(*key));
    if is_file && !has_other {
        map.insert("file".to_owned(), dir.to_string_lossy().into());
    }
}

/// Leaves out what is empty. Where the file is not Docker's, only maps: no other empty value says the
/// same as none.
fn structure(map: &mut Map<String, Value>, parent: &str, is_docker: bool) {
    map.retain(|key, value| {
        if key.starts_with("x-") {
            return true;
        }
        let key = key.as_str();
        match value {
            Value::Object(inner) if USERS.contains(&key) => {
                for (_, value) in inner.iter_mut().filter(|(_, value)| !value.is_null()) {
                    *value = plain(value).into();
                }
                !inner.is_empty()
            }
            Value::Object(inner) if NAMED.contains(&key) => {
                for (_, value) in inner.iter_mut() {
                    named(value, key, is_docker);
                }
                !inner.is_empty()
            }
            Value::Object(inner) => {
                structure(inner, key, is_docker);
                !inner.is_empty() || POINTED.contains(&key)
            }
            Value::Array(items) => {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    structure(item, key, is_docker);
                }
                !items.is_empty() || !is_docker
            }
            _ if !is_docker => true,
            Value::Null => false,
            Value::Bool(flag) => *flag || key == "init",
            Value::String(text) => match text.as_str() {
                "0s" => parent != "update_config" && parent != "rollback_config",
                text => !text.is_empty(),
            },
            Value::Number(number) => number.as_f64() != Some(0.0) || NUMBERS.contains(&key),
        }
    });
}

/// An attachment to a network, or a limit: one that is nothing has no keys.
fn named(value: &mut Value, key: &str, is_docker: bool) {
    match value {
        Value::Object(inner) => structure(inner, key, is_docker),
        Value::Number(number) if is_docker && number.as_i64() == Some(0) => *value = json!({}),
        _ => {}
    }
}

/// `build: path`, and lists of `key=value` below it.
fn build(service: &mut Value) {
    let Some(build) = service.get_mut("build") else {
        return;
    };
    if let Value::String(path) = build {
        *build = json!({"context": path});
    }
    if let Some(args) = build.get_mut("args").filter(|args| args.is_array()) {
        let all = args.as_array().into_iter().flatten().map(plain);
        let all = all.map(|text| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.into()),
            None => (text, Value::Null),
        });
        *args = Value::Object(all.collect());
    }
    if let Some(labels) = build.get_mut("labels") {
        *labels = pairs(labels.take());
    }
}
