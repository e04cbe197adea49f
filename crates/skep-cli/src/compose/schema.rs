//! Which keys a stack file may have, and what kind of values.

use serde_json::Value;

use super::nearest::nearest;
use crate::error::CliError;

/// What a key's value may be.
#[derive(Clone, Copy)]
enum Shape {
    /// Anything: checked where it is converted.
    Any,
    Text,
    Flag,
    Integer,
    /// A number or a text that holds one.
    Number,
    /// Texts or numbers.
    List,
    /// A map or a list of `key=value`.
    Pairs,
    /// One text or several.
    TextOrList,
    /// Known keys.
    Map(&'static [(&'static str, Shape)]),
    /// A list of maps with known keys, or of texts.
    Entries(&'static [(&'static str, Shape)]),
}

use Shape::{Any, Entries, Flag, Integer, List, Map, Number, Pairs, Text, TextOrList};

const SERVICE: &[(&str, Shape)] = &[
    ("build", Any),
    ("cap_add", List),
    ("cap_drop", List),
    ("cgroup_parent", Text),
    ("cgroupns_mode", Text),
    ("command", TextOrList),
    ("configs", Entries(FILE)),
    ("container_name", Text),
    ("credential_spec", Map(CREDENTIAL)),
    ("depends_on", List),
    ("deploy", Map(DEPLOY)),
    ("devices", List),
    ("dns", TextOrList),
    ("dns_search", TextOrList),
    ("domainname", Text),
    ("entrypoint", TextOrList),
    ("env_file", TextOrList),
    ("environment", Pairs),
    ("expose", List),
    ("external_links", List),
    ("extra_hosts", Pairs),
    ("healthcheck", Map(HEALTHCHECK)),
    ("hostname", Text),
    ("image", Text),
    ("init", Flag),
    ("ipc", Text),
    ("isolation", Text),
    ("labels", Pairs),
    ("links", List),
    ("logging", Map(LOGGING)),
    ("mac_address", Text),
    ("network_mode", Text),
    ("networks", Any),
    ("oom_score_adj", Integer),
    ("pid", Any),
    ("ports", Entries(PORT)),
    ("privileged", Flag),
    ("read_only", Flag),
    ("restart", Text),
    ("secrets", Entries(FILE)),
    ("security_opt", List),
    ("shm_size", Number),
    ("stdin_open", Flag),
    ("stop_grace_period", Text),
    ("stop_signal", Text),
    ("sysctls", Pairs),
    ("tmpfs", TextOrList),
    ("tty", Flag),
    ("ulimits", Any),
    ("user", Text),
    ("userns_mode", Text),
    ("volumes", Entries(VOLUME)),
    ("working_dir", Text),
];

const FILE: &[(&str, Shape)] = &[
    ("source", Text),
    ("target", Text),
    ("uid", Text),
    ("gid", Text),
    ("mode", Number),
];
const CREDENTIAL: &[(&str, Shape)] = &[("config", Text), ("file", Text), ("registry", Text)];
const LOGGING: &[(&str, Shape)] = &[("driver", Text), ("options", Any)];
const PORT: &[(&str, Shape)] = &[
    ("mode", Text),
    ("target", Integer),
    ("published", Integer),
    ("protocol", Text),
];
const VOLUME: &[(&str, Shape)] = &[
    ("type", Text),
    ("source", Text),
    ("target", Text),
    ("read_only", Flag),
    ("consistency", Text),
    ("bind", Any),
    ("volume", Any),
    ("tmpfs", Any),
];
const HEALTHCHECK: &[(&str, Shape)] = &[
    ("disable", Flag),
    ("interval", Text),
    ("retries", Number),
    ("start_interval", Text),
    ("start_period", Text),
    ("test", TextOrList),
    ("timeout", Text),
];
const DEPLOY: &[(&str, Shape)] = &[
    ("endpoint_mode", Text),
    ("labels", Pairs),
    ("mode", Text),
    ("placement", Map(PLACEMENT)),
    ("replicas", Integer),
    ("resources", Map(RESOURCES)),
    ("restart_policy", Map(RESTART)),
    ("rollback_config", Map(UPDATE)),
    ("update_config", Map(UPDATE)),
];
const PLACEMENT: &[(&str, Shape)] = &[
    ("constraints", List),
    ("max_replicas_per_node", Integer),
    ("preferences", Entries(&[("spread", Text)])),
];
const RESOURCES: &[(&str, Shape)] = &[
    (
        "limits",
        Map(&[("cpus", Number), ("memory", Number), ("pids", Integer)]),
    ),
    (
        "reservations",
        Map(&[
            ("cpus", Number),
            ("generic_resources", Any),
            ("memory", Number),
        ]),
    ),
];
const RESTART: &[(&str, Shape)] = &[
    ("condition", Text),
    ("delay", Text),
    ("max_attempts", Integer),
    ("window", Text),
];
const UPDATE: &[(&str, Shape)] = &[
    ("delay", Text),
    ("failure_action", Text),
    ("max_failure_ratio", Number),
    ("monitor", Text),
    ("order", Text),
    ("parallelism", Integer),
];
const NETWORK: &[(&str, Shape)] = &[
    ("attachable", Flag),
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("internal", Flag),
    (
        "ipam",
        Map(&[("config", Entries(&[("subnet", Text)])), ("driver", Text)]),
    ),
    ("labels", Pairs),
    ("name", Text),
];
const TOP_VOLUME: &[(&str, Shape)] = &[
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("labels", Pairs),
    ("name", Text),
    ("x-cluster-spec", Any),
];
const TOP_FILE: &[(&str, Shape)] = &[
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("file", Text),
    ("labels", Pairs),
    ("name", Text),
    ("template_driver", Text),
];
/// Top-level sections whose entries have known keys; `x-` keys may stand in them, but not in `deploy`.
const SECTIONS: [(&str, &[(&str, Shape)]); 5] = [
    ("services", SERVICE),
    ("networks", NETWORK),
    ("volumes", TOP_VOLUME),
    ("secrets", TOP_FILE),
    ("configs", TOP_FILE),
];

