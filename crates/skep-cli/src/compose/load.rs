//! From files to one checked stack file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::dialect::{self, Dialect};
use super::dotenv::Variables;
use super::source::{Source, read};
use super::{
    depends, extends, external, include, interpolate::interpolate, merge::merge, normal, schema,
    tags, unused,
};
use crate::error::CliError;

/// Sections of a file whose entries have names.
pub(super) const SECTIONS: [&str; 5] = ["services", "volumes", "networks", "secrets", "configs"];

/// What to load, and how.
#[derive(Debug, Default)]
pub(crate) struct LoadOptions {
    /// Files; `-` is standard input.
    pub files: Vec<String>,
    /// Whose rules; none leaves it to the files.
    pub dialect: Option<Dialect>,
    /// Leaves `$VARIABLES` as they are.
    pub no_interpolation: bool,
    /// Profiles that are active.
    pub profiles: Vec<String>,
    /// Files to read instead of `.env`.
    pub env_files: Vec<String>,
    /// Whether the file is only to be shown: then what is not used stays, and what lacks is not missed.
    pub is_shown: bool,
}

/// A stack file, merged, checked and in its long forms.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The file: sections as maps, services in their long forms.
    pub file: Value,
    /// Whose rules it was read by.
    pub dialect: Dialect,
    /// What paths in it are relative to.
    pub dir: PathBuf,
    /// What it may name: the caller's environment and the files of it.
    pub(super) variables: Variables,
    /// What to tell the user, a text each.
    pub warnings: Vec<String>,
}

/// Loads files.
pub(crate) fn load(options: &LoadOptions) -> Result<Loaded, CliError> {
    let dir = match options.files.first().map(String::as_str) {
        None => {
            return Err(CliError::new(
                "Specify a Compose file (with --compose-file)",
            ));
        }
        Some("-") => std::env::current_dir()?,
        Some(first) => parent(&std::path::absolute(first)?),
    };
    let mut sources = Vec::new();
    for name in &options.files {
        sources.push(read(name)?);
    }
    let dialect = options.dialect.unwrap_or_else(|| {
        let of = sources.iter().map(|source| Dialect::of(&source.file));
        of.reduce(|one, other| {
            if one == other {
                one
            } else {
                Dialect::Docker { exact: false }
            }
        })
        .unwrap_or(Dialect::Compose)
    });
    if let Dialect::Docker { .. } = dialect {
        one_version(&sources)?;
    }
    let mut variables = Variables::default();
    variables.is_plain = dialect != Dialect::Compose;
    if dialect == Dialect::Compose {
        for file in &options.env_files {
            variables = variables.with_file(&std::path::absolute(file)?, true)?;
        }
        if options.env_files.is_empty() {
            variables = variables.with_file(&dir.join(".env"), false)?;
        }
    }
    let loader = Loader {
        dialect,
        interpolates: !options.no_interpolation,
        is_shown: options.is_shown,
    };
    let mut file = loader.merged(sources, &dir, &variables, &mut Vec::new())?;
    let mut warnings: Vec<String> = variables
        .unset()
        .iter()
        .filter(|_| dialect == Dialect::Compose)
        .map(|name| format!("The {name:?} variable is not set. Defaulting to a blank string."))
        .collect();
    if let Some(Value::Object(services)) = file.get_mut("services") {
        if dialect == Dialect::Compose {
            depends::activate(services, &options.profiles)?;
            depends::check(services)?;
        }
        if !options.is_shown {
            have_images(services)?;
        }
        warnings.extend(unused::host_addresses(services));
    }
    warnings.extend(external::check(&file, dialect)?);
    if !options.is_shown || dialect == Dialect::Compose {
        normal::predefined(&mut file);
    }
    if !options.is_shown {
        warnings.extend(dialect.ignore(&mut file));
    }
    Ok(Loaded {
        file,
        dialect,
        dir,
        variables,
        warnings,
    })
}

/// Where a file lies.
pub(super) fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn one_version(sources: &[Source]) -> Result<(), CliError> {
    let mut versions = Vec::new();
    for source in sources {
        versions.push(dialect::version(&source.file)?);
    }
    versions.dedup();
    match &versions[..] {
        [one, other, ..] => Err(CliError::new(format!(
            "version mismatched between two composefiles : {one} and {other}"
        ))),
        _ => Ok(()),
    }
}

fn have_images(services: &Map<String, Value>) -> Result<(), CliError> {
    if let Some((name, _)) = services.iter().find(|(_, s)| !s["provider"].is_null()) {
        return Err(CliError::new(format!(
            "services.{name}.provider: a swarm has no external providers of services"
        )));
    }
    let without =
        |(_, service): &(&String, &Value)| service["image"].as_str().unwrap_or_default().is_empty();
    match services.iter().find(without) {
        Some((name, _)) => Err(CliError::new(format!(
            "invalid image reference for service {name}: no image specified"
        ))),
        None => Ok(()),
    }
}

/// How files are loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loader {
    pub(super) dialect: Dialect,
    interpolates: bool,
    is_shown: bool,
}

impl Loader {
    /// Files of one project, later ones over earlier ones. `trail` holds the files that include this.
    pub(super) fn merged(
        self,
        sources: Vec<Source>,
        dir: &Path,
        variables: &Variables,
        trail: &mut Vec<PathBuf>,
    ) -> Result<Value, CliError> {
        let mut merged = Value::Null;
        let mut included = Value::Null;
        for Source { file, tags } in sources {
            let mut file = self.checked(file, variables)?;
            if self.dialect == Dialect::Compose {
                let imports = file.as_object_mut().and_then(|f| f.shift_remove("include"));
                if let Some(imports) = imports {
                    include::include(self, &imports, dir, variables, trail, &mut included)?;
                }
            }
            normal::lengthen(&mut file, dir, self.dialect)?;
            if self.dialect == Dialect::Compose {
                extends::resolve(self, &mut file, dir, variables, &tags)?;
                tags::clear(&mut merged, &tags);
            }
            merged = if merged.is_null() {
                file
            } else {
                merge(merged, file)
            };
            if self.dialect == Dialect::Compose {
                tags::reset(&mut merged, &tags);
            }
        }
        if included.is_object() {
            include::import(&mut merged, included)?;
        }
        Ok(merged)
    }

    /// One file, with its variables replaced and its keys checked; in the forms it was written in.
    pub(super) fn checked(self, mut file: Value, variables: &Variables) -> Result<Value, CliError> {
        self.dialect.forbidden(&file, self.is_shown)?;
        if self.interpolates {
            for section in SECTIONS.into_iter().chain(["include"]) {
                if let Some(content) = file.get_mut(section) {
                    interpolate(content, section, variables)?;
                }
            }
        }
        normal::cast(&mut file);
        schema::check(&file, self.dialect)?;
        Ok(file)
    }
}
