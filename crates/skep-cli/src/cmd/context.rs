//! Contexts: named addresses of daemons, as Docker keeps them below its configuration directory.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::CliError;

/// The address that a context names.
pub(crate) fn host_of(config_dir: &Path, name: &str) -> Result<String, CliError> {
    let id: String = Sha256::digest(name.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let path = config_dir.join("contexts/meta").join(id).join("meta.json");
    let missing = || {
        CliError::new(format!(
            "context \"{name}\": context not found: open {}: no such file or directory",
            path.display()
        ))
    };
    let text = std::fs::read(&path).map_err(|_| missing())?;
    let meta: Value = serde_json::from_slice(&text)
        .map_err(|error| CliError::new(format!("context \"{name}\": {error}")))?;
    meta["Endpoints"]["docker"]["Host"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(missing)
}
