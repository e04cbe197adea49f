//! Containers: their records, their life, and what can be asked of them.
//!
//! [`Container`] holds one container's record and state; [`Containers`] finds it. The operations are
//! `impl Core` blocks, one file a verb. An operation that changes what a container is holds its
//! `operation` lock ([`operation`] has the rule); the monitor of its shim alone records that it ended.

mod archive;
mod at_rest;
mod attach;
mod cdi;
mod changes;
mod commit;
mod conflicts;
mod connect;
mod create;
mod defaults;
mod detach_keys;
mod endpoints;
mod etc_files;
mod exec;
mod exit;
mod health;
mod inspect;
mod kill;
mod layered;
mod links;
mod list;
mod memory_files;
mod merge;
mod monitor;
mod mounts;
mod name;
mod oci;
mod operation;
mod pause;
mod ports;
mod prune;
mod record;
mod remove;
mod rename;
mod restart;
mod restore;
mod rootfs;
mod shared_memory;
mod shim;
mod shutdown;
mod signal;
mod start;
mod stats;
mod status_text;
mod subpath;
mod tar_entry;
mod top;
mod update;
mod validate;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use skep_objects::ErrorKind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use cdi::Registry as CdiRegistry;
pub(crate) use exec::Execs;
pub(crate) use health::HealthRecord;
pub(crate) use memory_files::MemoryFiles;
pub(crate) use record::{Record, RunState, write_atomically};

use crate::engine::{ContainerStatus, HealthState, InMemoryFile, Phase};
use crate::error::{EngineError, Result};

/// One container.
pub(crate) struct Container {
    pub id: String,
    /// `<data root>/containers/<id>`.
    pub dir: PathBuf,
    /// `<exec root>/containers/<id>`.
    pub bundle: PathBuf,
    /// Held by whatever changes what the container is; see [`operation`].
    operation: tokio::sync::Mutex<()>,
    /// Held while its endpoints change, and while its end takes them down. Nobody waits for the end
    /// while holding it.
    network: tokio::sync::Mutex<()>,
    /// It is being removed by force: what a client sends it need not be waited for.
    going: CancellationToken,
    data: Mutex<Data>,
    live: Mutex<Live>,
    status: watch::Sender<ContainerStatus>,
}

struct Data {
    record: Record,
    state: RunState,
    /// Its directory is being removed: nothing is written there any more.
    closed: bool,
}

/// What is known only while the daemon runs.
#[derive(Default)]
pub(crate) struct Live {
    /// Who attached before the start; they are connected before the program runs.
    pub waiting: Vec<attach::Waiting>,
    /// How many starts there had been when those were connected for the next.
    pub connected: Option<u64>,
    /// Secrets and configs of a task.
    pub files: Vec<InMemoryFile>,
    pub health: Option<HealthRecord>,
    /// Ends the health check and a restart that is waited for.
    pub run: CancellationToken,
    pub backoff: restart::Backoff,
    /// SIGKILLs sent: whoever freezes the container must not keep it from dying.
    pub kills: u64,
    /// It is being restarted: the end in the midst of that does not remove a `--rm` container.
    pub kept: bool,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Container {
    pub(crate) fn new(dir: PathBuf, bundle: PathBuf, record: Record, state: RunState) -> Self {
        let container = Self {
            id: record.id.clone(),
            dir,
            bundle,
            operation: tokio::sync::Mutex::default(),
            network: tokio::sync::Mutex::default(),
            going: CancellationToken::new(),
            data: Mutex::new(Data {
                record,
                state,
                closed: false,
            }),
            live: Mutex::default(),
            status: watch::Sender::default(),
        };
        container.publish();
        container
    }

    pub(crate) fn record(&self) -> Record {
        lock(&self.data).record.clone()
    }

    pub(crate) fn state(&self) -> RunState {
        lock(&self.data).state.clone()
    }

    /// A look at both without copying them.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Record, &RunState) -> T) -> T {
        let data = lock(&self.data);
        look(&data.record, &data.state)
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        lock(&self.live)
    }

    /// Changes the state, keeps it on disk and tells who watches.
    pub(crate) fn change_state<T>(&self, change: impl FnOnce(&mut RunState) -> T) -> Result<T> {
        self.change_state_then(change, || {})
    }

    /// As [`Self::change_state`], where a full disk must not be in the way: what ends or frees something
    /// goes on, and only the next daemon would not know of it.
    pub(crate) fn note_state(&self, change: impl FnOnce(&mut RunState)) {
        if let Err(error) = self.change_state(change) {
            tracing::warn!(container.id = %self.id, %error, "state of a container not written");
        }
    }

    /// As [`Self::change_state`]; `then` runs when the change is seen by who looks, and before who watches is told.
    pub(crate) fn change_state_then<T>(
        &self,
        change: impl FnOnce(&mut RunState) -> T,
        then: impl FnOnce(),
    ) -> Result<T> {
        let (result, saved) = {
            let mut data = lock(&self.data);
            let (before, wish) = (data.state.network(), data.state.wish());
            let result = change(&mut data.state);
            if data.closed {
                (result, Ok(()))
            } else {
                if data.state.running && data.state.network() != before {
                    // What the shim cannot tell, should the state on the disk be damaged.
                    data.state.save_copy(&self.bundle);
                }
                let has_policy = restart::is_set(&data.record.host_config.restart_policy);
                let sync = has_policy && data.state.wish() != wish;
                (result, data.state.save(&self.dir, sync))
            }
        };
        then();
        self.publish();
        saved.map(|()| result)
    }

