//! What is kept of a container on disk.
//!
//! ```text
//! <data root>/containers/<id>/
//!   container.json   what it was made as; written whole, synced and renamed
//!   state.json       how it fares; renamed but not synced: after a power loss nothing runs anyway
//!   upper/ work/     its writable layer
//!   rootfs/          where the shim mounts it, in the container's own mount namespace
//!   hosts hostname resolv.conf shm/
//!   <id>-json.log    its output
//! ```
//!
//! `<exec root>/containers/<id>` is the bundle that its shim works in.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use skep_objects::api::container::{Config, HostConfig, MountPoint, PortMap};
use skep_objects::api::network::EndpointSettings;

use crate::error::{EngineError, Result};

/// Raised when an older daemon would misread a record.
const VERSION: u32 = 1;

/// What a container was made as. Changes only by rename, update, connect and disconnect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub version: u32,
    pub id: String,
    /// Without leading slash.
    pub name: String,
    pub created: String,
    pub image: String,
    pub image_id: String,
    pub config: Config,
    pub host_config: HostConfig,
    /// By network name: what was asked for, and the id of the network.
    #[serde(default)]
    pub endpoints: BTreeMap<String, EndpointSettings>,
    pub path: String,
    pub args: Vec<String>,
    #[serde(default)]
    pub mounts: Vec<MountRecord>,
    /// Set for a swarm task's container.
    #[serde(default)]
    pub task: Option<TaskRecord>,
    /// Why the record could not be read, if it could not: the container can only be removed.
    #[serde(skip)]
    pub damage: Option<String>,
}

/// The part of a swarm task that outlives the daemon. Secrets are never written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    pub task_id: String,
    pub service_id: String,
    pub service_name: String,
    /// Names of the networks of swarm scope among the endpoints.
    pub swarm_networks: Vec<String>,
    /// Whether it had secrets or configs, without which it cannot be started.
    pub has_files: bool,
}

/// One mount, resolved at create.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    pub point: MountPoint,
    /// A directory or file of the host, or empty for tmpfs.
    pub source: PathBuf,
    /// For a volume: what is below its data directory.
    #[serde(default)]
    pub subpath: String,
    /// Options of the kernel's mount beyond ro and propagation; the whole list for tmpfs.
    #[serde(default)]
    pub options: Vec<String>,
    /// A volume made by nobody's name, removed with `rm -v`.
    #[serde(default)]
    pub anonymous: bool,
    /// A volume that is to be filled from the image when it is empty.
    #[serde(default)]
    pub copy_up: bool,
    /// Bind without what is mounted below.
    #[serde(default)]
    pub non_recursive: bool,
    /// Whether read-only holds for what is mounted below.
    #[serde(default)]
    pub recursive_read_only: bool,
    /// Not shown by `inspect`.
    #[serde(default)]
    pub unlisted: bool,
    /// Lower directories, topmost first, for a mount of type image.
    #[serde(default)]
    pub lower: Vec<PathBuf>,
}

/// How a container fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunState {
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    pub dead: bool,
    pub removing: bool,
    pub oom_killed: bool,
    pub pid: i32,
    pub exit_code: i64,
    pub error: String,
    pub started_at: Option<SystemTime>,
    pub finished_at: Option<SystemTime>,
    /// By the restart policy.
    pub restart_count: i64,
    /// A user stopped it: the restart policy does not start it again.
    pub manually_stopped: bool,
    /// Runs since it was made.
    pub starts: u64,
    /// Ends since it was made.
    pub exits: u64,
    /// The health check's last verdict, so that a restart of the daemon does not take a healthy
    /// container out of rotation.
    pub healthy: bool,
    /// By network name, as they are in the kernel while it runs.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// Id of the network namespace made for it; empty when it shares another's.
    pub netns: String,
    /// Ports as published while it runs.
    pub ports: PortMap,
}

impl Record {
    /// Ids of the images that it mounts.
    pub(crate) fn mounted_images(&self) -> impl Iterator<Item = &String> {
        let mounts = self.mounts.iter();
        mounts.filter_map(|mount| (mount.point.kind == "image").then_some(&mount.point.name))
    }

    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let record: Self = load_json(&dir.join("container.json"))?;
        if record.version > VERSION {
            return Err(EngineError::invalid(format!(
                "record {} is of version {}, this daemon reads up to {VERSION}",
                dir.join("container.json").display(),
                record.version
            )));
        }
        Ok(record)
    }

    /// What stands for a record that cannot be read, so that its container is seen and removed.
    pub(crate) fn damaged(id: &str, error: &EngineError) -> Self {
        Self {
            id: id.to_owned(),
            name: id.chars().take(12).collect(),
            damage: Some(error.to_string()),
            ..Self::default()
        }
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        if let Some(damage) = &self.damage {
            return Err(EngineError::conflict(format!(
                "container {} can only be removed: {damage}",
                self.id
            )));
        }
        let record = Self {
            version: VERSION,
            ..self.clone()
        };
        save_json(&dir.join("container.json"), &record, true)
    }
}

