//! A stack file in Docker's layout: two spaces, lists set in, keys in the order of Docker's types.

mod held;
mod scalar;

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::load::Loaded;
use super::normal::plain;
use crate::error::CliError;
use crate::grammar::{parse_bytes, parse_duration};
use crate::output::go_duration;

/// Keys in the order of Docker's types, by the key that they stand below. What is not in a list comes
/// behind it, by name.
const ORDERS: [(&str, &[&str]); 17] = [
    (
        "",
        &[
            "version", "services", "networks", "volumes", "secrets", "configs",
        ],
    ),
    (
        "deploy",
        &[
            "mode",
            "replicas",
            "labels",
            "update_config",
            "rollback_config",
            "resources",
            "restart_policy",
            "placement",
            "endpoint_mode",
        ],
    ),
    (
        "build",
        &[
            "context",
            "dockerfile",
            "args",
            "labels",
            "cache_from",
            "extra_hosts",
            "network",
            "target",
        ],
    ),
    ("ipam", &["driver", "config"]),
    ("update_config", UPDATE),
    ("rollback_config", UPDATE),
    (
        "healthcheck",
        &[
            "test",
            "timeout",
            "interval",
            "retries",
            "start_period",
            "start_interval",
            "disable",
        ],
    ),
    ("ports", &["mode", "target", "published", "protocol"]),
    (
        "volumes.",
        &[
            "type",
            "source",
            "target",
            "read_only",
            "consistency",
            "bind",
            "volume",
            "tmpfs",
        ],
    ),
    ("files", &["source", "target", "uid", "gid", "mode"]),
    (
        "network",
        &[
            "name",
            "driver",
            "driver_opts",
            "ipam",
            "external",
            "internal",
            "attachable",
            "labels",
        ],
    ),
    (
        "volume",
        &["name", "driver", "driver_opts", "external", "labels"],
    ),
    (
        "secret",
        &[
            "name",
            "file",
            "external",
            "labels",
            "driver",
            "driver_opts",
            "template_driver",
        ],
    ),
    (
        "reservations",
        &["cpus", "memory", "generic_resources", "devices"],
    ),
    (
        "restart_policy",
        &["condition", "delay", "max_attempts", "window"],
    ),
    ("ulimit", &["soft", "hard"]),
    (
        "placement",
        &["constraints", "preferences", "max_replicas_per_node"],
    ),
];
const UPDATE: &[&str] = &[
    "parallelism",
    "delay",
    "failure_action",
    "monitor",
    "max_failure_ratio",
    "order",
];

