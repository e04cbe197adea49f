//! Pulling images: manifest, config, then layers in parallel, each verified, unpacked and kept.

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use futures::{FutureExt, StreamExt as _, TryStreamExt as _, stream};
use oci_client::client::BlobResponse;
use oci_spec::image::{Descriptor, ImageManifest};
use sha2::{Digest as _, Sha256};
use skep_objects::reference::Reference;
use tokio::io::AsyncWriteExt as _;

use super::blobs::verify;
use super::index::{LayerRecord, Record};
use super::manifest::{Fetched, Parsed, choose, parse};
use super::session::Session;
use super::store::{Images, now};
use super::{ImageConfig, ImageError, Progress, RegistryAuth};

const PROGRESS_EVERY_BYTES: u64 = 512 << 10;

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// `os/architecture[/variant]`; the host's without one.
    pub platform: Option<String>,
    /// Credentials for the registry.
    pub auth: RegistryAuth,
}

/// What a pull gave.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image's id.
    pub id: String,
    /// The digest that the reference led to.
    pub digest: String,
    /// Whether the name led elsewhere, or nowhere, before.
    pub is_new: bool,
}

fn tell_status(progress: &Progress, name: &str, is_new: bool) {
    let what = match is_new {
        true => "Downloaded newer image for",
        false => "Image is up to date for",
    };
    progress.status(format!("Status: {what} {name}"));
}

