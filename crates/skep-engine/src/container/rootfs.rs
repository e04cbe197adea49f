//! A container's root file system from the outside: mounted for a moment where nobody sees it.
//!
//! A thread of its own enters a mount namespace of its own, mounts, works and ends; the kernel
//! unmounts with the namespace. Nothing appears in the host's mount table and nothing can be left.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::at_rest::{self, Bound};
use super::record::Record;
use super::{Container, mounts};
use crate::core::Core;
use crate::error::{EngineError, Result};

/// Where a root file system is to be had.
#[derive(Debug, Clone)]
pub(crate) enum RootView {
    /// Layers, topmost first, read only: the writable layer is one of them. Any number of readers.
    ReadOnly(Vec<PathBuf>),
    /// With the writable layer: one at a time, and only while the container is stopped.
    Writable { lower: Vec<PathBuf>, dir: PathBuf },
    /// A running container's own, with its mounts.
    Running(i32),
    /// One of the first two with the container's mounts in it.
    WithMounts(Box<RootView>, Vec<Bound>),
}

impl Core {
    /// How a container's files are read now.
    pub(crate) fn view_to_read(&self, container: &Container) -> Result<RootView> {
        let state = container.state();
        if state.running && state.pid > 0 {
            return Ok(RootView::Running(state.pid));
        }
        self.rest_to_read(container)
    }

    /// The writable layer and those of the image, topmost first.
    pub(crate) fn layers(&self, container: &Container) -> Result<Vec<PathBuf>> {
        let mut layers = vec![container.dir.join("upper")];
        layers.extend(
            self.images
                .by_id(&container.with(|record, _| record.image_id.clone()))?
                .lower,
        );
        Ok(layers)
    }
}

/// Runs `work` with the path of the root file system. Blocks.
///
/// For a root that is mounted the thread's own mount namespace is the only place where it is seen.
pub(crate) fn with_root<T: Send>(
    view: &RootView,
    scratch: &Path,
    work: impl FnOnce(&Path) -> Result<T> + Send,
) -> Result<T> {
    let (options, read_only) = match view {
        RootView::Running(pid) => return work(&PathBuf::from(format!("/proc/{pid}/root"))),
        RootView::ReadOnly(layers) => (format!("lowerdir={}", joined(layers)), true),
        RootView::Writable { lower, dir } => (
            format!(
                "lowerdir={},upperdir={},workdir={}",
                joined(lower),
                dir.join("upper").display(),
                dir.join("work").display()
            ),
            false,
        ),
        RootView::WithMounts(root, _) => return with_root(root, scratch, work),
    };
    own_thread(|| {
        enter_private_namespace(scratch)?;
        let fail = |source: nix::Error| EngineError::Io {
            doing: "mount",
            path: scratch.to_owned(),
            source: source.into(),
        };
        let flags = if read_only {
            MsFlags::MS_RDONLY
        } else {
            MsFlags::empty()
        };
        match view {
            // Overlayfs wants two layers at least; one is bound as it is.
            RootView::ReadOnly(layers) if layers.len() == 1 => {
                mount(
                    Some(&layers[0]),
                    scratch,
                    None::<&str>,
                    MsFlags::MS_BIND,
                    None::<&str>,
                )
                .map_err(fail)?;
            }
            _ => mount(
                Some("overlay"),
                scratch,
                Some("overlay"),
                flags,
                Some(options.as_str()),
            )
            .map_err(fail)?,
        }
        work(scratch)
    })
}

/// As [`with_root`], with the container's root as the thread's own: no path leads outside.
pub(crate) fn with_root_as_root<T: Send>(
    view: &RootView,
    scratch: &Path,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let bound = match view {
        RootView::WithMounts(_, bound) => bound.as_slice(),
        _ => &[],
    };
    let confined = |root: &Path| {
        let mounts = at_rest::detach(bound)?;
        let fail = |doing: &'static str| {
            let root = root.to_owned();
            move |source: nix::Error| EngineError::Io {
                doing,
                path: root,
                source: source.into(),
            }
        };
        nix::unistd::chroot(root).map_err(fail("enter"))?;
        nix::unistd::chdir("/").map_err(fail("enter"))?;
        at_rest::attach(mounts)?;
        work()
    };
    if let RootView::Running(pid) = view {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        return own_thread(|| {
            let fail = |source: nix::Error| EngineError::Io {
                doing: "leave the root for",
                path: root.clone(),
                source: source.into(),
            };
            unshare(CloneFlags::CLONE_FS).map_err(fail)?;
            confined(&root)
        });
    }
    if let RootView::WithMounts(root, _) = view
        && let RootView::ReadOnly(layers) = &**root
    {
        return own_thread(|| {
            enter_private_namespace(scratch)?;
            confined(&at_rest::mount_with_places(&joined(layers), scratch)?)
        });
    }
    with_root(view, scratch, confined)
}