/// The merged file as text.
pub(crate) fn print(loaded: &Loaded) -> Result<String, CliError> {
    let mut file = loaded.file.clone();
    let is_docker = loaded.dialect != Dialect::Compose;
    if !file["version"].is_null() {
        file["version"] = super::dialect::version(&file)?.into();
    }
    if is_docker && file["services"].is_null() {
        file["services"] = json!({});
    }
    if let Some(services) = file.get_mut("services").and_then(Value::as_object_mut) {
        for (_, service) in services {
            settle(service, loaded)?;
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        let entries = file.get_mut(section).and_then(Value::as_object_mut);
        for (key, entry) in entries.into_iter().flatten() {
            if let Some(name) = super::external::external_name(entry, key) {
                entry["external"] = true.into();
                entry["name"] = name.into();
            }
            held::entry(entry, section, &loaded.dir, loaded.dialect);
        }
        if file[section].as_object().is_some_and(Map::is_empty)
            && let Some(file) = file.as_object_mut()
        {
            file.shift_remove(section);
        }
    }
    let mut out = String::new();
    emit(&mut out, &file, &[], 0);
    Ok(out)
}

/// Values as Docker holds them: variables resolved, sizes in bytes, durations in Go's notation.
fn settle(service: &mut Value, loaded: &Loaded) -> Result<(), CliError> {
    if let Some(ports) = service.get_mut("expose").and_then(Value::as_array_mut) {
        ports.iter_mut().for_each(|port| *port = plain(port).into());
    }
    let env = super::convert::environment_map(service)?;
    if !env.is_empty() {
        service["environment"] = env.into();
    }
    if let Some(files) = service.get_mut("env_file").and_then(Value::as_array_mut) {
        for file in files {
            let path = std::path::PathBuf::from(file["path"].as_str().unwrap_or_default());
            let short = path.strip_prefix(&loaded.dir).unwrap_or(&path);
            *file = short.to_string_lossy().into_owned().into();
        }
    }
    if let Some(test) = service.pointer_mut("/healthcheck/test")
        && let Some(command) = test.as_str()
    {
        *test = serde_json::json!(["CMD-SHELL", command]);
    }
    for group in ["limits", "reservations"] {
        if let Some(memory) = service.pointer_mut(&format!("/deploy/resources/{group}/memory")) {
            let bytes = parse_bytes(&plain(memory)).map_err(CliError::new)?;
            *memory = bytes.to_string().into();
        }
    }
    for pointer in [
        "/stop_grace_period",
        "/healthcheck/interval",
        "/healthcheck/timeout",
        "/healthcheck/start_period",
        "/healthcheck/start_interval",
        "/deploy/update_config/delay",
        "/deploy/update_config/monitor",
        "/deploy/rollback_config/delay",
        "/deploy/rollback_config/monitor",
        "/deploy/restart_policy/delay",
        "/deploy/restart_policy/window",
    ] {
        if let Some(value) = service.pointer_mut(pointer)
            && let Some(nanos) = value.as_str().and_then(|text| parse_duration(text).ok())
        {
            *value = go_duration(nanos).into();
        }
    }
    let hosts = super::convert::host_pairs(service)?;
    if !hosts.is_empty() {
        let text =
            |(host, ip): &(String, String)| format!("{host}:{}", ip.trim_matches(['[', ']']));
        service["extra_hosts"] = hosts.iter().map(text).collect::<Vec<_>>().into();
    }
    if let Some(options) = service
        .pointer_mut("/logging/options")
        .and_then(Value::as_object_mut)
    {
        for (_, value) in options {
            *value = plain(value).into();
        }
    }
    held::service(service, loaded.dialect);
    Ok(())
}

/// Which order the keys of a map have, by where it stands.
fn order(path: &[&str]) -> &'static [&'static str] {
    let name = match path {
        ["services", _, "ports"] => "ports",
        ["services", _, "volumes"] => "volumes.",
        ["services", _, "secrets" | "configs"] => "files",
        ["services", _, "ulimits", _] => "ulimit",
        ["networks", _, "ipam"] => "ipam",
        ["networks", _] => "network",
        ["volumes", _] => "volume",
        ["secrets" | "configs", _] => "secret",
        ["services", _, rest @ ..] => rest.last().copied().unwrap_or("service"),
        [] => "",
        _ => "other",
    };
    let found = ORDERS.iter().find(|(known, _)| *known == name);
    found.map_or(&[], |(_, order)| order)
}

fn emit(out: &mut String, value: &Value, path: &[&str], depth: usize) {
    let space = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            let order = order(path);
            let rank = |key: &str| order.iter().position(|k| *k == key).unwrap_or(order.len());
            let mut keys: Vec<&String> = map.keys().collect();
            // Go's names have another order here: EnvFile, Hostname.
            let go = |key: &str| {
                match key {
                    "cgroupns_mode" => "cgroup",
                    "env_file" => "environment~",
                    "healthcheck" => "hostname~",
                    key => key,
                }
                .to_owned()
            };
            keys.sort_by_key(|key| (rank(key), go(key)));
            for key in keys {
                out.push_str(&format!("{space}{}:", scalar::text(key, 0)));
                let inner: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                member(out, &map[key], &inner, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut text = String::new();
                match item {
                    Value::Object(map) if !map.is_empty() => emit(&mut text, item, path, depth + 1),
                    item => text.push_str(&format!("{space}  {}\n", scalar(item, depth + 2))),
                }
                // The first line has the dash.
                out.push_str(&format!("{space}- {}", &text[space.len() + 2..]));
            }
        }
        other => out.push_str(&format!("{space}{}\n", scalar(other, depth + 1))),
    }
}

fn member(out: &mut String, value: &Value, path: &[&str], depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            emit(out, value, path, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            emit(out, value, path, depth + 1);
        }
        other => out.push_str(&format!(" {}\n", scalar(other, depth + 1))),
    }
}

/// What is no map and no list; lines of a text stand as deep as is said.
fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => scalar::text(text, 2 * depth),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_set_in_and_texts_quoted_where_needed() {
        let file = json!({"services": {"a": {
            "image": "x:1", "user": "1:2", "command": ["-c", "a: b", "true", "1"],
            "ports": [{"target": 80, "mode": "ingress"}], "deploy": {"replicas": 2, "mode": "replicated"},
        }}, "version": "3.8"});
        let mut out = String::new();
        emit(&mut out, &file, &[], 0);
        assert_eq!(
            out,
            "version: \"3.8\"\nservices:\n  a:\n    command:\n      - -c\n      - 'a: b'\n      - \"true\"\n      - \"1\"\n    deploy:\n      mode: replicated\n      replicas: 2\n    image: x:1\n    ports:\n      - mode: ingress\n        target: 80\n    user: \"1:2\"\n"
        );
    }
}
