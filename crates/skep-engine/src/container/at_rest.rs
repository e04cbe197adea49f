//! The mounts of a container that does not run, for `docker cp`: what is copied to `/data` of a container
//! with a volume there is to be in the volume, also before the container was ever started.
//!
//! They are put into the root by the thread that looks into it, in its own mount namespace, and go with it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::Container;
use super::record::MountRecord;
use super::rootfs::RootView;
use super::subpath;
use crate::core::Core;
use crate::error::{EngineError, Result};

/// A directory or file of the host, and its place in the root.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    source: PathBuf,
    /// What of it, looked up within it.
    subpath: String,
    target: String,
    is_read_only: bool,
}

impl Core {
    /// A stopped container's root to read from, its mounts included.
    pub(super) fn rest_to_read(&self, container: &Container) -> Result<RootView> {
        let root = RootView::ReadOnly(self.layers(container)?);
        self.with_bound(container, root)
    }

    /// `root` with what is mounted in it.
    pub(super) fn with_bound(&self, container: &Container, root: RootView) -> Result<RootView> {
        let mounts = container.with(|record, _| record.mounts.clone());
        let bound = mounts
            .iter()
            .filter_map(|mount| self.bound(mount).transpose())
            .collect::<Result<Vec<_>>>()?;
        Ok(match bound.is_empty() {
            true => root,
            false => RootView::WithMounts(Box::new(root), bound),
        })
    }

    /// What lies behind a mount without the container; what is in memory only has nothing then.
    fn bound(&self, mount: &MountRecord) -> Result<Option<Bound>> {
        let source = match mount.point.kind.as_str() {
            "bind" => mount.source.clone(),
            "volume" => match self.volumes.source(&mount.point.name)? {
                (data, None) => data,
                (_, Some(device)) if device.kind == "bind" => device.source,
                (_, Some(_)) => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(source.exists().then(|| Bound {
            source,
            subpath: mount.subpath.clone(),
            target: mount.point.destination.clone(),
            is_read_only: !mount.point.rw,
        }))
    }
}

/// A mount that is nowhere yet.
pub(super) struct Detached<'a> {
    tree: OwnedFd,
    bound: &'a Bound,
}

/// Takes hold of the sources, while they are still to be seen.
pub(super) fn detach(bound: &[Bound]) -> Result<Vec<Detached<'_>>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let mut mounts = Vec::with_capacity(bound.len());
    for bound in bound {
        let source = subpath::open(&bound.source, &bound.subpath)?;
        let tree = open_tree(&source, "", flags).map_err(|error| EngineError::Io {
            doing: "bind",
            path: bound.source.clone(),
            source: error.into(),
        })?;
        mounts.push(Detached { tree, bound });
    }
    Ok(mounts)
}

/// Puts them in place, in the root that the thread has: a link cannot lead out of it.
pub(super) fn attach(mounts: Vec<Detached<'_>>) -> Result<()> {
    let mut read_only = Vec::new();
    for Detached { tree, bound } in mounts {
        let target = Path::new(&bound.target);
        let fail = |doing: &'static str| EngineError::io(doing, target);
        let is_dir = rustix::fs::fstat(&tree)
            .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
            .map_err(|error| fail("bind")(error.into()))?;
        make_place(target, is_dir).map_err(fail("create"))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        move_mount(&tree, "", CWD, target, flags).map_err(|error| fail("mount")(error.into()))?;
        read_only.extend(bound.is_read_only.then_some(target));
    }
    // Last: what is mounted within one of them has had its place made there.
    for target in read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
            .map_err(|error| EngineError::io("make read-only", target)(error.into()))?;
    }
    Ok(())
}

fn make_place(target: &Path, is_dir: bool) -> std::io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    if is_dir {
        return std::fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create(target).map(drop)
}

/// Mounts a root to read from where places for mounts can be made: what is written goes to memory.
pub(super) fn mount_with_places(layers: &str, scratch: &Path) -> Result<PathBuf> {
    let fail = |source: nix::Error| EngineError::Io {
        doing: "mount",
        path: scratch.to_owned(),
        source: source.into(),
    };
    let none = None::<&str>;
    mount(
        Some("tmpfs"),
        scratch,
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .map_err(fail)?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| scratch.join(name));
    for dir in [&upper, &work, &root] {
        std::fs::create_dir(dir).map_err(EngineError::io("create", dir))?;
    }
    let options = format!(
        "lowerdir={layers},upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    let overlay = Some("overlay");
    mount(
        overlay,
        &root,
        overlay,
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(fail)?;
    Ok(root)
}