/// Name of the copy of a running container's state in its bundle's directory.
const COPY: &str = "engine.json";

impl RunState {
    /// A state that cannot be read is taken from the copy beside the shim, which a machine that went
    /// down has not: then nothing runs.
    pub(crate) fn load(dir: &Path, bundle: &Path) -> Self {
        match load_json(&dir.join("state.json")) {
            Ok(state) => state,
            Err(error) if error.is_missing_file() => Self::default(),
            Err(error) => match load_json(&bundle.join(COPY)) {
                Ok(state) => {
                    tracing::warn!(%error, "state of a container cannot be read; that of its start is used");
                    state
                }
                Err(_) => {
                    tracing::warn!(%error, "state of a container cannot be read, it counts as not running");
                    Self::default()
                }
            },
        }
    }

    /// What a running container has of networks.
    pub(super) fn network(&self) -> (String, BTreeMap<String, EndpointSettings>, PortMap) {
        (
            self.netns.clone(),
            self.endpoints.clone(),
            self.ports.clone(),
        )
    }

    /// Keeps a copy beside the shim; without it a damaged state costs the container its network.
    pub(super) fn save_copy(&self, bundle: &Path) {
        if let Err(error) = save_json(&bundle.join(COPY), self, false) {
            tracing::debug!(%error, "no copy of a container's state");
        }
    }

    /// With `sync` it is on the disk, also under its name, when this returns.
    pub(crate) fn save(&self, dir: &Path, sync: bool) -> Result<()> {
        let path = dir.join("state.json");
        let is_new = sync && !path.exists();
        save_json(&path, self, sync)?;
        if is_new { sync_dir(dir) } else { Ok(()) }
    }

    /// What decides, after a power loss, whether the container is started with the daemon.
    pub(super) fn wish(&self) -> (bool, bool) {
        (self.starts > 0, self.manually_stopped)
    }

    /// Docker's word for it.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            s if s.removing => "removing",
            s if s.dead => "dead",
            s if s.restarting => "restarting",
            s if s.paused => "paused",
            s if s.running => "running",
            s if s.started_at.is_none() && s.finished_at.is_none() => "created",
            _ => "exited",
        }
    }
}

fn load_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(EngineError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| EngineError::Record {
        path: path.to_owned(),
        source,
    })
}

/// Writes beside the file and renames: a reader finds the old or the new, never a part.
pub(crate) fn save_json<T: Serialize>(path: &Path, value: &T, sync: bool) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|source| EngineError::Record {
        path: path.to_owned(),
        source,
    })?;
    write_atomically(path, &bytes, sync)
}

/// With `sync` the content is on the disk when this returns, and so is the name where it replaces
/// another: a power loss leaves the old or the new. A file that is new may be lost whole with the
/// directory that it lies in, which is what its readers take for an object that never was.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let replaces = sync && path.exists();
    let written = write_and_rename(path, &beside, bytes, sync);
    if written.is_err() {
        // What a full disk refused must not take of the room that is left.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    match path.parent().filter(|_| replaces) {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> Result<()> {
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(EngineError::io("sync", dir))
}

fn write_and_rename(path: &Path, beside: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let mut file = std::fs::File::create(beside).map_err(EngineError::io("create", beside))?;
    file.write_all(bytes)
        .map_err(EngineError::io("write", beside))?;
    if sync {
        file.sync_data().map_err(EngineError::io("sync", beside))?;
    }
    std::fs::rename(beside, path).map_err(EngineError::io("rename", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_later_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("container.json"),
            serde_json::to_vec(&Record {
                version: VERSION + 1,
                ..Record::default()
            })
            .unwrap(),
        )
        .unwrap();
        assert!(
            Record::load(dir.path())
                .unwrap_err()
                .to_string()
                .contains("is of version")
        );
    }

    #[test]
    fn a_torn_state_reads_as_not_running() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state.json"), b"{\"running\":tr").unwrap();
        assert!(!RunState::load(dir.path(), dir.path()).running);
    }
}
