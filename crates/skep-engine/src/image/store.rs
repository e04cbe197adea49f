//! The image store of one daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use skep_objects::reference::{Reference, is_hex_id};

use super::ImageError;
use super::blobs::Blobs;
use super::config::ImageConfig;
use super::index::{Index, Record};
use super::layers::Layers;
use super::registry::{Registry, RegistryConfig};
use super::remove::ImageUsers;
use crate::metrics::ImageTimes;

/// An image that lies here, unpacked.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the store knows of it; `record.id` is the image's id.
    pub record: Record,
    /// What it says of itself.
    pub config: ImageConfig,
    /// Tags in full form (`docker.io/library/nginx:latest`).
    pub tags: Vec<Reference>,
    /// The registries' names for it (`docker.io/library/nginx@sha256:...`).
    pub digests: Vec<Reference>,
}

impl Image {
    /// `sha256:` and 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Bytes of file content in all layers.
    pub fn size_bytes(&self) -> u64 {
        self.record
            .layers
            .iter()
            .map(|layer| layer.size_bytes)
            .sum()
    }

    /// Tags as users see them (`nginx:latest`).
    pub fn repo_tags(&self) -> Vec<String> {
        self.tags.iter().map(Reference::familiar).collect()
    }

    /// Digests as users see them (`nginx@sha256:...`).
    pub fn repo_digests(&self) -> Vec<String> {
        self.digests.iter().map(Reference::familiar).collect()
    }
}

impl Image {
    /// Refuses an image that is for another platform.
    pub fn check_platform(&self, name: &str, platform: &str) -> Result<(), ImageError> {
        if platform.is_empty() || self.config.provides(platform) {
            return Ok(());
        }
        Err(ImageError::OtherPlatform(
            name.to_owned(),
            platform.to_owned(),
        ))
    }
}

impl Images {
    /// [`Images::resolve`], for a platform: empty means any.
    pub fn resolve_for(&self, name: &str, platform: &str) -> Result<Image, ImageError> {
        let image = self.resolve(name)?;
        image.check_platform(name, platform)?;
        Ok(image)
    }
}

/// What happened to an image, for the event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEvent {
    /// `pull`, `push`, `tag`, `untag`, `delete`, `import`, `load`, `save`, `create`.
    pub action: &'static str,
    /// Id, or the name for pull and push.
    pub id: String,
    /// The attribute `name`.
    pub name: String,
}

type EventSink = Box<dyn Fn(ImageEvent) + Send + Sync>;

/// The images of one data root. Cheap to clone.
#[derive(Clone)]
pub struct Images(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub blobs: Blobs,
    pub layers: Layers,
    pub index: Mutex<Index>,
    pub registry: Registry,
    /// Layers and blobs that operations under way need, with a count.
    pub pins: Mutex<BTreeMap<String, usize>>,
    /// Images that containers are being made of, with a count.
    pub held: Mutex<BTreeMap<String, usize>>,
    /// Something that was to be removed was pinned: look again when nothing is.
    pub owes_sweep: AtomicBool,
    /// One download and one unpacking of a layer at a time.
    pub layer_locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub users: OnceLock<Arc<dyn ImageUsers>>,
    events: OnceLock<EventSink>,
    pub times: ImageTimes,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("layers", &self.0.layers)
            .finish_non_exhaustive()
    }
}

impl Images {
    /// Opens the store below `root`, and removes what a crash left unfinished.
    pub fn open(root: &Path, registry: RegistryConfig) -> Result<Self, ImageError> {
        let images = Self(Arc::new(Inner {
            blobs: Blobs::open(root)?,
            layers: Layers::open(root)?,
            index: Mutex::new(Index::open(root)?),
            registry: Registry::new(registry),
            pins: Mutex::default(),
            held: Mutex::default(),
            owes_sweep: AtomicBool::new(false),
            layer_locks: Mutex::default(),
            users: OnceLock::new(),
            events: OnceLock::new(),
            times: ImageTimes::default(),
        }));
        images.0.blobs.remove_old_partials();
        images.sweep()?;
        Ok(images)
    }

