//! `config.json`: what the user has chosen once for all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::CliError;

/// The file, as it was read, and where it belongs.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    /// What it says; an empty object where there is no file.
    pub value: Value,
}

impl ConfigFile {
    /// Reads `config.json` of a directory. A file that says nothing sensible is warned of and left
    /// aside, as Docker does.
    pub fn load(dir: &Path) -> Self {
        let path = dir.join("config.json");
        let empty = Value::Object(Map::new());
        let value = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                eprintln!(
                    "WARNING: Error parsing config file ({}): {error}",
                    path.display()
                );
                empty
            }),
            Err(_) => empty,
        };
        Self { path, value }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A text, such as `psFormat`, where there is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.value.get(name)?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// Sets or removes a value; the file is written by [`Self::save`].
    pub fn set(&mut self, name: &str, value: Option<Value>) {
        if let Some(object) = self.value.as_object_mut() {
            match value {
                Some(value) => drop(object.insert(name.to_owned(), value)),
                None => drop(object.shift_remove(name)),
            }
        }
    }

    /// Writes the file anew, so that a reader sees the old one or the new one.
    pub fn save(&mut self) -> Result<(), CliError> {
        if self.value.get("auths").is_none() {
            self.set("auths", Some(json!({})));
        }
        let dir = self.path.parent().unwrap_or_else(|| Path::new("."));
        let bad =
            |error: std::io::Error| CliError::new(format!("save {}: {error}", self.path.display()));
        std::fs::create_dir_all(dir).map_err(bad)?;
        // What the file links to is what the user wants written.
        let target = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let temporary = target.with_extension(format!("json{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(indented(&sorted(&self.value)).as_bytes())?;
            std::fs::rename(&temporary, &target)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            bad(error)
        })
    }
}

/// An object with sorted keys, within and without.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut all: Vec<_> = fields.iter().collect();
            all.sort_by_key(|(name, _)| *name);
            Value::Object(
                all.into_iter()
                    .map(|(name, value)| (name.clone(), sorted(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// With a tab a level, as Docker writes the file.
fn indented(value: &Value) -> String {
    use serde::Serialize as _;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a value to memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again_and_only_the_user_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let mut config = ConfigFile::load(&dir.path().join("new"));
        config.set("currentContext", Some("far".into()));
        config.save().unwrap();
        let again = ConfigFile::load(&dir.path().join("new"));
        assert_eq!(again.text("currentContext"), Some("far"));
        let mode = std::fs::metadata(again.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
