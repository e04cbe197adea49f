//! Objects of a file that are there without it: `external`.

use serde_json::Value;

use super::dialect::Dialect;
use super::schema;
use crate::error::CliError;
use crate::output::warning;

/// Sections whose entries may be external, what one is called, and with which minor version of Docker's
/// format it got a name of its own.
const KINDS: [(&str, &str, u32); 4] = [
    ("volumes", "volume", 4),
    ("networks", "network", 5),
    ("secrets", "secret", 5),
    ("configs", "config", 5),
];

/// The name of an object that is not the stack's own: `external: true`, or with a name of its own.
pub(super) fn external_name(entry: &Value, key: &str) -> Option<String> {
    match &entry["external"] {
        Value::Bool(true) => Some(entry["name"].as_str().unwrap_or(key).to_owned()),
        Value::Object(external) => Some(
            external
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or(key)
                .to_owned(),
        ),
        _ => None,
    }
}

/// Checks what a file says of them; what to tell the user otherwise.
pub(super) fn check(file: &Value, dialect: Dialect) -> Result<Vec<String>, CliError> {
    let mut warnings = Vec::new();
    let minor = schema::minor(file)?;
    for (section, kind, named_since) in KINDS {
        let entries = file[section].as_object().into_iter().flatten();
        for (name, entry) in entries {
            alone(kind, name, entry, dialect)?;
            if dialect != Dialect::Compose && entry["external"]["name"].is_string() {
                let told = old_name(kind, name, entry)?;
                warnings.extend((minor >= named_since).then_some(told));
            }
        }
    }
    Ok(warnings)
}

/// `external: {name: x}` is the old way to name one.
fn old_name(kind: &str, name: &str, entry: &Value) -> Result<String, CliError> {
    if entry["name"].as_str().is_some_and(|name| !name.is_empty()) {
        return Err(CliError::new(format!(
            "{kind} {name}: {kind}.external.name and {kind}.name conflict; only use {kind}.name"
        )));
    }
    Ok(warning(&format!(
        "{kind} {name}: {kind}.external.name is deprecated in favor of {kind}.name"
    )))
}

/// What is there already cannot be said to be otherwise. Docker looks at volumes only.
fn alone(kind: &str, name: &str, entry: &Value, dialect: Dialect) -> Result<(), CliError> {
    let is_compose = dialect == Dialect::Compose;
    if external_name(entry, name).is_none() || !is_compose && kind != "volume" {
        return Ok(());
    }
    let is_allowed = |key: &str| match is_compose {
        true => matches!(key, "external" | "name") || key.starts_with("x-"),
        false => !matches!(key, "driver" | "driver_opts" | "labels"),
    };
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let mut entries = entry.as_object().into_iter().flatten();
    match entries.find(|(key, value)| !is_allowed(key) && !says_nothing(value)) {
        Some((key, _)) => Err(CliError::new(format!(
            "conflicting parameters \"external\" and \"{key}\" specified for {kind} \"{name}\""
        ))),
        None => Ok(()),
    }
}
