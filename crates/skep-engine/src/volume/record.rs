//! A volume's record on disk.

use std::path::Path;

use serde::{Deserialize, Serialize};
use skep_objects::api::container::StringMap;

use crate::container::write_atomically;
use crate::error::{EngineError, Result};

/// What `volume.json` holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    #[serde(default)]
    pub version: u32,
    pub name: String,
    pub created: String,
    #[serde(default)]
    pub labels: Option<StringMap>,
    #[serde(default)]
    pub options: Option<StringMap>,
}

impl VolumeRecord {
    pub(super) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("volume.json");
        let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| EngineError::Record { path, source })
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("volume.json");
        let record = Self {
            version: 1,
            ..self.clone()
        };
        let bytes = serde_json::to_vec(&record).map_err(|source| EngineError::Record {
            path: path.clone(),
            source,
        })?;
        write_atomically(&path, &bytes, true)
    }
}
