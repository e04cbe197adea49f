//! What is remembered of a container between commands.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::{Global, OciError, on};
use crate::cgroup::{Cgroup, CgroupPaths};
use crate::shim::{load_json, save_json};
use crate::sys::proc;

/// `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub id: String,
    pub pid: i32,
    pub pid_start: u64,
    pub bundle: PathBuf,
    pub cgroup: CgroupPaths,
}

/// A container's directory below the root.
#[derive(Debug)]
pub(super) struct Place {
    pub dir: PathBuf,
}

impl Place {
    pub(super) fn of(global: &Global, id: &str) -> Result<Self, OciError> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if id.is_empty() || id == "." || id == ".." || !id.chars().all(is_good) {
            return Err(OciError::BadId(id.into()));
        }
        Ok(Self {
            dir: global.root.join(id),
        })
    }

    pub(super) fn fifo(&self) -> PathBuf {
        self.dir.join("start.fifo")
    }

    pub(super) fn config(&self) -> Result<Spec, OciError> {
        Ok(load_json(&self.dir.join("config.json"))?)
    }

    pub(super) fn save(&self, state: &State) -> Result<(), OciError> {
        Ok(save_json(&self.dir.join("state.json"), state, false)?)
    }

    pub(super) fn remove(&self) -> Result<(), OciError> {
        fs::remove_dir_all(&self.dir).map_err(on("remove", &self.dir))
    }
}

/// A container that exists.
#[derive(Debug)]
pub(super) struct Known {
    pub place: Place,
    pub state: State,
}

impl Known {
    pub(super) fn load(global: &Global, id: &str) -> Result<Self, OciError> {
        let place = Place::of(global, id)?;
        let path = place.dir.join("state.json");
        if !path.exists() {
            return Err(OciError::NoContainer);
        }
        Ok(Self {
            state: load_json(&path)?,
            place,
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        proc::start_time(self.state.pid) == Some(self.state.pid_start)
    }

    pub(super) fn cgroup(&self) -> Cgroup {
        Cgroup::open(self.state.cgroup.clone())
    }

    /// As the specification names it, with runc's `paused` beside.
    pub(super) fn status(&self) -> &'static str {
        match (self.is_alive(), self.place.fifo().exists()) {
            (false, _) => "stopped",
            (true, true) => "created",
            (true, false) if self.cgroup().is_frozen() => "paused",
            (true, false) => "running",
        }
    }
}

/// Ids of all containers below the root.
pub(super) fn ids(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids
}
