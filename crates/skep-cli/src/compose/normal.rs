//! Short forms made long, and texts made what they stand for.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::spec_forms;
use super::volumes::short_volume;
use crate::error::CliError;
use crate::opts::port_spec;
use crate::output::shortest;

/// Keys whose texts, after interpolation, are whole numbers.
const INTEGERS: [&str; 12] = [
    "replicas",
    "parallelism",
    "max_attempts",
    "max_replicas_per_node",
    "pids",
    "pids_limit",
    "scale",
    "target",
    "published",
    "oom_score_adj",
    "retries",
    "value",
];
/// Keys whose texts, after interpolation, are flags.
const FLAGS: [&str; 14] = [
    "privileged",
    "read_only",
    "stdin_open",
    "tty",
    "init",
    "disable",
    "nocopy",
    "external",
    "internal",
    "attachable",
    "create_host_path",
    "enable_ipv4",
    "enable_ipv6",
    "required",
];

/// Turns texts that interpolation left into numbers and flags, where the format wants those.
pub(super) fn cast(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                // `command` and the like may hold anything; `environment` is texts.
                if key == "ulimits" {
                    whole_numbers(value);
                }
                if matches!(
                    key.as_str(),
                    "environment" | "labels" | "command" | "entrypoint" | "driver_opts" | "options"
                ) {
                    continue;
                }
                match value {
                    Value::String(text)
                        if INTEGERS.contains(&key.as_str()) && key != "published" =>
                    {
                        if let Ok(number) = text.parse::<i64>() {
                            *value = number.into();
                        }
                    }
                    Value::String(text) if FLAGS.contains(&key.as_str()) => {
                        match text.to_ascii_lowercase().as_str() {
                            "true" | "yes" | "y" | "on" | "1" => *value = true.into(),
                            "false" | "no" | "n" | "off" | "0" => *value = false.into(),
                            _ => {}
                        }
                    }
                    Value::String(text) if key == "mode" && text.starts_with('0') => {
                        if let Ok(mode) = u32::from_str_radix(text.trim_start_matches("0o"), 8) {
                            *value = mode.into();
                        }
                    }
                    other => cast(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cast),
        _ => {}
    }
}

/// Texts of whole numbers, at any depth.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::String(text) => {
            if let Ok(number) = text.parse::<i64>() {
                *value = number.into();
            }
        }
        _ => {}
    }
}

/// How Docker begins what it says of values that it cannot read.
pub(super) const UNDECODED: &str = "decoding failed due to the following error(s):";

/// What Docker says of a bind mount from nowhere.
const NO_SOURCE: &str = "invalid mount config for type \"bind\": field Source must not be empty";

/// Makes every short form of a file long.
pub(super) fn lengthen(file: &mut Value, dir: &Path, dialect: Dialect) -> Result<(), CliError> {
    if let Some(Value::Object(services)) = file.get_mut("services") {
        for (name, service) in services {
            service_forms(service, dir, dialect)
                .and_then(|()| spec_forms::service(service, dir, dialect))
                .map_err(|error| {
                    match error.message.starts_with(UNDECODED) || error.message == NO_SOURCE {
                        true => error,
                        false => CliError::new(format!("services.{name}.{}", error.message)),
                    }
                })?;
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        for (_, entry) in file
            .get_mut(section)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            if entry.is_null() {
                *entry = json!({});
            }
            change(entry, "labels", pairs);
            change(entry, "file", |file| absolute(&plain(&file), dir).into());
        }
    }
    Ok(())
}

/// Networks of every host that a service is on are there without being made.
pub(super) fn predefined(file: &mut Value) {
    for name in ["host", "none", "bridge"] {
        let mut services = file["services"]
            .as_object()
            .into_iter()
            .flat_map(Map::values);
        let is_used = services.any(|service| service["networks"].get(name).is_some());
        if is_used && file["networks"][name].is_null() {
            file["networks"][name] = json!({"external": true, "name": name});
        }
    }
}

