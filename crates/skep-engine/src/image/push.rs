//! Pushing images: blobs that the registry lacks, then the manifest.

use std::io::{self, Write};
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::HeaderValue;
use oci_client::errors::OciDistributionError;
use serde_json::json;
use skep_objects::reference::Reference;
use tokio_util::io::ReaderStream;

use super::blobs::digest_of;
use super::import::{LAYER_GZIP, LAYER_TAR, manifest_of};
use super::index::{LayerRecord, Record};
use super::pull::short;
use super::session::Session;
use super::store::{Image, Images};
use super::{ImageError, Progress, RegistryAuth};

const CHUNK_BYTES: usize = 1 << 20;

/// What a registry says against a push.
fn refusal(session: &Session, error: OciDistributionError) -> ImageError {
    match session.explain(error) {
        ImageError::PullDenied(_) => {
            ImageError::Registry("denied: requested access to the resource is denied".to_owned())
        }
        error => error,
    }
}

impl Images {
    /// Pushes what a tag leads to. Progress goes out as Docker's does.
    pub async fn push(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let begun = Instant::now();
        let reference = reference.clone().or_latest();
        // Said first, also of what turns out not to be here: clients look for errors after it.
        progress.status(format!(
            "The push refers to repository [{}]",
            reference.canonical_name()
        ));
        let image = match self.resolve(&reference.familiar()) {
            Err(ImageError::NotFound(_)) => {
                return Err(ImageError::NotLocal(reference.familiar_name()));
            }
            result => result?,
        };
        // It may be removed meanwhile: what is sent stays until it is sent.
        let record = &image.record;
        let parts = record.layers.iter();
        let parts = parts.flat_map(|layer| [layer.diff_id.clone(), layer.blob.clone()]);
        let _parts = self.pin(parts.chain([record.id.clone(), record.manifest.clone()]));
        let session = self.0.registry.for_push(&reference, auth).await?;
        for layer in &image.record.layers {
            progress.step(&short(&layer.diff_id), "Preparing");
        }
        let image = self.compressed(image).await?;
        let _pins = self.pin(image.record.layers.iter().map(|layer| layer.blob.clone()));
        // Made before they are streamed: a closure over references is not general enough to be sent.
        let pushes: Vec<_> = (image.record.layers.iter())
            .map(|layer| self.push_blob(&session, &layer.blob, short(&layer.diff_id), progress))
            .collect();
        stream::iter(pushes)
            .buffer_unordered(image.record.layers.len().max(1))
            .try_collect::<Vec<_>>()
            .await?;
        self.push_blob(&session, image.id(), String::new(), &Progress::none())
            .await?;
        let session = session.fresh().await?;
        let manifest = self.0.blobs.document(&image.record.manifest)?;
        let size = manifest.len();
        let content_type = HeaderValue::from_str(&image.record.manifest_type)
            .map_err(|error| ImageError::invalid("manifest", error))?;
        session
            .client
            .push_manifest_raw(&session.address, Bytes::from(manifest), content_type)
            .await
            .map_err(|error| refusal(&session, error))?;
        self.name_pushed(&reference, &image)?;
        let tag = reference.tag().unwrap_or("latest");
        let digest = &image.record.manifest;
        progress.status(format!("{tag}: digest: {digest} size: {size}"));
        progress.aux(json!({"Tag": tag, "Digest": digest, "Size": size}));
        self.emit("push", &reference.familiar(), &reference.familiar_name());
        self.0.times.push.since(begun);
        Ok(())
    }

    fn name_pushed(&self, reference: &Reference, image: &Image) -> Result<(), ImageError> {
        let name = reference.with_digest(&image.record.manifest)?.to_string();
        let mut index = self.index();
        if !index.records.contains_key(image.id()) {
            return Ok(());
        }
        index.rename(|names| {
            names.digests.insert(name, image.id().to_owned());
        })
    }

    async fn push_blob(
        &self,
        session: &Session,
        digest: &str,
        name: String,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let turns = self.0.registry.uploads();
        let _turn = turns.acquire().await.map_err(|_| ImageError::Interrupted)?;
        let session = session.fresh().await?;
        let explain = |error: OciDistributionError| refusal(&session, error);
        if session
            .client
            .blob_exists(&session.address, digest)
            .await
            .map_err(explain)?
        {
            progress.step(&name, "Layer already exists");
            return Ok(());
        }
        let path = self.0.blobs.path(digest);
        let size = self.0.blobs.size(digest)?;
        let file = tokio::fs::File::open(&path)
            .await
            .map_err(ImageError::io("open", path))?;
        let (told, label, mut done) = (progress.clone(), name.clone(), 0);
        let content = ReaderStream::with_capacity(file, CHUNK_BYTES).map(move |part| {
            if let Ok(part) = &part {
                done += part.len() as u64;
                told.bytes(&label, "Pushing", done, size);
            }
            part.map_err(OciDistributionError::from)
        });
        session
            .client
            .push_blob_stream(&session.address, content, digest, Some(size))
            .await
            .map_err(explain)?;
        progress.step(&name, "Pushed");
        Ok(())
    }

    /// Layers that were made here lie uncompressed; they travel as gzip, and are kept so after.
    async fn compressed(&self, image: Image) -> Result<Image, ImageError> {
        if image
            .record
            .layers
            .iter()
            .all(|layer| layer.media_type != LAYER_TAR)
        {
            return Ok(image);
        }
        let images = self.clone();
        let work = move || images.compress(&image);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ImageError::Interrupted)?
    }

    fn compress(&self, image: &Image) -> Result<Image, ImageError> {
        let (mut layers, mut pins) = (Vec::new(), Vec::new());
        for layer in &image.record.layers {
            if layer.media_type != LAYER_TAR {
                layers.push(layer.clone());
                continue;
            }
            let mut encoder = GzEncoder::new(self.0.blobs.writer()?, Compression::new(6));
            let mut content = self.0.blobs.open_blob(&layer.blob)?;
            let compressed = io::copy(&mut content, &mut encoder).and_then(|_| encoder.flush());
            let writer = compressed
                .and_then(|()| encoder.finish())
                .map_err(|source| ImageError::Stream {
                    what: "compress layer",
                    source,
                })?;
            pins.push(self.pin([writer.digest()]));
            let (blob, blob_bytes) = writer.finish(None)?;
            layers.push(LayerRecord {
                blob,
                blob_bytes,
                media_type: LAYER_GZIP.to_owned(),
                ..layer.clone()
            });
        }
        let manifest = manifest_of(image.id(), self.0.blobs.size(image.id())?, &layers);
        pins.push(self.pin([digest_of(&manifest)]));
        let manifest = self.0.blobs.put(&manifest)?;
        let old = image.record.clone();
        let mut index = self.index();
        if !index.records.contains_key(image.id()) {
            return Err(ImageError::NotFound(image.id().to_owned()));
        }
        index.put(Record {
            layers,
            manifest,
            ..old.clone()
        })?;
        drop(index);
        self.remove_blobs_of(&old)?;
        self.by_id(image.id())
    }

    /// Removes blobs of an older form of an image that nothing names any more.
    fn remove_blobs_of(&self, old: &Record) -> Result<(), ImageError> {
        let layers = old.layers.iter().map(|layer| &layer.blob);
        layers
            .chain([&old.manifest])
            .try_for_each(|blob| self.remove_unnamed(blob))
    }
}
