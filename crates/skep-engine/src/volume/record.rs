//! A volume's record on disk.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use skep_objects::api::container::StringMap;
use skep_objects::reference::is_hex_id;

use crate::container::write_atomically;
use crate::error::{EngineError, Result};
use crate::timestamp;

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

    /// A record of what lies in a volume's directory, in place of one that cannot be read, which is
    /// kept as `volume.json.damaged`. Only the name, and what it says, can be told.
    pub(super) fn rebuilt(dir: &Path) -> Option<Self> {
        let name = dir.file_name()?.to_str()?.to_owned();
        let damaged = dir.join("volume.json");
        let made = std::fs::metadata(dir).and_then(|meta| meta.modified());
        let anonymous = is_hex_id(&name).then(|| (super::ANONYMOUS.to_owned(), String::new()));
        let record = Self {
            name,
            created: timestamp::text_in_seconds(made.ok()?),
            labels: anonymous.map(|label| BTreeMap::from([label])),
            ..Self::default()
        };
        std::fs::create_dir_all(dir.join("_data")).ok()?;
        match std::fs::rename(&damaged, dir.join("volume.json.damaged")) {
            // It is not there at all.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed.ok()?,
        }
        record.save(dir).ok()?;
        Some(record)
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
