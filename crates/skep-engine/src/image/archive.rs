//! `docker load`: archives of images, in Docker's layout or OCI's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use skep_objects::reference::Reference;
use tar::{Archive, EntryType};

use super::blobs::{MAX_DOCUMENT_BYTES, digest_of, verify};
use super::header_guard::HeaderGuard;
use super::manifest::choose;
use super::store::{Images, set_tag};
use super::{ImageConfig, ImageError, Progress};
use crate::compression::decompressed;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// More links than this in a row are a loop.
const MAX_LINKS: usize = 8;

/// One image of a Docker archive.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers", default)]
    layers: Vec<String>,
}

impl Images {
    /// Loads every image of an archive. Blocks on the stream. Prints what Docker prints.
    pub fn load(
        &self,
        stream: impl Read,
        platform: Option<&str>,
        progress: &Progress,
    ) -> Result<Vec<String>, ImageError> {
        let staged = Staged::read(stream, self.0.blobs.staging()?)?;
        let mut loaded = Vec::new();
        if let Some(manifest) = staged.document("manifest.json")? {
            let entries: Vec<Entry> = serde_json::from_slice(&manifest)
                .map_err(|error| ImageError::invalid("manifest.json", error))?;
            for entry in entries {
                let id = self.load_docker(&staged, &entry)?;
                self.announce(&id, &entry.tags.unwrap_or_default(), progress, &mut loaded)?;
            }
        } else if let Some(index) = staged.document("index.json")? {
            let index: ImageIndex = serde_json::from_slice(&index)
                .map_err(|error| ImageError::invalid("index.json", error))?;
            for entry in index.manifests() {
                let annotations = entry.annotations().clone().unwrap_or_default();
                let name = annotations
                    .get(CONTAINERD_NAME)
                    .or(annotations.get(REF_NAME))
                    .cloned();
                let id = self.load_oci(&staged, entry.digest().as_ref(), platform)?;
                self.announce(&id, name.as_slice(), progress, &mut loaded)?;
            }
        } else {
            return Err(ImageError::invalid(
                "archive",
                "it has neither manifest.json nor index.json",
            ));
        }
        Ok(loaded)
    }

    fn announce(
        &self,
        id: &str,
        tags: &[String],
        progress: &Progress,
        loaded: &mut Vec<String>,
    ) -> Result<(), ImageError> {
        let mut named = false;
        for tag in tags {
            // An OCI layout may name an image by a bare tag, which names no repository.
            let Ok(reference) = Reference::parse(tag) else {
                continue;
            };
            if reference.tag().is_none() && !tag.contains('/') && !tag.contains(':') {
                continue;
            }
            let reference = reference.or_latest();
            set_tag(&mut self.index(), &reference, id)?;
            progress.stream(format!("Loaded image: {}\n", reference.familiar()));
            self.emit("load", id, &reference.familiar());
            named = true;
        }
        if !named {
            progress.stream(format!("Loaded image ID: {id}\n"));
            self.emit("load", id, id);
        }
        loaded.push(id.to_owned());
        Ok(())
    }

    fn load_docker(&self, staged: &Staged, entry: &Entry) -> Result<String, ImageError> {
        let config = staged.need(&entry.config)?;
        let decoded = ImageConfig::decode(&config)?;
        let id = digest_of(&config);
        self.load_layers(staged, &config, &decoded, &entry.layers)?;
        Ok(id)
    }

    fn load_oci(
        &self,
        staged: &Staged,
        digest: &str,
        platform: Option<&str>,
    ) -> Result<String, ImageError> {
        let mut document = staged.need(&blob_name(digest))?;
        verify("manifest", digest, &digest_of(&document))?;
        if let Ok(index) = serde_json::from_slice::<ImageIndex>(&document) {
            let digest = choose(&index, platform)?;
            document = staged.need(&blob_name(&digest))?;
            verify("manifest", &digest, &digest_of(&document))?;
        }
        let manifest: ImageManifest = serde_json::from_slice(&document)
            .map_err(|error| ImageError::invalid("manifest", error))?;
        let id = manifest.config().digest().to_string();
        let config = staged.need(&blob_name(&id))?;
        verify("image config", &id, &digest_of(&config))?;
        let decoded = ImageConfig::decode(&config)?;
        let layers: Vec<_> = manifest
            .layers()
            .iter()
            .map(|layer| blob_name(layer.digest().as_ref()))
            .collect();
        self.load_layers(staged, &config, &decoded, &layers)?;
        Ok(id)
    }

