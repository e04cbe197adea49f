//! `extends`: a service over another one, of this file or of another.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::dotenv::Variables;
use super::load::{Loader, parent};
use super::merge::merge_service;
use super::normal;
use super::source::{Source, read};
use super::tags::{self, Tag};
use crate::error::CliError;

/// Works the base of every service in that has one. Services are in their long forms.
pub(super) fn resolve(
    loader: Loader,
    file: &mut Value,
    dir: &Path,
    variables: &Variables,
    tags: &[Tag],
) -> Result<(), CliError> {
    let Some(services) = file.get("services").and_then(Value::as_object).cloned() else {
        return Ok(());
    };
    let here = Place {
        loader,
        services: &services,
        file: None,
        dir,
        variables,
        tags,
    };
    for name in services.keys() {
        file["services"][name] = here.extended(name, name, &mut Vec::new())?;
    }
    Ok(())
}

/// Where a service stands.
struct Place<'a> {
    loader: Loader,
    services: &'a Map<String, Value>,
    file: Option<&'a Path>,
    dir: &'a Path,
    variables: &'a Variables,
    tags: &'a [Tag],
}

/// A service that is being extended: its file, where it is another one, and its name.
type Step = (Option<PathBuf>, String);

impl Place<'_> {
    /// A service with its base worked in; `extender` is the one that asks for it.
    fn extended(
        &self,
        name: &str,
        extender: &str,
        trail: &mut Vec<Step>,
    ) -> Result<Value, CliError> {
        let step = (self.file.map(Path::to_owned), name.to_owned());
        if trail.contains(&step) {
            return Err(CliError::new(format!(
                "services.{name}: circular reference in extends"
            )));
        }
        let mut service = self.services.get(name).cloned().ok_or_else(|| {
            let place = self
                .file
                .map_or(String::new(), |f| format!(" in {}", f.display()));
            CliError::new(format!(
                "cannot extend service {extender:?}{place}: service {name:?} not found"
            ))
        })?;
        let base = service
            .as_object_mut()
            .and_then(|s| s.shift_remove("extends"));
        let (file, base) = match base {
            None | Some(Value::Null) => return Ok(service),
            Some(Value::String(base)) => (None, base),
            Some(base) => (
                base["file"].as_str().map(|file| self.dir.join(file)),
                base["service"].as_str().unwrap_or(name).to_owned(),
            ),
        };
        trail.push(step);
        let base = match file {
            None => self.extended(&base, name, trail)?,
            Some(path) => {
                let dir = parent(&path);
                let Source { file, tags } = read(&path.to_string_lossy())?;
                let mut loaded = self.loader.checked(file, self.variables)?;
                normal::lengthen(&mut loaded, &dir, self.loader.dialect)?;
                let services = loaded["services"].as_object().cloned().unwrap_or_default();
                let there = Place {
                    services: &services,
                    file: Some(&path),
                    dir: &dir,
                    tags: &tags,
                    ..*self
                };
                there.extended(&base, name, trail)?
            }
        };
        trail.pop();
        let mut base = json!({"services": {name: base}});
        tags::clear(&mut base, self.tags);
        let merged = merge_service(base["services"][name].take(), service);
        let mut merged = json!({"services": {name: merged}});
        tags::reset(&mut merged, self.tags);
        Ok(merged["services"][name].take())
    }
}
