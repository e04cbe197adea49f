//! `docker save`: an archive that both Docker and OCI tools read.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};
use skep_objects::reference::Reference;
use tar::{Builder, EntryType, Header};

use super::ImageError;
use super::store::{Image, Images};
use crate::engine::Reader;
use crate::error::EngineError;
use crate::outcome;

/// 1970, so that the same images give the same archive.
const MTIME: u64 = 0;

impl Images {
    /// As [`Images::save`], for who reads: an archive that breaks off ends in an error.
    pub fn save_stream(&self, names: Vec<String>) -> crate::error::Result<Reader> {
        let images = self.clone();
        let refused = |error: ImageError| EngineError::refused(error.kind(), error.to_string());
        outcome::fill(move |to| images.save(&names, to).map_err(refused))
    }

    /// Writes images, by name or id, as one archive. Blocks on the writer. A name brings its tag.
    pub fn save(&self, names: &[String], to: impl Write) -> Result<(), ImageError> {
        let mut wanted: Vec<(Image, Vec<Reference>)> = Vec::new();
        for (image, tags) in self.wanted(names)? {
            match wanted
                .iter_mut()
                .find(|(known, _)| known.id() == image.id())
            {
                Some((_, known)) => known.extend(tags),
                None => wanted.push((image, tags)),
            }
        }
        let mut pins = Vec::new();
        for (image, _) in &wanted {
            let record = &image.record;
            let layers = record.layers.iter().map(|layer| layer.blob.clone());
            pins.push(self.pin(layers.chain([record.id.clone(), record.manifest.clone()])));
            // One that went before it was pinned is not there.
            self.by_id(image.id())?;
        }
        let mut archive = Archive {
            tar: Builder::new(to),
            written: BTreeSet::new(),
        };
        let mut index = Vec::new();
        let mut manifest = Vec::new();
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        for (image, tags) in &wanted {
            for layer in &image.record.layers {
                archive.blob(self, &layer.blob)?;
            }
            archive.blob(self, image.id())?;
            archive.blob(self, &image.record.manifest)?;
            index.extend(index_entries(self, image, tags)?);
            manifest.push(json!({
                "Config": blob_name(image.id()),
                "RepoTags": tags.iter().map(Reference::familiar).collect::<Vec<_>>(),
                "Layers": image.record.layers.iter().map(|layer| blob_name(&layer.blob)).collect::<Vec<_>>(),
            }));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": index,
        });
        archive.document("index.json", &index)?;
        archive.document("manifest.json", &Value::Array(manifest))?;
        archive.document("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
        archive.tar.finish().map_err(broken)?;
        for (image, _) in &wanted {
            self.emit("save", image.id(), image.id());
        }
        Ok(())
    }
}

impl Images {
    /// Images by the names given, each with the tags that go along. A name without a tag means all tags
    /// of its repository.
    fn wanted(&self, names: &[String]) -> Result<Vec<(Image, Vec<Reference>)>, ImageError> {
        let mut wanted = Vec::new();
        for name in names {
            let reference = Reference::parse(name).ok();
            if let Some(repository) = reference
                .as_ref()
                .filter(|reference| reference.tag().is_none() && reference.digest().is_none())
            {
                let name = repository.canonical_name();
                let mut found = false;
                for image in self.list() {
                    let ours = image.tags.iter().filter(|tag| tag.canonical_name() == name);
                    let tags: Vec<Reference> = ours.cloned().collect();
                    if !tags.is_empty() {
                        found = true;
                        wanted.push((image, tags));
                    }
                }
                if found {
                    continue;
                }
            }
            let image = self.resolve(name)?;
            let tags = reference.filter(|reference| image.tags.contains(reference));
            wanted.push((image, tags.into_iter().collect()));
        }
        Ok(wanted)
    }

    /// Whether a name means something that can be saved.
    pub fn check_saved(&self, name: &str, platform: Option<&str>) -> Result<(), ImageError> {
        for (image, _) in self.wanted(&[name.to_owned()])? {
            image.check_platform(name, platform.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// One entry a tag; one without a name where there is none.
fn index_entries(
    images: &Images,
    image: &Image,
    tags: &[Reference],
) -> Result<Vec<Value>, ImageError> {
    let size = images.0.blobs.size(&image.record.manifest)?;
    let entry = |annotations: Option<Value>| {
        let mut entry = json!({
            "mediaType": image.record.manifest_type,
            "digest": image.record.manifest,
            "size": size,
        });
        if let Some(annotations) = annotations {
            entry["annotations"] = annotations;
        }
        entry
    };
    if tags.is_empty() {
        return Ok(vec![entry(None)]);
    }
    Ok(tags
        .iter()
        .map(|tag| {
            entry(Some(json!({
                "io.containerd.image.name": tag.to_string(),
                "org.opencontainers.image.ref.name": tag.tag().unwrap_or("latest"),
            })))
        })
        .collect())
}

struct Archive<W: Write> {
    tar: Builder<W>,
    written: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    fn directory(&mut self, name: &str) -> Result<(), ImageError> {
        let mut header = header(EntryType::Directory, 0o755, 0);
        self.tar
            .append_data(&mut header, name, std::io::empty())
            .map_err(broken)
    }

    fn blob(&mut self, images: &Images, digest: &str) -> Result<(), ImageError> {
        if !self.written.insert(digest.to_owned()) {
            return Ok(());
        }
        let mut header = header(EntryType::Regular, 0o644, images.0.blobs.size(digest)?);
        let content = images.0.blobs.open_blob(digest)?;
        self.tar
            .append_data(&mut header, blob_name(digest), content)
            .map_err(broken)
    }

    fn document(&mut self, name: &str, content: &Value) -> Result<(), ImageError> {
        let text = content.to_string();
        let mut header = header(EntryType::Regular, 0o644, text.len() as u64);
        self.tar
            .append_data(&mut header, name, text.as_bytes())
            .map_err(broken)
    }
}

fn header(kind: EntryType, mode: u32, size_bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size_bytes);
    header.set_mtime(MTIME);
    header
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn broken(source: std::io::Error) -> ImageError {
    ImageError::Stream {
        what: "write archive",
        source,
    }
}
