//! Whose rules a stack file is read by.
//!
//! A file that names a version of Docker's format (`version: "3…"`) is read by the rules of `docker
//! stack deploy`. One that names none is read by the Compose Specification. `--dialect` overrides.
//! See `docs/decisions/0031-dialects-of-stack-files.md`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::unused;
use crate::error::CliError;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Docker's version 3. `exact` also ignores what Docker ignores and skep could do.
    Docker { exact: bool },
    /// The Compose Specification.
    Compose,
}

/// Versions of the format that are known.
const NEWEST_MINOR: u32 = 13;

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
const LIMITS: &str = "Set resource limits using deploy.resources";
/// Keys that Docker refuses, and what to do instead.
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
    ("cpu_quota", LIMITS),
    ("cpu_shares", LIMITS),
    ("cpuset", LIMITS),
    ("mem_limit", LIMITS),
    ("memswap_limit", LIMITS),
];

impl Dialect {
    /// What `--dialect` says; none where it is left to the file.
    pub(crate) fn from_flag(text: &str) -> Result<Option<Self>, CliError> {
        match text {
            "" | "auto" => Ok(None),
            "docker" => Ok(Some(Self::Docker { exact: true })),
            "compose" => Ok(Some(Self::Compose)),
            other => Err(CliError::new(format!(
                "Invalid option {other} for flag --dialect (must be auto, docker or compose)"
            ))),
        }
    }

    /// What a file's version says.
    pub(super) fn of(file: &Value) -> Self {
        match file.get("version") {
            None | Some(Value::Null) => Self::Compose,
            Some(_) => Self::Docker { exact: false },
        }
    }

    /// Refuses what Docker refuses; says why unless the file is only to be shown.
    pub(super) fn forbidden(self, file: &Value, is_shown: bool) -> Result<(), CliError> {
        if self == Self::Compose {
            return Ok(());
        }
        let services = file["services"]
            .as_object()
            .into_iter()
            .flat_map(Map::values);
        let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
        for service in services {
            let is_there = |(key, _): &&(&str, &str)| service.get(*key).is_some();
            found.extend(FORBIDDEN.iter().filter(is_there));
        }
        if found.is_empty() {
            return Ok(());
        }
        if is_shown {
            return Err(CliError::new("Configuration contains forbidden properties"));
        }
        let lines: Vec<_> = found
            .iter()
            .map(|(key, advice)| format!("{key}: {advice}"))
            .collect();
        Err(CliError::new(format!(
            "Compose file contains unsupported options:\n\n{}\n",
            lines.join("\n\n")
        )))
    }

    /// Takes away what is not used, and says so, a text each.
    pub(super) fn ignore(self, file: &mut Value) -> Vec<String> {
        let found = unused::named(self, file);
        let mut lines = Vec::new();
        if !found.is_empty() {
            lines.push(format!(
                "Ignoring unsupported options: {}\n",
                found.join(", ")
            ));
        }
        let Some(Value::Object(services)) = file.get_mut("services") else {
            return lines;
        };
        let deprecated: Vec<_> = DEPRECATED
            .into_iter()
            .filter(|(key, _)| services.values().any(|s| is_set(s, key)))
            .map(|(key, why)| format!("{key}: {why}"))
            .collect();
        if !deprecated.is_empty() {
            lines.push(format!(
                "Ignoring deprecated options:\n\n{}\n",
                deprecated.join("\n\n")
            ));
        }
        unused::take(self, file);
        lines
    }
}

fn is_set(service: &Value, key: &str) -> bool {
    service.get(key).is_some()
}

/// The version, checked; "3", none and an empty one mean the newest.
pub(super) fn version(file: &Value) -> Result<String, CliError> {
    let given = match &file["version"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
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
