//! Volumes of the local driver.
//!
//! ```text
//! <data root>/volumes/<name>/
//!   volume.json   labels, options, time of creation; synced before the volume exists for anyone
//!   _data/        its content, or where its device is mounted in each container that uses it
//!   _filling/     what is copied out of an image; `_filled/` when that is whole (see `fill`)
//! .removed-*/     what a removal has still to delete
//! ```
//!
//! **Invariant.** A volume that a container's record names is never removed: users are counted from
//! the records, so the count is right after a crash.

mod fill;
mod kernel_mount;
mod measure;
mod options;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use skep_objects::ErrorKind;
use skep_objects::api::volume::{UsageData, Volume, VolumeCreate, VolumeList, VolumePrune};
use skep_objects::ids::new_hex_id;

use crate::error::{EngineError, Result};
use crate::events::Events;
use crate::filters::Filters;
use crate::timestamp;
pub(crate) use kernel_mount::{KernelMount, kernel_mount};
pub(crate) use measure::bytes_below;
use record::VolumeRecord;

/// Begins the names of directories whose volumes are removed; no volume's name begins so.
const DOOMED: &str = ".removed-";

/// Marks a volume that nobody named; Docker's own label.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The volumes of one host. A cheap clone.
#[derive(Debug, Clone)]
pub struct Volumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    events: Events,
    known: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    record: VolumeRecord,
    /// Ids of the containers that mount it.
    users: BTreeSet<String>,
    /// Held by who fills it from an image.
    filling: Arc<Mutex<()>>,
}

impl Entry {
    fn of(record: VolumeRecord) -> Self {
        Self {
            record,
            users: BTreeSet::new(),
            filling: Arc::default(),
        }
    }
}

impl Volumes {
    /// Reads the volumes below `root`.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(crate) fn open(root: PathBuf, events: Events) -> Result<Self> {
        std::fs::create_dir_all(&root).map_err(EngineError::io("create", &root))?;
        let (mut known, mut doomed) = (BTreeMap::new(), Vec::new());
        for entry in std::fs::read_dir(&root).map_err(EngineError::io("read", &root))? {
            let entry = entry.map_err(EngineError::io("read", &root))?;
            let dir = entry.path();
            if entry.file_name().to_string_lossy().starts_with(DOOMED) {
                doomed.push(dir);
                continue;
            }
            match VolumeRecord::load(&dir) {
                Ok(record) => {
                    // A removal that was cut short: the volume is there, and empty.
                    let _ = std::fs::create_dir_all(dir.join("_data"));
                    if let Err(error) = fill::settle(&dir) {
                        tracing::error!(volume.name = %record.name, %error, "what an image has for a volume is not all there");
                    }
                    known.insert(record.name.clone(), Entry::of(record));
                }
                // A crash between mkdir and record, or in the middle of writing it: the volume never
                // existed for anyone.
                Err(EngineError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound
                        && is_empty(&dir.join("_data")) =>
                {
                    for left in ["volume.json.new", "volume.json.damaged"] {
                        let _ = std::fs::remove_file(dir.join(left));
                    }
                    let _ = std::fs::remove_dir(dir.join("_data"));
                    let _ = std::fs::remove_dir(&dir);
                }
                Err(error) => {
                    let Some(record) = VolumeRecord::rebuilt(&dir) else {
                        tracing::error!(volume.dir = %dir.display(), %error, "volume left out");
                        continue;
                    };
                    tracing::error!(volume.name = %record.name, %error, "record of a volume cannot be read; the volume is there without its labels and options");
                    known.insert(record.name.clone(), Entry::of(record));
                }
            }
        }
        remove_behind(doomed);
        Ok(Self(Arc::new(Inner {
            root,
            events,
            known: Mutex::new(known),
        })))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.0.root.join(name)
    }

    fn data_dir(&self, name: &str) -> PathBuf {
        self.dir(name).join("_data")
    }

    /// Makes a volume, or returns the one of that name when driver and options are the same.
    ///
    /// # Errors
    /// The name, driver or options are not valid.
    pub async fn create(&self, request: VolumeCreate) -> Result<Volume> {
        let anonymous = request.name.is_empty();
        let volumes = self.clone();
        tokio::task::spawn_blocking(move || volumes.create_now(request, anonymous, None))
            .await
            .map_err(joined)?
    }

