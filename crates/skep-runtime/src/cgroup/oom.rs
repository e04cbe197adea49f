//! Word of the out-of-memory killer as it strikes.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use super::CgroupPaths;

/// Becomes readable when memory ran out in a container.
#[derive(Debug)]
pub(crate) struct OomWatch {
    fd: OwnedFd,
    is_v2: bool,
}

impl OomWatch {
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes what is there. Version 2 tells every change of `memory.events`, which need not be a kill.
    pub(crate) fn is_certain(&self) -> bool {
        let mut buffer = [0; 1024];
        let got = rustix::io::read(&self.fd, &mut buffer).unwrap_or(0);
        got > 0 && !self.is_v2
    }
}

/// `None` where the kernel does not tell.
pub(super) fn watch(paths: &CgroupPaths) -> Option<OomWatch> {
    match (paths.v2(), paths.controller("memory")) {
        (Some(dir), _) => watch_v2(dir).ok().map(|fd| OomWatch { fd, is_v2: true }),
        (None, Some(dir)) => watch_v1(dir).ok().map(|fd| OomWatch { fd, is_v2: false }),
        (None, None) => None,
    }
}

fn watch_v1(dir: &Path) -> io::Result<OwnedFd> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = File::open(dir.join("memory.oom_control"))?;
    fs::write(
        dir.join("cgroup.event_control"),
        format!("{} {}", fd.as_raw_fd(), control.as_raw_fd()),
    )?;
    Ok(fd)
}

fn watch_v2(dir: &Path) -> io::Result<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, dir.join("memory.events"), inotify::WatchFlags::MODIFY)?;
    Ok(fd)
}