fn service_forms(service: &mut Value, dir: &Path, dialect: Dialect) -> Result<(), CliError> {
    for key in ["labels", "sysctls"] {
        change(service, key, pairs);
    }
    change(service, "deploy", |mut deploy| {
        change(&mut deploy, "labels", pairs);
        deploy
    });
    for key in ["dns", "dns_search", "env_file", "tmpfs"] {
        change(service, key, list);
    }
    for (key, field) in [("command", "Command"), ("entrypoint", "Entrypoint")] {
        if let Some(Value::String(text)) = service.get(key) {
            let words = shell_words::split(text).map_err(|error| match dialect {
                Dialect::Compose => CliError::new(format!("{key}: {error}")),
                Dialect::Docker { .. } => CliError::new(format!(
                    "{UNDECODED}\n\nerror decoding '{field}': EOF found when expecting closing quote"
                )),
            })?;
            service[key] = words.into();
        }
    }
    for key in ["secrets", "configs"] {
        change(service, key, |entries| {
            each(entries, |entry| match entry {
                Value::String(source) => json!({"source": source}),
                entry => entry,
            })
        });
    }
    change(service, "networks", |networks| match networks {
        Value::Array(names) => Value::Object(
            names
                .into_iter()
                .filter_map(|name| Some((name.as_str()?.to_owned(), Value::Null)))
                .collect(),
        ),
        networks => networks,
    });
    if let Some(Value::Array(ports)) = service.get("ports") {
        service["ports"] = Value::Array(long_ports(ports)?);
    }
    if let Some(Value::Array(volumes)) = service.get("volumes") {
        let long: Result<Vec<_>, _> = volumes
            .iter()
            .map(|volume| long_volume(volume, dir, dialect))
            .collect();
        service["volumes"] = Value::Array(long?);
    }
    Ok(())
}

fn long_ports(ports: &[Value]) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        let text = match port {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            long => {
                let mut long = long.clone();
                if let Some(text) = long["published"].as_str() {
                    let published = text.parse::<u16>().map_err(|_| {
                        CliError::new(format!("ports: invalid published port: {text}"))
                    })?;
                    long["published"] = published.into();
                }
                all.push(long);
                continue;
            }
        };
        let (ip, text) = without_address(&text);
        let specs = port_spec(&text)
            .map_err(|_| CliError::new(format!("ports.{number} Does not match format 'ports'")))?;
        all.extend(specs.into_iter().map(|spec| {
            let mut port = json!({"mode": "ingress", "target": spec["TargetPort"], "protocol": spec["Protocol"]});
            if let Some(published) = spec.get("PublishedPort") {
                port["published"] = published.clone();
            }
            if !ip.is_empty() {
                port["host_ip"] = ip.clone().into();
            }
            port
        }));
    }
    Ok(all)
}

/// The address that a port is to be published at, and the rest of `[address:][published:]target`.
fn without_address(text: &str) -> (String, String) {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    let parts: Vec<_> = ports.rsplitn(3, ':').collect();
    let (ip, ports) = match parts[..] {
        [target, published, ip] => (ip, format!("{published}:{target}")),
        _ => ("", ports.to_owned()),
    };
    let slash = if protocol.is_empty() { "" } else { "/" };
    (ip.to_owned(), format!("{ports}{slash}{protocol}"))
}

fn long_volume(volume: &Value, dir: &Path, dialect: Dialect) -> Result<Value, CliError> {
    let mut long = match volume {
        Value::String(text) => short_volume(text, dialect)?,
        long => long.clone(),
    };
    if long["type"] == "bind" {
        let source = long["source"].as_str().unwrap_or_default().to_owned();
        if source.is_empty() {
            return Err(CliError::new(NO_SOURCE));
        }
        long["source"] = absolute(&source, dir).into();
    }
    Ok(long)
}

pub(super) fn absolute(path: &str, dir: &Path) -> String {
    if let Some(rest) = path.strip_prefix('~') {
        return format!("{}{rest}", std::env::var("HOME").unwrap_or_default());
    }
    let mut whole = std::path::PathBuf::new();
    for part in dir.join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                whole.pop();
            }
            std::path::Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole.to_string_lossy().into_owned()
}

pub(super) fn change(object: &mut Value, key: &str, form: impl FnOnce(Value) -> Value) {
    if let Some(value) = object.get_mut(key).filter(|value| !value.is_null()) {
        *value = form(value.take());
    }
}

/// A list of `key=value` as a map; numbers and flags as texts.
pub(super) fn pairs(value: Value) -> Value {
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| {
                let text = plain(item);
                let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                (key.to_owned(), Value::from(value))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, plain(&value).into()))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

/// What a scalar says.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Number(number) if number.is_f64() => shortest(number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// Permissions of a file: a number, or a text of octal digits.
pub(super) fn file_mode(value: &Value) -> Result<Option<u64>, CliError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => u64::from_str_radix(text.trim_start_matches("0o"), 8)
            .map(Some)
            .map_err(|_| CliError::new(format!("invalid mode {text:?}: must be an octal number"))),
        number => number.as_u64().map(Some).ok_or_else(|| {
            CliError::new(format!("invalid mode {number}: must be an octal number"))
        }),
    }
}

fn list(value: Value) -> Value {
    match value {
        Value::String(text) => json!([text]),
        other => other,
    }
}

fn each(value: Value, form: impl Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(form).collect(),
        other => other,
    }
}