    /// As [`Volumes::create`]; `user` holds it from its first moment.
    pub(crate) fn create_now(
        &self,
        request: VolumeCreate,
        anonymous: bool,
        user: Option<&str>,
    ) -> Result<Volume> {
        if !matches!(request.driver.as_str(), "" | "local") {
            return Err(EngineError::not_found(format!(
                "create {1}: error looking up volume plugin {0}: plugin \"{0}\" not found",
                request.driver, request.name
            )));
        }
        let name = if request.name.is_empty() {
            new_hex_id()
        } else {
            request.name
        };
        validate_name(&name)?;
        let options = request.driver_opts.clone().unwrap_or_default();
        options::validate(&name, &options)?;
        let mut known = self.known();
        if let Some(entry) = known.get_mut(&name) {
            if !options.is_empty() && entry.record.options != request.driver_opts {
                return Err(EngineError::conflict(format!(
                    "a volume named \"{name}\" already exists with different options: volume already exists"
                )));
            }
            entry.users.extend(user.map(str::to_owned));
            return Ok(self.view(&entry.record));
        }
        let mut labels = request.labels;
        if anonymous {
            labels
                .get_or_insert_default()
                .insert(ANONYMOUS.to_owned(), String::new());
        }
        let record = VolumeRecord {
            name: name.clone(),
            created: timestamp::text_in_seconds(SystemTime::now()),
            labels,
            options: request.driver_opts.filter(|options| !options.is_empty()),
            ..VolumeRecord::default()
        };
        let data = self.data_dir(&name);
        std::fs::create_dir_all(&data).map_err(EngineError::io("create", &data))?;
        record.save(&self.dir(&name))?;
        let volume = self.view(&record);
        let mut entry = Entry::of(record);
        entry.users.extend(user.map(str::to_owned));
        known.insert(name.clone(), entry);
        drop(known);
        self.event("create", &name, BTreeMap::new());
        Ok(volume)
    }

    /// One volume.
    ///
    /// # Errors
    /// `get x: no such volume`.
    pub async fn inspect(&self, name: &str) -> Result<Volume> {
        match self.known().get(name) {
            Some(entry) => Ok(self.view(&entry.record)),
            None => Err(no_such(name)),
        }
    }

