//! From a stack file to what the API takes.

mod deploy;
mod service;

pub(super) use service::{environment_map, host_pairs};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::depends::{Condition, conditions, order};
use super::dotenv::Variables;
use super::external::external_name;
use super::load::Loaded;
use super::normal::plain;
use crate::error::{CliError, io_text};

/// The label that says which stack an object belongs to.
pub(crate) const NAMESPACE_LABEL: &str = "com.docker.stack.namespace";
/// The label that keeps a service's image as the file names it.
pub(crate) const IMAGE_LABEL: &str = "com.docker.stack.image";
/// Networks that are there without being made.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];

/// Everything that a stack is made of, as the API takes it. Names are whole.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    /// Bodies for making networks.
    pub networks: Vec<Value>,
    /// Names of networks that must be there.
    pub external_networks: Vec<String>,
    /// Bodies for making secrets.
    pub secrets: Vec<Value>,
    /// Bodies for making configs.
    pub configs: Vec<Value>,
    /// Specs of services; secrets and configs are references by name, with an empty id. Each stands
    /// behind those that it waits for.
    pub services: Vec<Value>,
    /// By whole name of a service: what it waits for, by whole name.
    pub waits: BTreeMap<String, Vec<(String, Condition)>>,
}

/// What service conversion looks up.
struct Parts<'a> {
    stack: &'a str,
    dir: &'a Path,
    variables: &'a Variables,
    namespace: Map<String, Value>,
    networks: Map<String, Value>,
    volumes: Map<String, Value>,
    secrets: Map<String, Value>,
    configs: Map<String, Value>,
}

impl Parts<'_> {
    fn scoped(&self, name: &str) -> String {
        format!("{}_{name}", self.stack)
    }

    /// The whole name of a network, secret or config.
    fn name_of(&self, entry: &Value, key: &str) -> String {
        external_name(entry, key)
            .or_else(|| {
                entry["name"]
                    .as_str()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            })
            .unwrap_or_else(|| self.scoped(key))
    }

    fn labels(&self, entry: &Value) -> Map<String, Value> {
        let mut labels = entry["labels"].as_object().cloned().unwrap_or_default();
        labels.extend(self.namespace.clone());
        labels
    }
}

/// Converts a file for a stack of this name.
pub(crate) fn convert(loaded: &Loaded, stack: &str) -> Result<Stack, CliError> {
    let section = |name: &str| loaded.file[name].as_object().cloned().unwrap_or_default();
    let services = section("services");
    let parts = Parts {
        stack,
        dir: &loaded.dir,
        variables: &loaded.variables,
        namespace: Map::from_iter([(NAMESPACE_LABEL.to_owned(), Value::from(stack))]),
        networks: section("networks"),
        volumes: section("volumes"),
        secrets: section("secrets"),
        configs: section("configs"),
    };
    let services = with_jobs(services);
    let mut converted = Stack::default();
    networks(&parts, &services, &mut converted)?;
    converted.secrets = files(&parts, &parts.secrets, "secret")?;
    converted.configs = files(&parts, &parts.configs, "config")?;
    for name in order(&services)? {
        let service = &services[&name];
        let spec = service::convert(&parts, &name, service)
            .map_err(|error| CliError::new(format!("service {name}: {}", error.message)))?;
        converted.services.push(spec);
        let waits: Vec<_> = conditions(service)
            .into_iter()
            .map(|(other, condition)| (parts.scoped(&other), condition))
            .collect();
        if !waits.is_empty() {
            converted.waits.insert(parts.scoped(&name), waits);
        }
    }
    Ok(converted)
}

/// What others wait for to complete is a job, where the file does not say what it is.
fn with_jobs(mut services: Map<String, Value>) -> Map<String, Value> {
    let completed: BTreeSet<String> = services
        .values()
        .flat_map(conditions)
        .filter(|(_, condition)| *condition == Condition::Completed)
        .map(|(name, _)| name)
        .collect();
    for name in completed {
        if let Some(service) = services.get_mut(&name)
            && service["deploy"]["mode"].is_null()
        {
            service["deploy"]["mode"] = "replicated-job".into();
            if let Some(deploy) = service["deploy"].as_object_mut() {
                deploy.shift_remove("update_config");
                deploy.shift_remove("rollback_config");
            }
        }
    }
    services
}

