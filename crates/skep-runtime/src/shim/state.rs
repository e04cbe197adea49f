//! `state.json` and `exit.json`: what outlives the daemon, and the latter the shim too.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ShimError;
use super::spec::files;

/// A running (or created) container, as its shim left it on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimState {
    /// The container's id.
    pub id: String,
    /// The init process, in the daemon's pid namespace.
    pub pid: i32,
    /// Start time of `pid` in clock ticks since boot: with the pid it names a process for ever.
    pub pid_start: u64,
    /// The shim.
    pub shim_pid: i32,
    /// Start time of the shim.
    pub shim_start: u64,
    /// Directories of the container's cgroups, for [`crate::cgroup::Cgroup::open`].
    pub cgroup: crate::cgroup::CgroupPaths,
    /// Nanoseconds since the epoch at which the user's process was let go; `None` while only created.
    pub started_at: Option<i64>,
}

/// How a container, or an exec, ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code as Docker counts: 128 + signal for a killed process.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The kernel's out-of-memory killer struck in this container.
    #[serde(default)]
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub finished_at: i64,
    /// Set when the container was never started or its shim was lost: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ShimState {
    /// Reads `state.json`; `None` when there is none.
    pub fn load(dir: &Path) -> Result<Option<Self>, ShimError> {
        load_optional(&dir.join(files::STATE))
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), ShimError> {
        save_json(&dir.join(files::STATE), self, false)
    }

    /// The container's init process still exists.
    pub fn is_alive(&self) -> bool {
        crate::sys::proc::start_time(self.pid) == Some(self.pid_start)
    }

    /// Sends a signal to the container's init, past its shim; false when it is gone.
    pub fn signal(&self, signal: i32) -> bool {
        self.is_alive() && crate::sys::clone::kill(self.pid, signal).is_ok()
    }

    /// The shim still exists.
    pub fn has_shim(&self) -> bool {
        crate::sys::proc::start_time(self.shim_pid) == Some(self.shim_start)
    }
}

impl ExitRecord {
    /// Reads `exit.json`; `None` when the container has not ended.
    pub fn load(dir: &Path) -> Result<Option<Self>, ShimError> {
        load_optional(&dir.join(files::EXIT))
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), ShimError> {
        save_json(&dir.join(files::EXIT), self, true)
    }
}

pub(crate) fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T, ShimError> {
    let bytes = fs::read(path).map_err(|source| ShimError::File {
        op: "read",
        path: path.into(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| ShimError::Json {
        path: path.into(),
        source,
    })
}

fn load_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ShimError> {
    match load_json(path) {
        Ok(value) => Ok(Some(value)),
        Err(ShimError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Writes beside the file and renames, so that a reader sees the old or the new, never a part.
pub(crate) fn save_json<T: Serialize>(path: &Path, value: &T, sync: bool) -> Result<(), ShimError> {
    let fail = |op, path: PathBuf| move |source| ShimError::File { op, path, source };
    let bytes = serde_json::to_vec(value).map_err(|source| ShimError::Json {
        path: path.into(),
        source,
    })?;
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    let mut file = File::create(&tmp).map_err(fail("create", tmp.clone()))?;
    file.write_all(&bytes).map_err(fail("write", tmp.clone()))?;
    if sync {
        file.sync_all().map_err(fail("sync", tmp.clone()))?;
    }
    fs::rename(&tmp, path).map_err(fail("rename", path.into()))?;
    if let (true, Some(parent)) = (sync, path.parent()) {
        File::open(parent)
            .and_then(|d| d.sync_all())
            .map_err(fail("sync", parent.into()))?;
    }
    Ok(())
}