    fn load_layers(
        &self,
        staged: &Staged,
        config: &[u8],
        decoded: &ImageConfig,
        files: &[String],
    ) -> Result<(), ImageError> {
        if self.by_id(&digest_of(config)).is_ok() {
            return Ok(());
        }
        let diff_ids = &decoded.rootfs.diff_ids;
        if files.len() != diff_ids.len() {
            let why = format!(
                "an image has {} layers, its config {}",
                files.len(),
                diff_ids.len()
            );
            return Err(ImageError::invalid("archive", why));
        }
        let _pins = self.pin(diff_ids.iter().cloned());
        let mut layers = Vec::new();
        let mut pins = Vec::new();
        for (file, diff_id) in files.iter().zip(diff_ids) {
            let (layer, pin) = self.keep_layer(Some(diff_id), staged.open(file)?)?;
            pins.push(pin);
            layers.push(layer);
        }
        self.record(config, layers, None).map(|_| ())
    }
}

/// An archive's files, under names of our own in a directory that goes with it.
struct Staged {
    dir: tempfile::TempDir,
    files: BTreeMap<String, PathBuf>,
    links: BTreeMap<String, String>,
}

impl Staged {
    fn read(stream: impl Read, dir: tempfile::TempDir) -> Result<Self, ImageError> {
        let bad = |source| ImageError::Stream {
            what: "read archive",
            source,
        };
        let mut staged = Self {
            dir,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let mut archive = Archive::new(HeaderGuard::new(decompressed(stream).map_err(bad)?));
        for entry in archive.entries().map_err(bad)? {
            let mut entry = entry.map_err(bad)?;
            let Some(name) = plain_name(&entry.path().map_err(bad)?) else {
                continue;
            };
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let path = staged.dir.path().join(staged.files.len().to_string());
                    let mut file = File::create(&path).map_err(ImageError::io("create", &path))?;
                    io::copy(&mut entry, &mut file).map_err(ImageError::io("write", &path))?;
                    staged.files.insert(name, path);
                }
                EntryType::Symlink | EntryType::Link => {
                    let is_symlink = entry.header().entry_type() == EntryType::Symlink;
                    let Some(target) = entry.link_name().map_err(bad)? else {
                        continue;
                    };
                    let base = if is_symlink {
                        Path::new(&name).parent()
                    } else {
                        None
                    };
                    if let Some(target) = join(base.unwrap_or(Path::new("")), &target) {
                        staged.links.insert(name, target);
                    }
                }
                _ => {}
            }
        }
        Ok(staged)
    }

    fn path(&self, name: &str) -> Option<&PathBuf> {
        let mut name = plain_name(Path::new(name))?;
        for _ in 0..MAX_LINKS {
            match self.files.get(&name) {
                Some(path) => return Some(path),
                None => name = self.links.get(&name)?.clone(),
            }
        }
        None
    }

    fn open(&self, name: &str) -> Result<File, ImageError> {
        let missing =
            || ImageError::invalid("archive", format!("it names {name:?}, which is not in it"));
        let path = self.path(name).ok_or_else(missing)?;
        File::open(path).map_err(ImageError::io("open", path))
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        if self.path(name).is_none() {
            return Ok(None);
        }
        self.need(name).map(Some)
    }

    fn need(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut content = Vec::new();
        self.open(name)?
            .take(MAX_DOCUMENT_BYTES)
            .read_to_end(&mut content)
            .map_err(|source| ImageError::Stream {
                what: "read archive",
                source,
            })?;
        Ok(content)
    }
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn plain_name(path: &Path) -> Option<String> {
    join(Path::new(""), path)
}

/// `base/path` with `.` and `..` worked off; nothing when it leaves the archive.
fn join(base: &Path, path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in base.components().chain(path.components()) {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}
