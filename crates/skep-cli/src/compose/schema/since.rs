//! With which version of Docker's format a key came.
//!
//! Docker has a schema for each version, from 3.0 on: a key of a later one is unknown to it.

use serde_json::Value;

use super::super::dialect;
use crate::error::CliError;

/// Where keys stand, below an entry of a section; the keys, and the minor version they came with. A star
/// stands for any names.
const SINCE: &[(&str, &str, &[&str], u32)] = &[
    ("services", "", &["secrets"], 1),
    ("services", "", &["configs", "credential_spec"], 3),
    ("services", "", &["isolation"], 5),
    ("services", "", &["init"], 7),
    ("services", "", &["cgroupns_mode"], 9),
    ("services", "", &["oom_score_adj"], 13),
    ("services", "build", &["cache_from"], 2),
    ("services", "build", &["labels"], 3),
    ("services", "build", &["network", "target"], 4),
    ("services", "build", &["shm_size"], 5),
    ("services", "build", &["extra_hosts"], 9),
    ("services", "credential_spec", &["config"], 8),
    ("services", "deploy", &["endpoint_mode"], 2),
    ("services", "deploy", &["rollback_config"], 7),
    ("services", "deploy.placement", &["preferences"], 3),
    (
        "services",
        "deploy.placement",
        &["max_replicas_per_node"],
        8,
    ),
    ("services", "deploy.resources.limits", &["pids"], 9),
    (
        "services",
        "deploy.resources.reservations",
        &["generic_resources"],
        5,
    ),
    ("services", "deploy.update_config", &["order"], 4),
    ("services", "healthcheck", &["start_period"], 4),
    ("services", "healthcheck", &["start_interval"], 12),
    ("services", "networks.*", &["driver_opts"], 13),
    ("services", "volumes.*", &["tmpfs"], 6),
    ("networks", "", &["attachable"], 2),
    ("networks", "", &["name"], 5),
    ("volumes", "", &["name"], 4),
    ("secrets", "", &["name"], 5),
    (
        "secrets",
        "",
        &["driver", "driver_opts", "template_driver"],
        8,
    ),
    ("configs", "", &["name"], 5),
    ("configs", "", &["template_driver"], 8),
];
/// Sections of a file.
const SECTIONS: &[(&str, u32)] = &[("secrets", 1), ("configs", 3)];
/// Keys that `build` always had. From 3.12 on it may have any.
const BUILD: [&str; 3] = ["args", "context", "dockerfile"];
const ANY_IN_BUILD: u32 = 12;
/// From which version ports and volumes of a service may be maps.
const LONG_FORMS: u32 = 2;

/// By what an entry of a section is checked.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// By the Compose Specification's ways.
    pub(super) everywhere: bool,
    /// The minor version of the file.
    pub(super) minor: u32,
    pub(super) section: &'a str,
    /// How long the entry's own place is, such as `services.web`.
    pub(super) entry: usize,
}

impl Rules<'_> {
    /// The version that a key needs, if the file's is older.
    pub(super) fn too_new(self, at: &str, key: &str) -> Option<u32> {
        let since = of_key(self.section, self.below(at), key);
        (since > self.minor).then_some(since)
    }

    /// Whether an item of a list may be a map.
    pub(super) fn may_be_long(self, at: &str) -> Result<(), CliError> {
        let below = self.below(at);
        let short = if below.starts_with("ports.") {
            "string or number"
        } else if below.starts_with("volumes.") {
            "string"
        } else {
            return Ok(());
        };
        if self.section != "services" || self.minor >= LONG_FORMS {
            return Ok(());
        }
        Err(CliError::new(format!("{at} must be a {short}")))
    }

    /// A place without the entry that it is in, whose name may have dots.
    pub(super) fn below(self, at: &str) -> &str {
        let below = at.get(self.entry..).unwrap_or_default();
        below.strip_prefix('.').unwrap_or(below)
    }
}

/// What is said of a key of a later version than the file's.
pub(super) fn too_new(at: &str, key: &str, since: u32) -> CliError {
    CliError::new(format!(
        "{at} Additional property {key} is not allowed\n(\"{key}\" needs version 3.{since})"
    ))
}

/// The minor version of a file of Docker's format.
pub(in crate::compose) fn minor(file: &Value) -> Result<u32, CliError> {
    let version = dialect::version(file)?;
    let minor = version.strip_prefix("3.").map(str::parse);
    Ok(minor.and_then(Result::ok).unwrap_or_default())
}

/// With which version a section came.
pub(super) fn of_section(name: &str) -> u32 {
    match SECTIONS.iter().find(|(section, _)| *section == name) {
        Some((_, since)) => *since,
        None if name.starts_with("x-") => 4,
        None => 0,
    }
}

/// With which version a key came. `below` is the place under an entry of the section, such as
/// `deploy.placement`.
fn of_key(section: &str, below: &str, key: &str) -> u32 {
    let is_here = |place: &str| match place.strip_suffix('*') {
        Some(start) => below.starts_with(start),
        None => below == place,
    };
    let found = SINCE
        .iter()
        .find(|(of, place, keys, _)| *of == section && is_here(place) && keys.contains(&key));
    match found {
        Some((.., since)) => *since,
        None if below.is_empty() && key.starts_with("x-") => 7,
        None if section == "services" && below == "build" && !BUILD.contains(&key) => ANY_IN_BUILD,
        None => 0,
    }
}
