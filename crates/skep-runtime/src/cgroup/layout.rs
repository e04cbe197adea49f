//! Which cgroup hierarchies this host has, and where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{CgroupError, CgroupPaths, fail};
use crate::sys::proc::{self, MountInfo};

/// Controllers of version 1. A mount's options hold their names among others.
const V1_CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

/// The hierarchies of this host.
#[derive(Debug, Default)]
pub(super) struct Layout {
    v1: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
}

impl Layout {
    pub(super) fn detect() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        Ok(Self::from_mounts(
            &proc::mounts().map_err(fail("read", path))?,
        ))
    }

    fn from_mounts(mounts: &[MountInfo]) -> Self {
        let mut layout = Self::default();
        for mount in mounts {
            match mount.fs_type.as_str() {
                "cgroup2" => {
                    layout.unified.get_or_insert_with(|| mount.target.clone());
                }
                "cgroup" => {
                    let named = |o: &&str| V1_CONTROLLERS.contains(o) || o.starts_with("name=");
                    for name in mount.super_options.split(',').filter(named) {
                        layout
                            .v1
                            .entry(name.into())
                            .or_insert_with(|| mount.target.clone());
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Where a container with this `cgroupsPath` lives.
    pub(super) fn paths_for(&self, cgroups_path: &Path) -> Result<CgroupPaths, CgroupError> {
        if cgroups_path.components().any(|c| c == Component::ParentDir) {
            return Err(CgroupError::Invalid(format!(
                "cgroupsPath {} leads upwards",
                cgroups_path.display()
            )));
        }
        let own = if cgroups_path.is_absolute() {
            OwnCgroups::default()
        } else {
            OwnCgroups::read()?
        };
        let inside = cgroups_path.strip_prefix("/").unwrap_or(cgroups_path);
        let place = |mount: &Path, own: Option<&PathBuf>| match own {
            Some(own) => mount
                .join(own.strip_prefix("/").unwrap_or(own))
                .join(inside),
            None => mount.join(inside),
        };
        Ok(CgroupPaths {
            v1: self
                .v1
                .iter()
                .map(|(name, mount)| (name.clone(), place(mount, own.0.get(name))))
                .collect(),
            unified: self
                .unified
                .as_deref()
                .map(|mount| place(mount, own.0.get(""))),
        })
    }

    /// The mount point that `dir` is below.
    pub(super) fn root_of(&self, dir: &Path) -> &Path {
        self.v1
            .values()
            .chain(&self.unified)
            .map(PathBuf::as_path)
            .filter(|mount| dir.starts_with(mount))
            .max_by_key(|mount| mount.as_os_str().len())
            .unwrap_or(Path::new("/"))
    }
}

/// Controller (`""` for version 2) to path, from `/proc/self/cgroup`.
#[derive(Default)]
struct OwnCgroups(BTreeMap<String, PathBuf>);

impl OwnCgroups {
    fn read() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/cgroup");
        Ok(Self::parse(
            &fs::read_to_string(path).map_err(fail("read", path))?,
        ))
    }

    fn parse(text: &str) -> Self {
        let mut own = BTreeMap::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            if let (Some(names), Some(path)) = (parts.next(), parts.next()) {
                for name in names.split(',') {
                    own.insert(name.to_owned(), PathBuf::from(path));
                }
            }
        }
        Self(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, target: &str, options: &str) -> MountInfo {
        MountInfo {
            root: "/".into(),
            target: target.into(),
            fs_type: fs_type.into(),
            super_options: options.into(),
            shared: false,
        }
    }

    #[test]
    fn a_hybrid_host_has_every_hierarchy() {
        let layout = Layout::from_mounts(&[
            mount("cgroup", "/c/cpu,cpuacct", "rw,cpu,cpuacct"),
            mount("cgroup", "/c/systemd", "rw,xattr,name=systemd"),
            mount("cgroup2", "/c/unified", "rw,nsdelegate"),
        ]);
        let paths = layout.paths_for(Path::new("/skep/one")).unwrap();
        assert_eq!(paths.controller("cpu"), paths.controller("cpuacct"));
        assert_eq!(
            paths.controller("cpu"),
            Some(Path::new("/c/cpu,cpuacct/skep/one"))
        );
        assert_eq!(
            paths.controller("name=systemd"),
            Some(Path::new("/c/systemd/skep/one"))
        );
        assert_eq!(
            paths.unified.as_deref(),
            Some(Path::new("/c/unified/skep/one"))
        );
        assert_eq!(paths.directories().len(), 3);
        assert!(!paths.is_v2());
    }

    #[test]
    fn named_hierarchies_alone_leave_version_2_in_charge() {
        let layout = Layout::from_mounts(&[
            mount("cgroup2", "/c", "rw"),
            mount("cgroup", "/c/systemd", "rw,name=systemd"),
        ]);
        assert!(layout.paths_for(Path::new("/a")).unwrap().is_v2());
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        assert!(
            Layout::default()
                .paths_for(Path::new("/a/../../b"))
                .is_err()
        );
    }

    #[test]
    fn own_cgroups_are_parsed() {
        let own = OwnCgroups::parse("4:cpu,cpuacct:/x\n0::/y:z\n");
        assert_eq!(own.0["cpuacct"], Path::new("/x"));
        assert_eq!(own.0[""], Path::new("/y:z"));
    }
}
