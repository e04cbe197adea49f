//! From a stack file to what the API takes.

mod deploy;
mod service;

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::load::Loaded;
use super::normal::plain;
use super::volumes::external_name;
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
    /// Specs of services; secrets and configs are references by name, with an empty id.
    pub services: Vec<Value>,
}

/// What service conversion looks up.
struct Parts<'a> {
    stack: &'a str,
    dir: &'a Path,
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
        namespace: Map::from_iter([(NAMESPACE_LABEL.to_owned(), Value::from(stack))]),
        networks: section("networks"),
        volumes: section("volumes"),
        secrets: section("secrets"),
        configs: section("configs"),
    };
    let mut converted = Stack::default();
    networks(&parts, &services, &mut converted)?;
    converted.secrets = files(&parts, &parts.secrets, "secret")?;
    converted.configs = files(&parts, &parts.configs, "config")?;
    for (name, service) in &services {
        let spec = service::convert(&parts, name, service)
            .map_err(|error| CliError::new(format!("service {name}: {}", error.message)))?;
        converted.services.push(spec);
    }
    Ok(converted)
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
            .map(|config| json!({"Subnet": config["subnet"]}))
            .collect();
        json!({"Driver": ipam["driver"].as_str().unwrap_or_default(), "Options": null, "Config": configs})
    } else {
        Value::Null
    };
    json!({
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
    })
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
        if driver.is_empty() {
            let file = entry["file"].as_str().unwrap_or_default();
            if file.is_empty() {
                return Err(CliError::new(format!(
                    "{kind} {key}: a file, a driver or external is needed"
                )));
            }
            let path = parts.dir.join(file);
            let data = std::fs::read(&path).map_err(|error| {
                CliError::new(format!("open {}: {}", path.display(), io_text(&error)))
            })?;
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
