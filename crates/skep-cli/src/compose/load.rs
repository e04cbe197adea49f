//! From files to one checked stack file.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{interpolate::interpolate, merge::merge, normal, schema};
use crate::error::{CliError, io_text};

/// Versions of the format that are known.
const NEWEST_MINOR: u32 = 13;
/// Files larger than this are no stack files.
const MAX_BYTES: u64 = 16 << 20;

/// Keys that are read and not used.
const UNSUPPORTED: [&str; 16] = [
    "build",
    "cgroupns_mode",
    "cgroup_parent",
    "devices",
    "domainname",
    "external_links",
    "ipc",
    "links",
    "mac_address",
    "network_mode",
    "pid",
    "privileged",
    "restart",
    "security_opt",
    "shm_size",
    "userns_mode",
];
/// Keys that are read, not used, and said to be old.
const DEPRECATED: [(&str, &str); 2] = [
    (
        "container_name",
        "Setting the container name is not supported.",
    ),
    (
        "expose",
        "Exposing ports is unnecessary - services on the same network can access each other's containers on any port.",
    ),
];
/// Keys that are refused, and what to do instead.
const FORBIDDEN: [(&str, &str); 8] = [
    ("extends", "Support for `extends` is not implemented yet."),
    (
        "volume_driver",
        "Instead of setting the volume driver on the service, define a volume using the top-level `volumes` option and specify the driver there.",
    ),
    (
        "volumes_from",
        "To share a volume between services, define it using the top-level `volumes` option and reference it from each service that shares it using the service-level `volumes` option.",
    ),
    ("cpu_quota", "Set resource limits using deploy.resources"),
    ("cpu_shares", "Set resource limits using deploy.resources"),
    ("cpuset", "Set resource limits using deploy.resources"),
    ("mem_limit", "Set resource limits using deploy.resources"),
    (
        "memswap_limit",
        "Set resource limits using deploy.resources",
    ),
];

/// A stack file, merged, checked and in its long forms.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The file: sections as maps, services in their long forms.
    pub file: Value,
    /// What paths in it are relative to.
    pub dir: PathBuf,
    /// What to tell the user, a line each.
    pub warnings: Vec<String>,
}

/// Loads files; `-` is standard input.
pub(crate) fn load(files: &[String], no_interpolation: bool) -> Result<Loaded, CliError> {
    let dir = match files.first().map(String::as_str) {
        None => {
            return Err(CliError::new(
                "specify a Compose file (with --compose-file)",
            ));
        }
        Some("-") => std::env::current_dir()?,
        Some(first) => {
            let path = std::path::absolute(first)?;
            path.parent().unwrap_or(Path::new("/")).to_owned()
        }
    };
    let mut all = Vec::new();
    for name in files {
        all.push((name.as_str(), read(name)?));
    }
    let versions: BTreeSet<String> = all
        .iter()
        .map(|(_, file)| version(file))
        .collect::<Result<_, _>>()?;
    if versions.len() > 1 {
        let both: Vec<_> = versions.into_iter().collect();
        return Err(CliError::new(format!(
            "version mismatched between two composefiles : {}",
            both.join(" and ")
        )));
    }
    let mut merged = Value::Null;
    for (_, mut file) in all {
        forbidden(&file)?;
        if !no_interpolation {
            let lookup = |name: &str| std::env::var(name).ok();
            for section in ["services", "volumes", "networks", "secrets", "configs"] {
                if let Some(content) = file.get_mut(section) {
                    interpolate(content, section, &lookup)?;
                }
            }
        }
        normal::cast(&mut file);
        schema::check(&file)?;
        normal::lengthen(&mut file, &dir)?;
        merged = if merged.is_null() {
            file
        } else {
            merge(merged, file)
        };
    }
    let services = merged
        .get("services")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    if let Some((name, _)) = services
        .iter()
        .find(|(_, service)| service["image"].as_str().unwrap_or_default().is_empty())
    {
        return Err(CliError::new(format!(
            "invalid image reference for service {name}: no image specified"
        )));
    }
    Ok(Loaded {
        warnings: warnings(&services),
        file: merged,
        dir,
    })
}