    /// Volumes by name.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn list(&self, filters: &Filters) -> Result<VolumeList> {
        filters.validate(&["dangling", "driver", "label", "name"])?;
        let dangling = filters.flag("dangling")?;
        let known = self.known();
        let wanted = known.values().filter(|entry| {
            dangling.is_none_or(|dangling| dangling == entry.users.is_empty())
                && filters.exact("driver", "local")
                && filters.pattern("name", &entry.record.name)
                && filters.labels("label", entry.labels())
        });
        let volumes = wanted.map(|entry| self.view(&entry.record)).collect();
        Ok(VolumeList {
            volumes: Some(volumes),
            warnings: None,
        })
    }

    /// Volumes with their size and number of users.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub async fn usage(&self) -> Result<Vec<Volume>> {
        let entries: Vec<Entry> = self.known().values().cloned().collect();
        let volumes = self.clone();
        let measure = move || {
            let view = |entry: Entry| {
                let size = bytes_below(&volumes.data_dir(&entry.record.name));
                let usage = UsageData {
                    ref_count: i64::try_from(entry.users.len()).unwrap_or(i64::MAX),
                    size: i64::try_from(size).unwrap_or(i64::MAX),
                };
                Volume {
                    usage_data: Some(usage),
                    ..volumes.view(&entry.record)
                }
            };
            entries.into_iter().map(view).collect()
        };
        tokio::task::spawn_blocking(measure).await.map_err(joined)
    }

    /// Removes a volume; `force` ignores that there is none.
    ///
    /// # Errors
    /// It is in use.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let volumes = self.clone();
        let name = name.to_owned();
        tokio::task::spawn_blocking(move || match volumes.remove_now(&name) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
        .map_err(joined)?
    }

    pub(crate) fn remove_now(&self, name: &str) -> Result<()> {
        let doomed = self.take_out(name)?;
        let removed = std::fs::remove_dir_all(&doomed);
        self.event("destroy", name, BTreeMap::new());
        removed.map_err(EngineError::io("remove", doomed))
    }

    /// Ends a volume that nobody uses. What was in it has another name then: to remove it takes long,
    /// and whoever asks for volumes meanwhile is not to wait. The next start removes what a crash left.
    fn take_out(&self, name: &str) -> Result<PathBuf> {
        let mut known = self.known();
        let entry = known.get(name).ok_or_else(|| no_such(name))?;
        if !entry.users.is_empty() {
            let users: Vec<&str> = entry.users.iter().map(String::as_str).collect();
            return Err(EngineError::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        let (dir, doomed) = (
            self.dir(name),
            self.0.root.join(format!("{DOOMED}{}", new_hex_id())),
        );
        match std::fs::rename(&dir, &doomed) {
            // Somebody removed it by hand.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir(&doomed).map_err(EngineError::io("create", &doomed))?;
            }
            result => result.map_err(EngineError::io("rename", &dir))?,
        }
        known.remove(name);
        Ok(doomed)
    }

    /// Removes unused volumes; only anonymous ones unless the filter `all` is true.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<VolumePrune> {
        filters.validate(&["all", "label", "label!"])?;
        let all = filters.flag("all")?.unwrap_or(false);
        let wanted: Vec<String> = self
            .known()
            .values()
            .filter(|entry| {
                entry.users.is_empty() && (all || entry.labels().contains_key(ANONYMOUS))
            })
            .filter(|entry| {
                filters.labels("label", entry.labels()) && filters.labels_absent(entry.labels())
            })
            .map(|entry| entry.record.name.clone())
            .collect();
        let volumes = self.clone();
        let remove = move || {
            let mut pruned = VolumePrune {
                volumes_deleted: Some(Vec::new()),
                ..VolumePrune::default()
            };
            for name in wanted {
                let size = bytes_below(&volumes.data_dir(&name));
                if volumes.remove_now(&name).is_ok() {
                    pruned.space_reclaimed += size;
                    pruned.volumes_deleted.get_or_insert_default().push(name);
                }
            }
            pruned
        };
        let pruned = tokio::task::spawn_blocking(remove).await.map_err(joined)?;
        let reclaimed =
            BTreeMap::from([("reclaimed".to_owned(), pruned.space_reclaimed.to_string())]);
        self.0.events.publish("volume", "prune", "", reclaimed);
        Ok(pruned)
    }

    /// Counts a container among the users of a volume, when its record is read.
    pub(crate) fn hold(&self, name: &str, container: &str) {
        if let Some(entry) = self.known().get_mut(name) {
            entry.users.insert(container.to_owned());
        }
    }

    /// Counts a container no more.
    pub(crate) fn release(&self, name: &str, container: &str) {
        if let Some(entry) = self.known().get_mut(name) {
            entry.users.remove(container);
        }
    }

    /// Where its content is, and what the kernel is to mount first if the volume has a device.
    pub(crate) fn source(&self, name: &str) -> Result<(PathBuf, Option<KernelMount>)> {
        let known = self.known();
        let entry = known.get(name).ok_or_else(|| no_such(name))?;
        let data = self.data_dir(name);
        let mount = entry
            .record
            .options
            .as_ref()
            .and_then(|options| kernel_mount(options, &data));
        Ok((data, mount))
    }

    /// Publishes `mount` or `unmount`.
    pub(crate) fn event(&self, action: &str, name: &str, mut attributes: BTreeMap<String, String>) {
        attributes.insert("driver".to_owned(), "local".to_owned());
        self.0.events.publish("volume", action, name, attributes);
    }

    fn view(&self, record: &VolumeRecord) -> Volume {
        Volume {
            created_at: record.created.clone(),
            driver: "local".to_owned(),
            labels: record.labels.clone(),
            mountpoint: self.data_dir(&record.name).display().to_string(),
            name: record.name.clone(),
            options: record.options.clone(),
            scope: "local".to_owned(),
            ..Volume::default()
        }
    }
}

impl Entry {
    fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.record.labels.as_ref().unwrap_or(&NONE)
    }
}

fn no_such(name: &str) -> EngineError {
    EngineError::not_found(format!("get {name}: no such volume"))
}

fn joined(error: tokio::task::JoinError) -> EngineError {
    EngineError::refused(ErrorKind::Internal, error.to_string())
}

/// Refuses what could leave the directory of volumes.
pub(crate) fn validate_name(name: &str) -> Result<()> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if name.len() == 1 {
        return Err(EngineError::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    if first && rest {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// Nothing in it, or not there.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none()) || !dir.exists()
}

/// Finishes removals that a crash cut short; nobody waits for them.
fn remove_behind(doomed: Vec<PathBuf>) {
    if doomed.is_empty() {
        return;
    }
    std::thread::spawn(move || {
        for dir in doomed {
            if let Err(error) = std::fs::remove_dir_all(&dir) {
                tracing::warn!(volume.dir = %dir.display(), %error, "what is left of a volume stays");
            }
        }
    });
}

#[cfg(test)]
mod tests;
