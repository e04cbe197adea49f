//! A container's cgroups: version 1 (one directory a controller), version 2, and hybrids of both.

mod device_rules;
mod freezer;
mod layout;
mod oom;
mod stats;
mod v1;
mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
pub(crate) use oom::OomWatch;
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

impl CgroupPaths {
    /// Each directory once; controllers mounted together share one.
    fn directories(&self) -> BTreeSet<&Path> {
        self.v1
            .values()
            .chain(&self.unified)
            .map(PathBuf::as_path)
            .collect()
    }

    /// The version 1 directory of a controller.
    fn controller(&self, name: &str) -> Option<&Path> {
        self.v1.get(name).map(PathBuf::as_path)
    }

    /// The unified hierarchy holds the controllers.
    fn is_v2(&self) -> bool {
        self.unified.is_some() && self.v1.keys().all(|name| name.starts_with("name="))
    }

    /// The version 2 directory, if that is where the controllers are.
    fn v2(&self) -> Option<&Path> {
        self.unified.as_deref().filter(|_| self.is_v2())
    }
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
    /// A resource cannot be set as asked.
    #[error("{0}")]
    Invalid(String),
    /// The device filter of a version 2 cgroup.
    #[error("attach device filter to {}: {source}", path.display())]
    DeviceFilter {
        /// The cgroup.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
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

    /// The cgroups which a container with this `cgroupsPath` has, made or not.
    pub(crate) fn at(cgroups_path: &Path) -> Result<Self, CgroupError> {
        Ok(Self {
            paths: layout::Layout::detect()?.paths_for(cgroups_path)?,
        })
    }

    /// Makes the directories for `cgroups_path` in every hierarchy of this host.
    ///
    /// An absolute path counts from the root of each hierarchy; a relative one from this process's
    /// own cgroup there.
    pub(crate) fn create(cgroups_path: &Path) -> Result<Self, CgroupError> {
        let layout = layout::Layout::detect()?;
        let group = Self {
            paths: layout.paths_for(cgroups_path)?,
        };
        for dir in group.paths.directories() {
            fs::create_dir_all(dir).map_err(fail("create", dir))?;
        }
        for (controller, dir) in &group.paths.v1 {
            if controller == "cpuset" {
                v1::fill_cpuset(dir, layout.root_of(dir))?;
            }
        }
        if let Some(dir) = group.paths.v2() {
            v2::enable_controllers(dir, layout.root_of(dir))?;
        }
        Ok(group)
    }

    /// Where they are.
    pub fn paths(&self) -> &CgroupPaths {
        &self.paths
    }

    /// Sets every limit that `resources` names; the others stay.
    pub fn apply(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        match self.paths.v2() {
            Some(dir) => v2::apply(dir, resources),
            None => v1::apply(&self.paths, resources),
        }
    }

    /// Moves a process here, in every hierarchy.
    pub(crate) fn add(&self, pid: i32) -> Result<(), CgroupError> {
        for dir in self.paths.directories() {
            write(&dir.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Stops every process, and returns once they stand still. Blocks for milliseconds.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        freezer::freeze(&self.paths)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        freezer::thaw(&self.paths)
    }

    /// Whether the processes stand still.
    pub fn is_frozen(&self) -> bool {
        freezer::is_frozen(&self.paths)
    }

    /// Reads the consumption.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        stats::read(&self.paths)
    }

    /// How often the out-of-memory killer has struck here; 0 where the kernel does not tell.
    pub fn oom_kills(&self) -> u64 {
        stats::oom_kills(&self.paths)
    }

    /// Word of the out-of-memory killer as it strikes, where the kernel tells.
    pub(crate) fn watch_oom(&self) -> Option<OomWatch> {
        oom::watch(&self.paths)
    }

    /// Processes of the container, as pids of the caller's namespace.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let Some(dir) = self.any_directory() else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        collect_pids(dir, &mut pids).map_err(fail("read processes of", dir))?;
        Ok(pids)
    }

    /// One directory that tells the members.
    fn any_directory(&self) -> Option<&Path> {
        self.paths
            .controller("freezer")
            .or_else(|| self.paths.controller("pids"))
            .or(self.paths.unified.as_deref())
            .or_else(|| self.paths.directories().into_iter().next())
    }

    /// Kills every process that is still here and removes the directories. Waits up to `patience`
    /// for the dying. Gone already counts as done.
    pub(crate) fn destroy(&self, patience: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + patience;
        let mut result = Ok(());
        for dir in self.paths.directories() {
            result = result.and(self.remove_directory(dir, deadline));
        }
        result
    }

    fn remove_directory(&self, dir: &Path, deadline: Instant) -> Result<(), CgroupError> {
        let mut pause = Duration::from_micros(100);
        loop {
            match remove_tree(dir) {
                Ok(()) => return Ok(()),
                Err(source)
                    if source.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
                {
                    self.kill_all();
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(source) => return Err(fail("remove", dir)(source)),
            }
        }
    }

    /// Sends SIGKILL to every process here.
    pub(crate) fn kill_all(&self) {
        if let Some(unified) = &self.paths.unified
            && fs::write(unified.join("cgroup.kill"), "1").is_ok()
            && !freezer::is_frozen(&self.paths)
        {
            return;
        }
        for pid in self.pids().unwrap_or_default() {
            // Gone meanwhile is what was wanted.
            let _ = crate::sys::clone::kill(pid, libc::SIGKILL);
        }
        // A frozen version 1 process dies only when thawed.
        let _ = self.thaw();
    }
}

/// Removes the cgroup `cgroups_path` (a parent of containers' ones) from every hierarchy, if nothing is
/// left in it. For the daemon's last deed.
pub fn remove_empty(cgroups_path: &Path) -> Result<(), CgroupError> {
    let paths = layout::Layout::detect()?.paths_for(cgroups_path)?;
    for dir in paths.directories() {
        match fs::remove_dir(dir) {
            Err(e)
                if !matches!(
                    e.raw_os_error(),
                    Some(libc::ENOENT | libc::EBUSY | libc::ENOTEMPTY)
                ) =>
            {
                return Err(fail("remove", dir)(e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn collect_pids(dir: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = match fs::read_to_string(dir.join("cgroup.procs")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .filter(|pid| *pid > 0),
    );
    for child in subdirectories(dir)? {
        collect_pids(&child, pids)?;
    }
    Ok(())
}

fn subdirectories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Children first: the container may have made cgroups of its own.
fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for child in subdirectories(dir)? {
        remove_tree(&child)?;
    }
    fs::remove_dir(dir)
}

fn fail<'a>(op: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CgroupError + 'a {
    move |source| CgroupError::File {
        op,
        path: path.into(),
        source,
    }
}

/// One write is one command to the kernel.
fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let go = || {
        use std::io::Write;
        fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(value.as_bytes())
    };
    go().map_err(fail("write", path))
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .map_err(fail("read", path))
}
