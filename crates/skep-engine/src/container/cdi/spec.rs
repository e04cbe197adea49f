//! Specification files: `*.json` and `*.yaml` in the directories given, later directories over earlier.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::edits::Edits;

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cdi_version: String,
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// All devices that the host has specifications of.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// By qualified name: which directory, what all of its kind need, what it needs itself.
    devices: BTreeMap<String, Entry>,
    errors: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    kind: String,
    priority: usize,
    common: Edits,
    own: Edits,
}

impl Registry {
    /// Reads the directories; one that is not there holds nothing.
    pub(crate) fn load(dirs: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        for (priority, dir) in dirs.iter().enumerate() {
            let Ok(entries) = std::fs::read_dir(dir) else {
                continue;
            };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for file in files {
                match read(&file) {
                    Ok(Some(spec)) => registry.add(spec, priority),
                    Ok(None) => {}
                    Err(error) => registry.errors.push(format!("{}: {error}", file.display())),
                }
            }
        }
        registry
    }

    fn add(&mut self, spec: Spec, priority: usize) {
        for device in spec.devices {
            let name = format!("{}={}", spec.kind, device.name);
            if let Some(other) = self.devices.get(&name)
                && other.priority == priority
            {
                // Which of the two is meant, nobody can say.
                self.errors
                    .push(format!("device {name} is specified twice"));
                self.devices.remove(&name);
                continue;
            }
            let entry = Entry {
                kind: spec.kind.clone(),
                priority,
                common: spec.container_edits.clone(),
                own: device.container_edits,
            };
            self.devices.insert(name, entry);
        }
    }

    /// A device's kind, what all of its kind need and what it needs itself.
    pub(super) fn device(&self, name: &str) -> Option<(&str, &Edits, &Edits)> {
        let entry = self.devices.get(name)?;
        Some((&entry.kind, &entry.common, &entry.own))
    }

    /// Kinds in order.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.devices.values().map(|entry| entry.kind.as_str())
    }

    /// Names of a kind's devices; numbers in their order.
    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        let of_kind = self.devices.iter().filter(|(_, entry)| entry.kind == kind);
        let mut names: Vec<String> = of_kind
            .filter_map(|(name, _)| Some(name.split_once('=')?.1.to_owned()))
            .collect();
        names.sort_by_key(|name| (name.parse::<u32>().unwrap_or(u32::MAX), name.clone()));
        names
    }

    /// Qualified names of all devices, for `info`.
    pub(crate) fn all(&self) -> Vec<String> {
        self.devices.keys().cloned().collect()
    }

    /// Files that could not be used.
    pub(super) fn errors(&self) -> &[String] {
        &self.errors
    }
}

fn read(path: &Path) -> Result<Option<Spec>, String> {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if !matches!(extension, "json" | "yaml" | "yml") {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    // Every JSON text is YAML too, but numbers and errors are better read as what they are.
    let value: Value = if extension == "json" {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    } else {
        serde_norway::from_str(&text).map_err(|error| error.to_string())?
    };
    let spec: Spec = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if !spec.cdi_version.starts_with("0.") && !spec.cdi_version.starts_with("1.") {
        return Err(format!("unknown CDI version {:?}", spec.cdi_version));
    }
    if !spec.kind.contains('/') {
        return Err(format!("invalid kind {:?}", spec.kind));
    }
    Ok(Some(spec))
}
