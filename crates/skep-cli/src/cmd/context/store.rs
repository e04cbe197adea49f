//! Contexts on disk: `contexts/meta/DIGEST/meta.json`, and `contexts/tls/DIGEST/docker/*.pem`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::TlsFiles;
use crate::context::Context;
use crate::error::CliError;

/// The context that flags and environment make.
pub(crate) const DEFAULT: &str = "default";

/// What the default context is described as.
const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";

/// Files of a context's TLS.
pub(super) const TLS_FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// One context.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(super) name: String,
    /// `meta.json`.
    pub(super) meta: Value,
    /// Where `meta.json` is; nothing for the default one.
    pub(super) meta_dir: Option<PathBuf>,
    pub(super) tls_dir: Option<PathBuf>,
}

fn dir_of(config_dir: &Path, kind: &str, name: &str) -> PathBuf {
    let digest = Sha256::digest(name.as_bytes());
    let id: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    config_dir.join("contexts").join(kind).join(id)
}

/// Refuses what is no name.
pub(super) fn check_name(name: &str) -> Result<(), CliError> {
    if name.is_empty() {
        return Err(CliError::new("context name cannot be empty"));
    }
    if name == DEFAULT {
        return Err(CliError::new("\"default\" is a reserved context name"));
    }
    let mut letters = name.chars();
    let is_name = letters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && name.len() > 1
        && letters.all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c));
    match is_name {
        true => Ok(()),
        false => Err(CliError::new(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        ))),
    }
}

impl Stored {
    /// One that does not exist yet.
    pub(super) fn new(config_dir: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            meta: json!({"Name": name, "Metadata": {}, "Endpoints": {}}),
            meta_dir: Some(dir_of(config_dir, "meta", name)),
            tls_dir: Some(dir_of(config_dir, "tls", name)),
        }
    }

    /// Reads one.
    pub(crate) fn load(config_dir: &Path, name: &str) -> Result<Self, CliError> {
        let mut stored = Self::new(config_dir, name);
        let path = dir_of(config_dir, "meta", name).join("meta.json");
        let text = std::fs::read(&path).map_err(|error| {
            CliError::new(format!(
                "context {name:?}: context not found: open {}: {}",
                path.display(),
                crate::error::io_text(&error)
            ))
        })?;
        stored.meta = serde_json::from_slice(&text).map_err(|error| {
            CliError::new(format!("context {name:?}: {}: {error}", path.display()))
        })?;
        Ok(stored)
    }

    /// One by its name, the default one included.
    pub(super) fn find(context: &Context, name: &str) -> Result<Self, CliError> {
        if name != DEFAULT {
            return Self::load(&context.config_dir, name);
        }
        let host = match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => host,
            _ => crate::context::default_host(),
        };
        Ok(Self {
            name: DEFAULT.to_owned(),
            meta: json!({
                "Name": DEFAULT, "Metadata": {"Description": DEFAULT_DESCRIPTION},
                "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}},
            }),
            meta_dir: None,
            tls_dir: None,
        })
    }

    /// All there are, the default one too.
    pub(super) fn all(context: &Context) -> Result<Vec<Self>, CliError> {
        let mut all = vec![Self::find(context, DEFAULT)?];
        let Ok(entries) = std::fs::read_dir(context.config_dir.join("contexts/meta")) else {
            return Ok(all);
        };
        for entry in entries {
            let Ok(text) = std::fs::read(entry?.path().join("meta.json")) else {
                continue;
            };
            let meta: Value = serde_json::from_slice(&text).unwrap_or_default();
            if let Some(name) = meta["Name"].as_str() {
                all.push(Self::load(&context.config_dir, name)?);
            }
        }
        all.sort_by(|a, b| crate::output::natural_cmp(&a.name, &b.name));
        Ok(all)
    }

    pub(super) fn exists(&self) -> bool {
        self.meta_dir
            .as_ref()
            .is_some_and(|dir| dir.join("meta.json").exists())
    }

    /// The daemon's address.
    pub(crate) fn host(&self) -> String {
        let host = self
            .meta
            .pointer("/Endpoints/docker/Host")
            .and_then(Value::as_str);
        host.unwrap_or_default().to_owned()
    }

    pub(super) fn description(&self) -> &str {
        let text = self
            .meta
            .pointer("/Metadata/Description")
            .and_then(Value::as_str);
        text.unwrap_or_default()
    }

    /// TLS, where the context has files for it or says that the server is not to be checked.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
        let dir = self.tls_dir.as_ref()?.join("docker");
        let unchecked =
            self.meta.pointer("/Endpoints/docker/SkipTLSVerify") == Some(&Value::Bool(true));
        let file = |name: &str| dir.join(name);
        let has_files = TLS_FILES.iter().any(|name| file(name).exists());
        (has_files || unchecked).then(|| TlsFiles {
            ca: (!unchecked).then(|| file("ca.pem")),
            cert: file("cert.pem"),
            key: file("key.pem"),
        })
    }

    /// Names of the TLS files that are there.
    pub(super) fn tls_names(&self) -> Vec<&'static str> {
        let Some(dir) = &self.tls_dir else {
            return Vec::new();
        };
        let there = TLS_FILES
            .into_iter()
            .filter(|name| dir.join("docker").join(name).exists());
        there.collect()
    }

    /// Writes `meta.json`, and files of TLS where they are given.
    pub(super) fn save(&self, tls: &[(&str, Vec<u8>)]) -> Result<(), CliError> {
        let (Some(meta_dir), Some(tls_dir)) = (&self.meta_dir, &self.tls_dir) else {
            return Err(CliError::new("the default context cannot be written"));
        };
        let failed =
            |error: std::io::Error| CliError::new(format!("context {:?}: {error}", self.name));
        std::fs::create_dir_all(meta_dir).map_err(failed)?;
        for (name, bytes) in tls {
            let dir = tls_dir.join("docker");
            std::fs::create_dir_all(&dir).map_err(failed)?;
            write_private(&dir.join(name), bytes).map_err(failed)?;
        }
        let temporary = meta_dir.join(format!("meta.json{}", std::process::id()));
        std::fs::write(&temporary, self.meta.to_string()).map_err(failed)?;
        std::fs::rename(&temporary, meta_dir.join("meta.json")).map_err(failed)
    }

    /// Removes what another endpoint was reached with.
    pub(super) fn forget_tls(&self) -> Result<(), CliError> {
        let Some(dir) = self.tls_dir.as_ref().map(|dir| dir.join("docker")) else {
            return Ok(());
        };
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CliError::new(format!("remove {}: {error}", dir.display())))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn remove(&self) -> Result<(), CliError> {
        for dir in [&self.meta_dir, &self.tls_dir].into_iter().flatten() {
            match std::fs::remove_dir_all(dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(CliError::new(format!("remove {}: {error}", dir.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}