fn read(name: &str) -> Result<Value, CliError> {
    let mut text = String::new();
    if name == "-" {
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut text)?;
    } else {
        let refused =
            |error: std::io::Error| CliError::new(format!("open {name}: {}", io_text(&error)));
        std::fs::File::open(name)
            .map_err(refused)?
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(refused)?;
    }
    let value: serde_norway::Value =
        serde_norway::from_str(&text).map_err(|error| CliError::new(format!("yaml: {error}")))?;
    let json = to_json(value)?;
    if !json.is_object() {
        return Err(CliError::new("Top-level object must be a mapping"));
    }
    Ok(json)
}

/// YAML as JSON: keys become texts, merges (`<<`) are worked in, octal numbers are read as such.
fn to_json(value: serde_norway::Value) -> Result<Value, CliError> {
    use serde_norway::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => flag.into(),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(number)) => number.into(),
            _ => Value::Null,
        },
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(mut map) => {
            let mut object = Map::new();
            if let Some(base) = map.remove("<<") {
                let bases = match to_json(base)? {
                    Value::Array(bases) => bases,
                    base => vec![base],
                };
                for base in bases {
                    let Value::Object(base) = base else {
                        return Err(CliError::new(
                            "yaml: map merge requires map or sequence of maps as the value",
                        ));
                    };
                    for (key, value) in base {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            for (key, value) in map {
                let key = match key {
                    Yaml::String(key) => key,
                    Yaml::Number(key) => key.to_string(),
                    Yaml::Bool(key) => key.to_string(),
                    _ => return Err(CliError::new("Non-string key at top level")),
                };
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => to_json(tagged.value)?,
    })
}

/// The version, checked; "3", none and an empty one mean the newest.
fn version(file: &Value) -> Result<String, CliError> {
    let given = match &file["version"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            return Err(CliError::new(format!(
                "version must be a string, but got {number}"
            )));
        }
        _ => return Err(CliError::new("version must be a string")),
    };
    let newest = format!("3.{NEWEST_MINOR}");
    let known = match given.as_str() {
        "" | "3" => return Ok(newest),
        "1" | "1.0" => {
            return Err(CliError::new("unsupported Compose file version: 1.0"));
        }
        other => other
            .strip_prefix("3.")
            .and_then(|minor| minor.parse::<u32>().ok()),
    };
    match known {
        Some(minor) if minor <= NEWEST_MINOR => Ok(given),
        _ => Err(CliError::new(format!(
            "unsupported Compose file version: {given}"
        ))),
    }
}

fn forbidden(file: &Value) -> Result<(), CliError> {
    let services = file["services"]
        .as_object()
        .into_iter()
        .flat_map(Map::values);
    let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
    for service in services {
        found.extend(
            FORBIDDEN
                .iter()
                .filter(|(key, _)| service.get(key).is_some()),
        );
    }
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = found
        .iter()
        .map(|(key, advice)| format!("{key}: {advice}"))
        .collect();
    Err(CliError::new(format!(
        "compose file contains unsupported options:\n\n{}\n",
        lines.join("\n\n")
    )))
}

fn warnings(services: &Map<String, Value>) -> Vec<String> {
    let has = |key: &str| services.values().any(|service| service.get(key).is_some());
    let mut lines = Vec::new();
    let unsupported: Vec<_> = {
        let mut keys: Vec<_> = UNSUPPORTED.into_iter().filter(|key| has(key)).collect();
        keys.sort_unstable();
        keys
    };
    if !unsupported.is_empty() {
        lines.push(format!(
            "Ignoring unsupported options: {}\n",
            unsupported.join(", ")
        ));
    }
    let deprecated: Vec<_> = DEPRECATED.into_iter().filter(|(key, _)| has(key)).collect();
    if !deprecated.is_empty() {
        let all: Vec<_> = deprecated
            .iter()
            .map(|(key, why)| format!("{key}: {why}"))
            .collect();
        lines.push(format!(
            "Ignoring deprecated options:\n\n{}\n",
            all.join("\n\n")
        ));
    }
    lines
}
