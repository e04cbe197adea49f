//! The program that shims are made from, out of a container's reach.
//!
//! A container's processes see, for a moment, the shim's fork that becomes one of them, and through
//! `/proc/PID/exe` the program's file on the host. Seen through a read-only mount it can neither be
//! written nor change its mode (CVE-2019-5736 and its kin).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;

use crate::sys::mount::{attributes, set_attributes};

/// A handle of the program, kept as long as shims may be spawned.
#[derive(Debug)]
pub(super) struct Program {
    _mount: Option<OwnedFd>,
    path: PathBuf,
}

impl Program {
    /// Seals `path` behind a read-only mount that exists nowhere but in this handle. Where that is not
    /// permitted, the path is used as it is.
    pub(super) fn seal(path: &Path) -> Self {
        match mount(path) {
            Ok(fd) => Self {
                path: format!("/proc/self/fd/{}", fd.as_raw_fd()).into(),
                _mount: Some(fd),
            },
            Err(_) => Self {
                _mount: None,
                path: path.into(),
            },
        }
    }

    /// What to execute. Valid in this process only.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn mount(path: &Path) -> io::Result<OwnedFd> {
    let file = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&file, "", flags)?;
    set_attributes(
        tree.as_fd(),
        false,
        &attributes(libc::MOUNT_ATTR_RDONLY, 0, 0),
    )?;
    Ok(tree)
}
