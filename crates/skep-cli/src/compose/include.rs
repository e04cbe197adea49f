//! `include`: other projects, whose services become this one's.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::dotenv::Variables;
use super::load::{Loader, SECTIONS, parent};
use super::source::read;
use crate::error::CliError;

/// Keys of an entry.
const KEYS: [&str; 3] = ["path", "project_directory", "env_file"];

/// Loads what an `include` names, each below its own directory and with its own `.env`.
pub(super) fn include(
    loader: Loader,
    imports: &Value,
    dir: &Path,
    variables: &Variables,
    trail: &mut Vec<PathBuf>,
    into: &mut Value,
) -> Result<(), CliError> {
    let Value::Array(imports) = imports else {
        return Err(CliError::new("include must be a array"));
    };
    for entry in imports {
        let entry = match entry {
            Value::String(path) => json!({"path": [path]}),
            other => other.clone(),
        };
        if let Some(key) = entry
            .as_object()
            .and_then(|entry| entry.keys().find(|key| !KEYS.contains(&key.as_str())))
        {
            return Err(CliError::new(format!(
                "include Additional property {key} is not allowed"
            )));
        }
        let paths: Vec<PathBuf> = texts(&entry["path"]).map(|path| dir.join(path)).collect();
        let Some(first) = paths.first() else {
            return Err(CliError::new("include: a path is needed"));
        };
        if let Some(path) = paths.iter().find(|path| trail.contains(path)) {
            return Err(CliError::new(format!(
                "include cycle detected: {} includes itself",
                path.display()
            )));
        }
        let own_dir = match entry["project_directory"].as_str() {
            Some(text) => dir.join(text),
            None => parent(first),
        };
        let env_files: Vec<PathBuf> = texts(&entry["env_file"])
            .map(|file| dir.join(file))
            .collect();
        let mut own = variables.with_file(&own_dir.join(".env"), false)?;
        for file in &env_files {
            own = own.with_file(file, true)?;
        }
        let sources: Result<Vec<_>, CliError> = paths
            .iter()
            .map(|path| read(&path.to_string_lossy()))
            .collect();
        let before = trail.len();
        trail.extend(paths.iter().cloned());
        let loaded = loader.merged(sources?, &own_dir, &own, trail)?;
        trail.truncate(before);
        own.unset()
            .iter()
            .for_each(|name| variables.note_unset(name));
        if into.is_null() {
            *into = json!({});
        }
        import(into, loaded)?;
    }
    Ok(())
}

/// Puts another project's objects among these; the same name twice is a conflict, unless both say the
/// same.
pub(super) fn import(project: &mut Value, other: Value) -> Result<(), CliError> {
    let Value::Object(mut other) = other else {
        return Ok(());
    };
    if !project.is_object() {
        *project = json!({});
    }
    for section in SECTIONS {
        let Some(Value::Object(entries)) = other.shift_remove(section) else {
            continue;
        };
        for (name, entry) in entries {
            let known = &mut project[section][&name];
            if !known.is_null() && *known != entry {
                return Err(CliError::new(format!(
                    "{section}.{name} conflicts with imported resource"
                )));
            }
            *known = entry;
        }
    }
    Ok(())
}

fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(items) => Box::new(items.iter().filter_map(Value::as_str)),
        _ => Box::new(std::iter::empty()),
    }
}