impl Images {
    /// Pulls one image and names it. Progress goes out as Docker's does.
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &Progress,
    ) -> Result<Pulled, ImageError> {
        let reference = reference.clone().or_latest();
        let pulled = self.pull_one(&reference, options, progress).await?;
        tell_status(progress, &reference.familiar(), pulled.is_new);
        Ok(pulled)
    }

    async fn pull_one(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &Progress,
    ) -> Result<Pulled, ImageError> {
        let begun = Instant::now();
        let (session, top) = self.0.registry.fetch(reference, &options.auth).await?;
        let label = reference.tag().or(reference.digest()).unwrap_or("latest");
        progress.about(label, format!("Pulling from {}", reference.path()));
        let top_digest = top.digest.clone();
        let (fetched, manifest) = one_image(&session, top, options.platform.as_deref()).await?;
        let id = manifest.config().digest().to_string();
        let needed = manifest
            .layers()
            .iter()
            .map(|layer| layer.digest().to_string());
        let _pins = self.pin(needed.chain([id.clone(), fetched.digest.clone()]));
        // It may be removed between being found and being named: then it is brought after all.
        let is_new = loop {
            if self.by_id(&id).is_err() {
                self.fetch_image(&session, &fetched, &manifest, progress)
                    .await?;
            }
            if let Some(is_new) = self.name(reference, &top_digest, &id)? {
                break is_new;
            }
        };
        progress.status(format!("Digest: {top_digest}"));
        self.emit("pull", &reference.familiar(), &reference.familiar_name());
        self.0.times.pull.since(begun);
        Ok(Pulled {
            id,
            digest: top_digest,
            is_new,
        })
    }

    /// Pulls all tags of a repository.
    pub async fn pull_all(
        &self,
        repository: &Reference,
        options: &PullOptions,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let mut is_new = false;
        for tag in self.0.registry.tags(repository, &options.auth).await? {
            let reference = repository.with_tag(&tag)?;
            is_new |= self.pull_one(&reference, options, progress).await?.is_new;
        }
        tell_status(progress, &repository.familiar_name(), is_new);
        Ok(())
    }

    /// Gives the image its tag and digest; tells whether that changed anything, or nothing when the
    /// image is gone.
    fn name(
        &self,
        reference: &Reference,
        digest: &str,
        id: &str,
    ) -> Result<Option<bool>, ImageError> {
        let mut index = self.index();
        let Some(record) = index.records.get(id).cloned() else {
            return Ok(None);
        };
        let by_digest = reference.with_digest(digest)?.to_string();
        let by_tag = reference.digest().is_none().then(|| reference.to_string());
        let is_new = match &by_tag {
            Some(tag) => index.names.tags.get(tag).is_none_or(|old| old != id),
            None => !index.names.digests.contains_key(&by_digest),
        };
        if is_new {
            index.put(Record {
                last_tagged: Some(now()),
                ..record
            })?;
        }
        index.rename(|names| {
            names.digests.insert(by_digest, id.to_owned());
            if let Some(tag) = by_tag {
                names.tags.insert(tag, id.to_owned());
            }
        })?;
        Ok(Some(is_new))
    }

    async fn fetch_image(
        &self,
        session: &Session,
        fetched: &Fetched,
        manifest: &ImageManifest,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let id = manifest.config().digest().to_string();
        let config_blob = session.document(&id).await?;
        let config = ImageConfig::decode(&config_blob)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers().len() {
            let why = format!(
                "it has {} layers, its config {}",
                manifest.layers().len(),
                diff_ids.len()
            );
            return Err(ImageError::invalid("manifest", why));
        }
        let _pins = self.pin(diff_ids.iter().cloned());
        for layer in manifest.layers() {
            progress.step(&short(layer.digest().as_ref()), "Pulling fs layer");
        }
        // Boxed, since a closure over references would keep the whole pull from being `Send`.
        let mut fetches = Vec::new();
        for (layer, diff_id) in manifest.layers().iter().zip(diff_ids) {
            fetches.push(self.layer(session, layer, diff_id, progress).boxed());
        }
        let layers: Vec<LayerRecord> = stream::iter(fetches)
            .buffered(manifest.layers().len().max(1))
            .try_collect()
            .await?;
        let record = Record {
            id,
            manifest: fetched.digest.clone(),
            manifest_type: fetched.media_type.clone(),
            layers,
            parent: None,
            last_tagged: None,
        };
        self.0.blobs.put(&config_blob)?;
        self.0.blobs.put(&fetched.content)?;
        self.index().put(record)
    }

    /// Brings one layer: blob on disk, unpacked. Two pulls that need it do it once.
    async fn layer(
        &self,
        session: &Session,
        layer: &Descriptor,
        diff_id: &str,
        progress: &Progress,
    ) -> Result<LayerRecord, ImageError> {
        let digest = layer.digest().to_string();
        if !skep_objects::reference::is_digest(&digest) {
            return Err(ImageError::invalid(
                "manifest",
                format!("layer digest {digest:?} is not sha256"),
            ));
        }
        let name = short(&digest);
        let lock = self.lock_of(&digest);
        let _turn = lock.lock().await;
        if self.0.blobs.has(&digest) && self.0.layers.has(diff_id) {
            progress.about(&name, "Already exists");
        } else {
            let turns = self.0.registry.downloads();
            let waits = turns.available_permits() == 0;
            if waits {
                progress.step(&name, "Waiting");
            }
            let _turn = turns.acquire().await.map_err(|_| ImageError::Interrupted)?;
            if !self.0.blobs.has(&digest) {
                self.download(session, layer, &name, progress).await?;
            }
            progress.step(&name, "Download complete");
            self.unpack(&digest, diff_id, &name, progress).await?;
            progress.step(&name, "Pull complete");
        }
        Ok(LayerRecord {
            size_bytes: self.0.layers.size(diff_id),
            diff_id: diff_id.to_owned(),
            media_type: layer.media_type().to_string(),
            blob_bytes: self.0.blobs.size(&digest)?,
            blob: digest,
        })
    }

    async fn unpack(
        &self,
        digest: &str,
        diff_id: &str,
        name: &str,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        if self.0.layers.has(diff_id) {
            return Ok(());
        }
        let images = self.clone();
        let (digest, diff_id) = (digest.to_owned(), diff_id.to_owned());
        let total = self.0.blobs.size(&digest)?;
        let counted = Counted {
            name: name.to_owned(),
            progress: progress.clone(),
            total,
            done: 0,
            told: 0,
        };
        let work = move || {
            let blob = images.0.blobs.open_blob(&digest)?;
            images
                .0
                .layers
                .unpack(
                    Some(&diff_id),
                    CountingReader {
                        inner: blob,
                        counted,
                    },
                )
                .map(|_| ())
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ImageError::Interrupted)?
    }

    /// Downloads a blob, going on where an earlier try stopped; what does not verify is redone.
    async fn download(
        &self,
        session: &Session,
        layer: &Descriptor,
        name: &str,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let digest = layer.digest().to_string();
        let partial = self.0.blobs.partial_path(&digest);
        let mut backoff = std::time::Duration::from_millis(200);
        let tries = self.0.registry.config().download_attempts;
        for attempt in 1.. {
            let session = session.fresh().await?;
            match self
                .download_once(&session, layer, &partial, name, progress)
                .await
            {
                Ok(()) => break,
                Err(ImageError::Corrupt { .. }) if attempt < 2 => remove_partial(&partial)?,
                Err(error @ ImageError::Corrupt { .. }) => {
                    remove_partial(&partial)?;
                    return Err(error);
                }
                // The stream broke: what has come is kept, and the rest asked for.
                Err(ImageError::Stream { .. } | ImageError::Unreachable(_)) if attempt < tries => {
                    progress.step(name, "Retrying");
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        progress.step(name, "Verifying Checksum");
        self.0.blobs.commit_partial(&digest)
    }

    async fn download_once(
        &self,
        session: &Session,
        layer: &Descriptor,
        partial: &PathBuf,
        name: &str,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let digest = layer.digest().to_string();
        let total = layer.size();
        let (mut hash, mut done) = hash_of_file(partial.clone()).await?;
        if done > total {
            (hash, done) = (Sha256::new(), 0);
        }
        let mut file = tokio::fs::OpenOptions::new();
        let mut file = file
            .create(true)
            .truncate(false)
            .write(true)
            .open(partial)
            .await
            .map_err(ImageError::io("open", partial))?;
        if done < total || total == 0 {
            let answer = match done {
                0 => session
                    .client
                    .pull_blob_stream(&session.address, digest.as_str())
                    .await
                    .map(BlobResponse::Full),
                _ => {
                    session
                        .client
                        .pull_blob_stream_partial(&session.address, digest.as_str(), done, None)
                        .await
                }
            };
            let body = match answer.map_err(|error| session.explain(error))? {
                BlobResponse::Full(body) => {
                    (hash, done) = (Sha256::new(), 0);
                    body
                }
                BlobResponse::Partial(body) => body,
            };
            file.set_len(done)
                .await
                .map_err(ImageError::io("truncate", partial))?;
            let at = std::io::SeekFrom::Start(done);
            tokio::io::AsyncSeekExt::seek(&mut file, at)
                .await
                .map_err(ImageError::io("seek in", partial))?;
            let mut stream = body.stream;
            let mut told = done;
            while let Some(part) = stream
                .try_next()
                .await
                .map_err(|source| ImageError::Stream {
                    what: "download layer",
                    source,
                })?
            {
                hash.update(&part);
                done += part.len() as u64;
                if done > total {
                    return Err(ImageError::Corrupt {
                        what: "layer",
                        digest,
                        found: format!(
                            "unknown: it is longer than the {total} bytes of the manifest"
                        ),
                    });
                }
                file.write_all(&part)
                    .await
                    .map_err(ImageError::io("write", partial))?;
                if done - told >= PROGRESS_EVERY_BYTES {
                    told = done;
                    progress.bytes(name, "Downloading", done, total);
                }
            }
            file.flush()
                .await
                .map_err(ImageError::io("write", partial))?;
        }
        if done < total {
            let source =
                std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the stream ended early");
            return Err(ImageError::Stream {
                what: "download layer",
                source,
            });
        }
        verify(
            "layer",
            &digest,
            &format!("sha256:{}", hex::encode(hash.finalize())),
        )
    }
}

/// Follows an index to the manifest of one image.
async fn one_image(
    session: &Session,
    fetched: Fetched,
    platform: Option<&str>,
) -> Result<(Fetched, ImageManifest), ImageError> {
    match parse(&fetched)? {
        Parsed::Manifest(manifest) => Ok((fetched, *manifest)),
        Parsed::Index(index) => {
            let fetched = session.manifest(&choose(&index, platform)?).await?;
            match parse(&fetched)? {
                Parsed::Manifest(manifest) => Ok((fetched, *manifest)),
                Parsed::Index(_) => {
                    Err(ImageError::invalid("manifest", "an index within an index"))
                }
            }
        }
    }
}

async fn hash_of_file(path: PathBuf) -> Result<(Sha256, u64), ImageError> {
    let work = move || {
        let mut hash = Sha256::new();
        match std::fs::File::open(&path) {
            Ok(mut file) => {
                let done =
                    std::io::copy(&mut file, &mut hash).map_err(ImageError::io("read", path))?;
                Ok((hash, done))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((hash, 0)),
            Err(error) => Err(ImageError::io("open", path)(error)),
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ImageError::Interrupted)?
}

fn remove_partial(path: &PathBuf) -> Result<(), ImageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImageError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The first 12 digits, as progress names layers.
pub(super) fn short(digest: &str) -> String {
    digest
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}

struct Counted {
    name: String,
    progress: Progress,
    total: u64,
    done: u64,
    told: u64,
}

struct CountingReader<R> {
    inner: R,
    counted: Counted,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let counted = &mut self.counted;
        counted.done += count as u64;
        if counted.done - counted.told >= PROGRESS_EVERY_BYTES
            || (count == 0 && counted.told < counted.done)
        {
            counted.told = counted.done;
            counted
                .progress
                .bytes(&counted.name, "Extracting", counted.done, counted.total);
        }
        Ok(count)
    }
}