    /// How long pulls and the like took.
    pub fn times(&self) -> &ImageTimes {
        &self.0.times
    }

    /// Names who can tell which images containers use; to be called once.
    pub fn set_users(&self, users: Arc<dyn ImageUsers>) {
        let _ = self.0.users.set(users);
    }

    /// Names who wants to hear of events; to be called once.
    pub fn set_events(&self, sink: impl Fn(ImageEvent) + Send + Sync + 'static) {
        let _ = self.0.events.set(Box::new(sink));
    }

    /// Changes what the daemon configuration says of registries.
    pub fn set_registry_config(&self, config: RegistryConfig) {
        self.0.registry.set_config(config);
    }

    /// Finds an image by name, digest, id or the unique beginning of an id.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let index = self.index();
        let id = find(&index, name)?;
        image(&index, &self.0.blobs, &id)
    }

    /// The image of exactly this id.
    pub fn by_id(&self, id: &str) -> Result<Image, ImageError> {
        image(&self.index(), &self.0.blobs, id)
    }

    /// Bytes of a manifest, config or layer as it travels; none where it is not here.
    pub fn blob_bytes(&self, digest: &str) -> u64 {
        self.0.blobs.size(digest).unwrap_or(0)
    }

    /// All images whose configuration can be read: one that cannot does not hide the others.
    pub fn list(&self) -> Vec<Image> {
        let index = self.index();
        let images = index.records.keys().filter_map(|id| {
            image(&index, &self.0.blobs, id)
                .inspect_err(|error| {
                    tracing::warn!(image.id = %id, %error, "image left out: its config cannot be read");
                })
                .ok()
        });
        images.collect()
    }

    /// Lower directories for overlayfs, topmost first, as it wants them.
    pub fn lower_dirs(&self, image: &Image) -> Vec<PathBuf> {
        image
            .record
            .layers
            .iter()
            .rev()
            .map(|layer| self.0.layers.path(&layer.diff_id))
            .collect()
    }

    /// Puts a tag on an image, taking it from another if need be.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<(), ImageError> {
        let target = target.clone().or_latest();
        if target.digest().is_some() {
            return Err(ImageError::invalid(
                "tag",
                "refusing to create a tag with a digest reference",
            ));
        }
        let id = self.tag_id(source, &target)?;
        self.emit("tag", &id, &target.familiar());
        Ok(())
    }

    fn tag_id(&self, source: &str, target: &Reference) -> Result<String, ImageError> {
        let mut index = self.index();
        let id = find(&index, source)?;
        set_tag(&mut index, target, &id)?;
        Ok(id)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // A panic while it was held leaves an index that is still equal to the disk.
        self.0
            .index
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn emit(&self, action: &'static str, id: &str, name: &str) {
        if let Some(sink) = self.0.events.get() {
            sink(ImageEvent {
                action,
                id: id.to_owned(),
                name: name.to_owned(),
            });
        }
    }

    /// The lock of one layer or blob.
    pub(super) fn lock_of(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self
            .0
            .layer_locks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(digest.to_owned()).or_default().clone()
    }

    /// Keeps layers and blobs from being removed while the guard lives.
    pub(super) fn pin(&self, digests: impl IntoIterator<Item = String>) -> Pins {
        let digests: Vec<_> = digests.into_iter().collect();
        let mut pins = self.pins();
        for digest in &digests {
            *pins.entry(digest.clone()).or_default() += 1;
        }
        drop(pins);
        Pins {
            images: self.clone(),
            digests,
        }
    }

    pub(super) fn pins(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0
            .pins
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// See [`Images::pin`].
pub(super) struct Pins {
    images: Images,
    digests: Vec<String>,
}

impl Pins {
    /// Both in one.
    pub fn and(mut self, mut other: Self) -> Self {
        self.digests.append(&mut other.digests);
        self
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut pins = self.images.pins();
        self.digests
            .iter()
            .for_each(|digest| count_down(&mut pins, digest));
        let last = pins.is_empty();
        drop(pins);
        if last
            && self.images.0.owes_sweep.swap(false, Ordering::Relaxed)
            && let Err(error) = self.images.sweep()
        {
            tracing::warn!(%error, "leftovers of images stay until the next prune");
        }
    }
}

fn count_down(counts: &mut BTreeMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Images {
    /// Keeps an image from being removed while the guard lives: a container is being made of it.
    pub fn hold(&self, id: &str) -> Result<Hold, ImageError> {
        let index = self.index();
        if !index.records.contains_key(id) {
            return Err(ImageError::NotFound(id.to_owned()));
        }
        *self.held().entry(id.to_owned()).or_default() += 1;
        Ok(Hold {
            images: self.clone(),
            id: id.to_owned(),
        })
    }

    pub(super) fn held(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0
            .held
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// See [`Images::hold`].
#[derive(Debug)]
pub struct Hold {
    images: Images,
    id: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        count_down(&mut self.images.held(), &self.id);
    }
}

/// Puts a tag on an image and notes when.
pub(super) fn set_tag(index: &mut Index, target: &Reference, id: &str) -> Result<(), ImageError> {
    if let Some(record) = index.records.get(id) {
        let record = Record {
            last_tagged: Some(now()),
            ..record.clone()
        };
        index.put(record)?;
    }
    index.rename(|names| {
        names.tags.insert(target.to_string(), id.to_owned());
    })
}

/// RFC 3339, in UTC, to the nanosecond.
pub(super) fn now() -> String {
    time::OffsetDateTime::now_utc()
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}

/// Full id, then name, then the unique beginning of an id.
pub(super) fn find(index: &Index, name: &str) -> Result<String, ImageError> {
    let not_found = || ImageError::NotFound(name.to_owned());
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if is_hex_id(hex) {
        let id = format!("sha256:{hex}");
        return if index.records.contains_key(&id) {
            Ok(id)
        } else {
            Err(not_found())
        };
    }
    let reference = Reference::parse(name);
    if let Ok(reference) = &reference {
        let found = match reference.digest() {
            // With a digest, the tag says nothing more.
            Some(digest) => {
                let key = format!("{}@{digest}", reference.canonical_name());
                index.names.digests.get(&key).cloned().or_else(|| {
                    index
                        .records
                        .contains_key(digest)
                        .then(|| digest.to_owned())
                })
            }
            None => index
                .names
                .tags
                .get(&reference.clone().or_latest().to_string())
                .cloned(),
        };
        if let Some(id) = found {
            return Ok(id);
        }
    }
    if !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let prefix = format!("sha256:{hex}");
        let mut matches = index.records.keys().filter(|id| id.starts_with(&prefix));
        match (matches.next(), matches.next()) {
            (Some(id), None) => return Ok(id.clone()),
            (Some(_), Some(_)) => return Err(ImageError::Ambiguous(name.to_owned())),
            (None, _) => {}
        }
    }
    match reference {
        Ok(reference) => Err(ImageError::NotFound(reference.or_latest().familiar())),
        Err(error) => Err(error.into()),
    }
}

fn image(index: &Index, blobs: &Blobs, id: &str) -> Result<Image, ImageError> {
    let record = index
        .records
        .get(id)
        .ok_or_else(|| ImageError::NotFound(id.to_owned()))?
        .clone();
    let config = ImageConfig::decode(&blobs.document(id)?)?;
    let (tags, digests) = index.names.of(id);
    let parse = |names: Vec<String>| {
        names
            .iter()
            .filter_map(|name| Reference::parse(name).ok())
            .collect()
    };
    Ok(Image {
        record,
        config,
        tags: parse(tags),
        digests: parse(digests),
    })
}