/// Runs `work` with a directory as the thread's root.
pub(super) fn with_dir_as_root<T: Send>(
    dir: &Path,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    own_thread(|| {
        let fail = |source: nix::Error| EngineError::Io {
            doing: "enter",
            path: dir.to_owned(),
            source: source.into(),
        };
        unshare(CloneFlags::CLONE_FS).map_err(fail)?;
        nix::unistd::chroot(dir).map_err(fail)?;
        nix::unistd::chdir("/").map_err(fail)?;
        work()
    })
}

/// A thread that may change its root and namespaces, since it ends with the work.
fn own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|_| {
            Err(EngineError::refused(
                skep_objects::ErrorKind::Internal,
                "a thread at work in a root file system ended early",
            ))
        })
    })
}

fn joined(layers: &[PathBuf]) -> String {
    layers
        .iter()
        .map(|layer| layer.display().to_string())
        .collect::<Vec<_>>()
        .join(":")
}

fn enter_private_namespace(at: &Path) -> Result<()> {
    let fail = |doing: &'static str| {
        move |source: nix::Error| EngineError::Io {
            doing,
            path: at.to_owned(),
            source: source.into(),
        }
    };
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)
        .map_err(fail("leave the mount namespace for"))?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(fail("make mounts private for"))
}

/// Fills new, empty volumes with what the image has at their place.
pub(crate) fn copy_up(core: &Core, record: &Record) -> Result<()> {
    let wanted: Vec<_> = record
        .mounts
        .iter()
        .filter(|mount| mount.copy_up && mount.point.kind == "volume")
        .map(|mount| Ok((mount, core.volumes.source(&mount.point.name)?)))
        .collect::<Result<Vec<_>>>()?;
    // A file system in memory, or one of another machine, is mounted by who starts the container.
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter_map(|(mount, (data, device))| match device {
            None => Some((mount, Target::Volume(data))),
            Some(device) if device.kind == "bind" => Some((mount, Target::Device(device.source))),
            Some(_) => None,
        })
        .filter(|(_, target)| is_empty(target.dir()))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let lower = core.images.by_id(&record.image_id)?.lower;
    let layered = super::layered::Layered::new(lower.clone());
    let present: Vec<_> = wanted
        .into_iter()
        .filter(|(mount, _)| {
            layered
                .lookup(&mount.point.destination)
                .is_some_and(|path| path.is_dir())
        })
        .collect();
    if present.is_empty() {
        return Ok(());
    }
    let scratch = core
        .config
        .data_root
        .join("containers")
        .join(&record.id)
        .join("rootfs");
    with_root(&RootView::ReadOnly(lower), &scratch, |root| {
        let fail = |error: rustix::io::Errno| EngineError::io("open", root)(error.into());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(root, flags, Mode::empty()).map_err(fail)?;
        for (mount, target) in present {
            // The image's links lead to places of the image, never to the host's.
            let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let place = mounts::clean(&mount.point.destination);
            let dir = rustix::fs::openat2(&top, place.as_str(), flags, Mode::empty(), within)
                .map_err(fail)?;
            // The dot: what is looked at is the directory, not the link to it that /proc has.
            let source = PathBuf::from(format!("/proc/self/fd/{}/.", dir.as_raw_fd()));
            match target {
                Target::Volume(_) => core.volumes.fill(&mount.point.name, |into| {
                    crate::copy_tree::copy_content(&source, into)
                })?,
                Target::Device(device) => crate::copy_tree::copy_content(&source, &device)?,
            }
        }
        Ok(())
    })
}

/// What is filled from an image.
enum Target {
    Volume(PathBuf),
    /// A directory of the host that a volume stands for.
    Device(PathBuf),
}

impl Target {
    fn dir(&self) -> &Path {
        match self {
            Self::Volume(dir) | Self::Device(dir) => dir,
        }
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