    /// Changes the record; nothing changes when the disk refuses.
    pub(crate) fn change_record<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Result<T> {
        let mut data = lock(&self.data);
        if data.closed {
            return Err(EngineError::conflict(self.removal_in_progress()));
        }
        let mut record = data.record.clone();
        let result = change(&mut record);
        record.save(&self.dir)?;
        data.record = record;
        Ok(result)
    }

    /// Whether its directory is left alone from now on, since it is being removed.
    fn close(&self, closed: bool) {
        lock(&self.data).closed = closed;
    }

    fn is_closed(&self) -> bool {
        lock(&self.data).closed
    }

    pub(crate) fn watch(&self) -> watch::Receiver<ContainerStatus> {
        self.status.subscribe()
    }

    /// Tells who watches of the present state.
    pub(crate) fn publish(&self) {
        let health = self
            .live()
            .health
            .as_ref()
            .map_or(HealthState::None, |health| health.status);
        let next = self.with(|_, state| ContainerStatus {
            phase: phase(state),
            pid: state.pid,
            exit_code: state.exit_code,
            oom_killed: state.oom_killed,
            error: state.error.clone(),
            health: if state.running {
                health
            } else {
                HealthState::None
            },
            starts: state.starts,
            exits: state.exits,
        });
        self.status.send_if_modified(|now| {
            let changed = *now != next && now.phase != Phase::Removed;
            if changed {
                *now = next;
            }
            changed
        });
    }

    /// Tells who watches that there is no such container any more.
    pub(crate) fn publish_removed(&self) {
        self.status.send_modify(|now| now.phase = Phase::Removed);
    }

    /// Labels, image and name, which every event of a container carries.
    pub(crate) fn event_attributes(&self) -> BTreeMap<String, String> {
        self.with(|record, _| {
            let mut attributes = record.config.labels.clone().unwrap_or_default();
            attributes.insert("image".to_owned(), record.config.image.clone());
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        })
    }

    pub(crate) fn refuse_unless_running(&self) -> Result<()> {
        let state = self.state();
        if !state.running {
            return Err(self.not_running());
        }
        if state.restarting {
            return Err(EngineError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                self.id
            )));
        }
        if state.paused {
            return Err(EngineError::conflict(format!(
                "Container {} is paused, unpause the container before exec",
                self.id
            )));
        }
        Ok(())
    }
}

fn phase(state: &RunState) -> Phase {
    match state.status() {
        // Who waits for its end waits on while it is being killed.
        "removing" if state.running => Phase::Running,
        "removing" => Phase::Removing,
        "dead" => Phase::Dead,
        "restarting" => Phase::Restarting,
        "paused" => Phase::Paused,
        "running" => Phase::Running,
        "created" => Phase::Created,
        _ => Phase::Exited,
    }
}

/// All containers, found by id, name, or the unique beginning of an id.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    index: RwLock<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name to id; a name is taken before its container exists.
    names: HashMap<String, String>,
}

impl Containers {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Container>> {
        let index = self.read();
        let bare = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(container) = index.by_id.get(bare) {
            return Ok(container.clone());
        }
        if let Some(container) = index.names.get(bare).and_then(|id| index.by_id.get(id)) {
            return Ok(container.clone());
        }
        if bare.is_empty() {
            return Err(EngineError::no_container(reference));
        }
        let mut matches = index
            .by_id
            .range(bare.to_owned()..)
            .take_while(|(id, _)| id.starts_with(bare));
        match (matches.next(), matches.next()) {
            (Some((_, container)), None) => Ok(container.clone()),
            (Some(_), Some(_)) => Err(EngineError::invalid(format!(
                "Multiple IDs found with provided prefix: {bare}"
            ))),
            (None, _) => Err(EngineError::no_container(reference)),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.read().by_id.get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.read().by_id.values().cloned().collect()
    }

    /// Takes `name` for `id`.
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut index = self.write();
        if let Some(owner) = index.names.get(name) {
            return Err(EngineError::refused(
                ErrorKind::Conflict,
                format!(
                    "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
                     You have to remove (or rename) that container to be able to reuse that name."
                ),
            ));
        }
        index.names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Gives `name` back if it is `id`'s.
    pub(crate) fn release(&self, name: &str, id: &str) {
        let mut index = self.write();
        if index.names.get(name).is_some_and(|owner| owner == id) {
            index.names.remove(name);
        }
    }

    pub(crate) fn insert(&self, container: Arc<Container>) {
        self.write().by_id.insert(container.id.clone(), container);
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut index = self.write();
        index.by_id.remove(id);
        index.names.retain(|_, owner| owner != id);
    }
}

/// Seconds between two times; zero when the clock went back.
fn seconds_between(from: Option<SystemTime>, to: SystemTime) -> u64 {
    from.and_then(|from| to.duration_since(from).ok())
        .map_or(0, |d| d.as_secs())
}