/// Networks that services use; others of the file are not made.
fn networks(
    parts: &Parts<'_>,
    services: &Map<String, Value>,
    converted: &mut Stack,
) -> Result<(), CliError> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for service in services.values() {
        match service["networks"]
            .as_object()
            .filter(|networks| !networks.is_empty())
        {
            Some(networks) => used.extend(networks.keys().cloned()),
            None => drop(used.insert("default".to_owned())),
        }
    }
    for key in &used {
        let Some(entry) = parts.networks.get(key) else {
            if key == "default" {
                converted
                    .networks
                    .push(network_body(parts, &json!({}), &parts.scoped(key)));
            }
            continue;
        };
        match external_name(entry, key) {
            Some(name) if PREDEFINED.contains(&name.as_str()) => {}
            Some(name) => converted.external_networks.push(name),
            None => converted
                .networks
                .push(network_body(parts, entry, &parts.name_of(entry, key))),
        }
    }
    Ok(())
}

fn network_body(parts: &Parts<'_>, entry: &Value, name: &str) -> Value {
    let options = entry["driver_opts"].as_object().map(|options| {
        options
            .iter()
            .map(|(key, value)| (key.clone(), plain(value).into()))
            .collect::<Map<String, Value>>()
    });
    let ipam = &entry["ipam"];
    let ipam = if ipam["driver"].as_str().is_some()
        || ipam["config"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    {
        let configs: Vec<_> = ipam["config"]
            .as_array()
            .into_iter()
            .flatten()
            .map(ipam_config)
            .collect();
        json!({"Driver": ipam["driver"].as_str().unwrap_or_default(), "Options": ipam["options"], "Config": configs})
    } else {
        Value::Null
    };
    let mut body = json!({
        "Driver": entry["driver"].as_str().filter(|driver| !driver.is_empty()).unwrap_or("overlay"),
        "Scope": "",
        "IPAM": ipam,
        "Internal": entry["internal"] == true,
        "Attachable": entry["attachable"] == true,
        "Ingress": false,
        "ConfigOnly": false,
        "ConfigFrom": null,
        "Options": options,
        "Labels": parts.labels(entry),
        "Name": name,
    });
    for (from, to) in [("enable_ipv4", "EnableIPv4"), ("enable_ipv6", "EnableIPv6")] {
        if let Some(value) = entry[from].as_bool() {
            body[to] = value.into();
        }
    }
    body
}

fn ipam_config(config: &Value) -> Value {
    let mut converted = json!({"Subnet": config["subnet"]});
    for (from, to) in [
        ("gateway", "Gateway"),
        ("ip_range", "IPRange"),
        ("aux_addresses", "AuxiliaryAddresses"),
    ] {
        if !config[from].is_null() {
            converted[to] = config[from].clone();
        }
    }
    converted
}

/// Bodies of secrets or configs that are the stack's own.
fn files(
    parts: &Parts<'_>,
    section: &Map<String, Value>,
    kind: &str,
) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for (key, entry) in section {
        if external_name(entry, key).is_some() {
            continue;
        }
        let mut body = json!({"Name": parts.name_of(entry, key), "Labels": parts.labels(entry)});
        let driver = entry["driver"].as_str().unwrap_or_default();
        if driver.is_empty() && entry["driver_opts"].is_object() {
            return Err(CliError::new(format!(
                "{kind} {key}: \"driver_opts\" are for a \"driver\", and none is named"
            )));
        }
        if driver.is_empty() {
            let data = content(parts, entry)
                .map_err(|error| CliError::new(format!("{kind} {key}: {}", error.message)))?;
            body["Data"] = base64::engine::general_purpose::STANDARD
                .encode(data)
                .into();
        } else {
            body["Driver"] = json!({"Name": driver, "Options": entry["driver_opts"]});
        }
        if let Some(driver) = entry["template_driver"].as_str() {
            body["Templating"] = json!({"Name": driver});
        }
        all.push(body);
    }
    Ok(all)
}

/// What a secret or config holds: `content`, a variable of the caller's or of `.env`, or a file.
fn content(parts: &Parts<'_>, entry: &Value) -> Result<Vec<u8>, CliError> {
    let given = ["content", "environment", "file"].map(|key| entry[key].as_str());
    match given {
        [Some(content), None, None] => Ok(content.as_bytes().to_vec()),
        [None, Some(name), None] => parts
            .variables
            .get(name)
            .map(String::into_bytes)
            .ok_or_else(|| CliError::new(format!("environment variable {name:?} is not set"))),
        [None, None, Some(file)] if !file.is_empty() => {
            let path = parts.dir.join(file);
            std::fs::read(&path).map_err(|error| {
                CliError::new(format!("open {}: {}", path.display(), io_text(&error)))
            })
        }
        [None, None, _] => Err(CliError::new(
            "a file, content, an environment variable, a driver or external is needed",
        )),
        _ => Err(CliError::new(
            "only one of file, content and environment can be given",
        )),
    }
}