/// Checks a whole file.
pub(super) fn check(file: &Value) -> Result<(), CliError> {
    let Value::Object(top) = file else {
        return Err(CliError::new("Top-level object must be a mapping"));
    };
    for (section, content) in top {
        let Some((_, keys)) = SECTIONS.iter().find(|(name, _)| name == section) else {
            if section == "version" || section.starts_with("x-") {
                continue;
            }
            let known = SECTIONS.iter().map(|(name, _)| *name).chain(["version"]);
            return Err(unknown("(root)", section, known));
        };
        match content {
            Value::Object(entries) => {
                for (name, entry) in entries {
                    let at = format!("{section}.{name}");
                    match entry {
                        Value::Null if *section != "services" => {}
                        _ => check_map(entry, &at, keys, true)?,
                    }
                }
            }
            Value::Null => {}
            _ => return Err(CliError::new(format!("{section} must be a mapping"))),
        }
    }
    Ok(())
}

fn check_map(
    value: &Value,
    at: &str,
    keys: &'static [(&'static str, Shape)],
    extensions: bool,
) -> Result<(), CliError> {
    let Value::Object(map) = value else {
        return Err(must_be(at, "mapping"));
    };
    // The most specific mistake is told: what is below comes first.
    for (key, value) in map {
        if let Some((_, shape)) = keys.iter().find(|(name, _)| name == key) {
            check_value(value, &format!("{at}.{key}"), *shape)?;
        }
    }
    let is_unknown = |key: &&String| {
        keys.iter().all(|(name, _)| name != key) && !(extensions && key.starts_with("x-"))
    };
    match map.keys().find(is_unknown) {
        Some(key) => Err(unknown(at, key, keys.iter().map(|(name, _)| *name))),
        None => Ok(()),
    }
}

fn check_value(value: &Value, at: &str, shape: Shape) -> Result<(), CliError> {
    let fits = match shape {
        Any => true,
        _ if value.is_null() => true,
        Text => value.is_string(),
        Flag => value.is_boolean(),
        Integer => value.is_i64() || value.is_u64(),
        Number => value.is_number() || value.is_string(),
        List => value.is_array(),
        Pairs => value.is_array() || value.is_object(),
        TextOrList => value.is_string() || value.is_array(),
        Map(keys) => return check_map(value, at, keys, false),
        Entries(keys) => {
            let Value::Array(entries) = value else {
                return Err(must_be(at, "array"));
            };
            for (number, entry) in entries.iter().enumerate() {
                if entry.is_object() {
                    check_map(entry, &format!("{at}.{number}"), keys, false)?;
                }
            }
            true
        }
    };
    if fits {
        Ok(())
    } else {
        Err(must_be(at, name_of(shape)))
    }
}

fn name_of(shape: Shape) -> &'static str {
    match shape {
        Text => "string",
        Flag => "boolean",
        Integer => "integer",
        Number => "number",
        List | Entries(_) => "array",
        Pairs => "mapping or list",
        TextOrList => "string or list",
        Map(_) | Any => "mapping",
    }
}

fn must_be(at: &str, what: &str) -> CliError {
    CliError::new(format!("{at} must be a {what}"))
}

fn unknown<'a>(at: &str, key: &str, known: impl IntoIterator<Item = &'a str>) -> CliError {
    let hint = nearest(key, known)
        .map(|near| format!("\nDid you mean \"{near}\"?"))
        .unwrap_or_default();
    CliError::new(format!(
        "{at} Additional property {key} is not allowed{hint}"
    ))
}
