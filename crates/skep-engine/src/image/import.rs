//! Images made here: imported file systems, and layers committed from containers.

use std::io::Read;

use serde_json::{Map, Value, json};
use skep_objects::reference::Reference;

use super::blobs::digest_of;
use super::config::{HistoryEntry, host_architecture};
use super::index::{LayerRecord, Record};
use super::manifest::MANIFEST_TYPES;
use super::store::{Image, Images, Pins, now, set_tag};
use super::{ImageConfig, ImageError, RootFs};
use crate::compression::Peeked;

pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(super) const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// What a new image says of itself.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// How to run it: Docker's container config in JSON.
    pub config: Map<String, Value>,
    /// The history's comment.
    pub message: String,
    /// The history's command.
    pub created_by: String,
    /// Who made it.
    pub author: String,
    /// `os/architecture[/variant]`; the host's without one.
    pub platform: Option<String>,
}

impl Images {
    /// Makes an image of one layer from a tar stream, compressed or not. Blocks on the stream.
    pub fn import(
        &self,
        stream: impl Read,
        tag: Option<&Reference>,
        options: &ImportOptions,
    ) -> Result<Image, ImageError> {
        let image = self.create(None, stream, options)?;
        if let Some(tag) = tag {
            set_tag(&mut self.index(), &tag.clone().or_latest(), image.id())?;
        }
        self.emit(
            "import",
            image.id(),
            &tag.map_or_else(|| image.id().to_owned(), Reference::familiar),
        );
        self.by_id(image.id())
    }

    /// Makes an image from another and one more layer. Blocks on the stream.
    pub fn create(
        &self,
        parent: Option<&Image>,
        stream: impl Read,
        options: &ImportOptions,
    ) -> Result<Image, ImageError> {
        let _hold = parent.map(|parent| self.hold(parent.id())).transpose()?;
        let (layer, _pins) = self.keep_layer(None, stream)?;
        let created = now();
        let platform = options
            .platform
            .clone()
            .unwrap_or_else(|| format!("linux/{}", host_architecture()));
        let mut parts = platform.split('/').map(str::to_owned);
        let mut layers = parent
            .map(|parent| parent.record.layers.clone())
            .unwrap_or_default();
        layers.push(layer);
        let mut history = parent
            .map(|parent| parent.config.history.clone())
            .unwrap_or_default();
        history.push(HistoryEntry {
            created: Some(created.clone()),
            comment: options.message.clone(),
            created_by: options.created_by.clone(),
            author: options.author.clone(),
            empty_layer: false,
        });
        let config = ImageConfig {
            created: Some(created),
            author: options.author.clone(),
            os: parts.next().unwrap_or_default(),
            architecture: parts
                .next()
                .unwrap_or_else(|| host_architecture().to_owned()),
            variant: parts.next().unwrap_or_default(),
            comment: options.message.clone(),
            docker_version: env!("CARGO_PKG_VERSION").to_owned(),
            config: Some(options.config.clone()),
            rootfs: RootFs {
                diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
                ..RootFs::default()
            },
            history,
        };
        let config = serde_json::to_vec(&config)
            .map_err(|error| ImageError::invalid("image config", error))?;
        self.record(&config, layers, parent.map(|parent| parent.id().to_owned()))
    }

    /// Stores a layer as it comes, and unpacks it. While the guard lives neither is removed.
    pub(super) fn keep_layer(
        &self,
        diff_id: Option<&str>,
        stream: impl Read,
    ) -> Result<(LayerRecord, [Pins; 2]), ImageError> {
        let mut writer = self.0.blobs.writer()?;
        let kept = Peeked::new(stream).and_then(|peeked| {
            // What no registry takes as a layer is kept as plain tar.
            let mut stream = match peeked.form.is_of_layers() {
                true => Box::new(peeked.stream),
                false => peeked.decompressed()?,
            };
            std::io::copy(&mut stream, &mut writer)
        });
        kept.map_err(|source| ImageError::Stream {
            what: "read layer",
            source,
        })?;
        let blob_pin = self.pin([writer.digest()]);
        let (blob, blob_bytes) = writer.finish(None)?;
        let diff_pin = self.pin(diff_id.map(str::to_owned));
        match self.unpacked(diff_id, &blob) {
            Ok((diff_id, size_bytes)) => {
                let diff_pin = diff_pin.and(self.pin([diff_id.clone()]));
                if !self.0.layers.has(&diff_id) {
                    // Another image's removal took it before it was pinned.
                    self.unpacked(Some(&diff_id), &blob)?;
                }
                let media_type = media_type_of(&mut self.0.blobs.open_blob(&blob)?).to_owned();
                let layer = LayerRecord {
                    diff_id,
                    blob,
                    media_type,
                    blob_bytes,
                    size_bytes,
                };
                Ok((layer, [blob_pin, diff_pin]))
            }
            Err(error) => {
                drop(blob_pin);
                self.remove_unnamed(&blob)?;
                Err(error)
            }
        }
    }

    fn unpacked(&self, diff_id: Option<&str>, blob: &str) -> Result<(String, u64), ImageError> {
        match diff_id {
            Some(diff_id) if self.0.layers.has(diff_id) => {
                Ok((diff_id.to_owned(), self.0.layers.size(diff_id)))
            }
            _ => {
                let file = self.0.blobs.open_blob(blob)?;
                self.0.layers.unpack(diff_id, file)
            }
        }
    }

    /// Writes manifest and record of an image whose layers lie here.
    pub(super) fn record(
        &self,
        config: &[u8],
        layers: Vec<LayerRecord>,
        parent: Option<String>,
    ) -> Result<Image, ImageError> {
        let id = digest_of(config);
        let manifest = manifest_of(&id, config.len() as u64, &layers);
        let _pins = self.pin([id.clone(), digest_of(&manifest)]);
        self.0.blobs.put(config)?;
        let manifest = self.0.blobs.put(&manifest)?;
        let manifest_type = MANIFEST_TYPES[0].to_owned();
        let mut index = self.index();
        let last_tagged = index
            .records
            .get(&id)
            .and_then(|old| old.last_tagged.clone());
        index.put(Record {
            id: id.clone(),
            manifest,
            manifest_type,
            layers,
            parent,
            last_tagged,
        })?;
        drop(index);
        self.by_id(&id)
    }
}

/// The manifest document of an image.
pub(super) fn manifest_of(id: &str, config_bytes: u64, layers: &[LayerRecord]) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| json!({"mediaType": layer.media_type, "digest": layer.blob, "size": layer.blob_bytes}))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": {"mediaType": CONFIG_TYPE, "digest": id, "size": config_bytes},
        "layers": layers,
    })
    .to_string()
    .into_bytes()
}

fn media_type_of(blob: &mut impl Read) -> &'static str {
    let mut head = [0; 4];
    match blob.read(&mut head) {
        Ok(4) if head[..2] == [0x1f, 0x8b] => LAYER_GZIP,
        Ok(4) if head == [0x28, 0xb5, 0x2f, 0xfd] => LAYER_ZSTD,
        _ => LAYER_TAR,
    }
}
