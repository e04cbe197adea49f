//! What the image store knows: records of images, and the names that lead to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::ImageError;

/// One image on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Digest of the config blob: the image's id.
    pub id: String,
    /// Digest of the manifest blob.
    pub manifest: String,
    /// Media type of the manifest.
    pub manifest_type: String,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// The image that this one was committed on, if that was done here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// RFC 3339; when a tag was last put on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_tagged: Option<String>,
}

/// One layer of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the uncompressed layer.
    pub diff_id: String,
    /// Digest of the layer as it travels.
    pub blob: String,
    /// Media type of the blob.
    pub media_type: String,
    /// Bytes of the blob.
    pub blob_bytes: u64,
    /// Bytes of file content in the layer.
    pub size_bytes: u64,
}

/// Tags and digests that lead to images, in full form (`docker.io/library/nginx:latest`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Names {
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub digests: BTreeMap<String, String>,
}

impl Names {
    /// Every name of an image: tags first.
    pub fn of(&self, id: &str) -> (Vec<String>, Vec<String>) {
        let names = |map: &BTreeMap<String, String>| {
            map.iter()
                .filter(|(_, target)| *target == id)
                .map(|(name, _)| name.clone())
                .collect()
        };
        (names(&self.tags), names(&self.digests))
    }
}

/// Records and names, in memory and on disk. Changes are on disk when a call returns.
#[derive(Debug)]
pub(super) struct Index {
    root: PathBuf,
    pub records: BTreeMap<String, Record>,
    pub names: Names,
    /// Whether every record could be read: if not, what seems unused may be in use.
    pub is_whole: bool,
}

impl Index {
    /// A record that cannot be read is left where it is and told of: its image is unknown until it
    /// is pulled or loaded again.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let dir = root.join("records");
        fs::create_dir_all(&dir).map_err(ImageError::io("create", &dir))?;
        remove_unfinished(root);
        remove_unfinished(&dir);
        let mut records = BTreeMap::new();
        let mut is_whole = true;
        for entry in fs::read_dir(&dir)
            .map_err(ImageError::io("list", &dir))?
            .flatten()
        {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read::<Record>(&path) {
                Ok(record) => drop(record.map(|record| records.insert(record.id.clone(), record))),
                Err(error) => {
                    is_whole = false;
                    tracing::error!(%error, "record of an image cannot be read; pull or load it again");
                }
            }
        }
        let names = root.join("names.json");
        let mut names: Names = match read(&names) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "names of images cannot be read; they have none now");
                let _ = fs::rename(&names, root.join("names.json.damaged"));
                Names::default()
            }
        };
        names.tags.retain(|_, id| records.contains_key(id));
        names.digests.retain(|_, id| records.contains_key(id));
        Ok(Self {
            root: root.to_owned(),
            records,
            names,
            is_whole,
        })
    }

    pub fn put(&mut self, record: Record) -> Result<(), ImageError> {
        write(&self.record_path(&record.id), &record)?;
        self.records.insert(record.id.clone(), record);
        Ok(())
    }

    pub fn remove(&mut self, id: &str) -> Result<(), ImageError> {
        let path = self.record_path(id);
        fs::remove_file(&path).map_err(ImageError::io("remove", path))?;
        self.records.remove(id);
        Ok(())
    }

    /// Changes the names and saves them; memory and disk stay equal when that fails.
    pub fn rename(&mut self, change: impl FnOnce(&mut Names)) -> Result<(), ImageError> {
        let mut names = self.names.clone();
        change(&mut names);
        write(&self.root.join("names.json"), &names)?;
        self.names = names;
        Ok(())
    }

    /// Diff ids and blobs that some record names.
    pub fn in_use(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut diffs = BTreeSet::new();
        let mut blobs = BTreeSet::new();
        for record in self.records.values() {
            blobs.insert(record.id.clone());
            blobs.insert(record.manifest.clone());
            for layer in &record.layers {
                diffs.insert(layer.diff_id.clone());
                blobs.insert(layer.blob.clone());
            }
        }
        (diffs, blobs)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.root
            .join("records")
            .join(format!("{}.json", id.trim_start_matches("sha256:")))
    }
}

/// Files that a crash left between writing and renaming.
fn remove_unfinished(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            ImageError::invalid("image record", format!("{}: {error}", path.display()))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::io("read", path)(error)),
    }
}

/// Replaces a file so that a crash leaves the old one or the new one.
fn write(path: &Path, content: &impl Serialize) -> Result<(), ImageError> {
    let text =
        serde_json::to_vec(content).map_err(|error| ImageError::invalid("image record", error))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(dir).and_then(|mut file| {
        file.write_all(&text)?;
        file.as_file().sync_data()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    });
    written.map_err(ImageError::io("write", path))
}
