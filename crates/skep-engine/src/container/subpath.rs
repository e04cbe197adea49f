//! A part of a volume, or of an image that is mounted: a path that is looked up within it, where no link
//! can lead out of it. Who holds what was found holds it whatever the names come to mean later.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{EngineError, Result};

/// How skep's own runtime is told of one, among a mount's options: it looks it up when it mounts.
pub(super) fn option(subpath: &str) -> String {
    format!("x-skep.subpath={subpath}")
}

/// Whether a path stays within where it begins, by its words alone.
pub(super) fn is_local(subpath: &str) -> bool {
    let mut depth = 0i32;
    let stays = Path::new(subpath).components().all(|part| {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
        depth >= 0
    });
    stays && !subpath.is_empty()
}

/// A handle of what is at `subpath` of the directory `root`; of `root` itself when it is empty.
pub(super) fn open(root: &Path, subpath: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let base = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|error| EngineError::io("open", root)(error.into()))?;
    if subpath.is_empty() {
        return Ok(base);
    }
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&base, subpath, flags, Mode::empty(), resolve) {
            // A rename elsewhere on the system disturbed the walk.
            Err(Errno::AGAIN) => {}
            Ok(found) => return Ok(found),
            Err(error) => {
                let path = root.join(subpath);
                let path = path.display();
                let why = match error {
                    Errno::NOENT => "no such file or directory".to_owned(),
                    other => io::Error::from(other).to_string(),
                };
                return Err(EngineError::invalid(format!(
                    "cannot access path {path}: lstat {path}: {why}"
                )));
            }
        }
    }
}

/// The same as a path of the host, for a runtime that takes nothing else.
pub(super) fn resolve(root: &Path, subpath: &str) -> Result<PathBuf> {
    let found = open(root, subpath)?;
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    std::fs::read_link(&link).map_err(EngineError::io("read", Path::new(&link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_lead_out_are_told() {
        for local in ["a", "a/b", "a/../b", "./a", "a/.."] {
            assert!(is_local(local), "{local}");
        }
        for not in ["", "/", "/a", "..", "../a", "a/../../b"] {
            assert!(!is_local(not), "{not}");
        }
    }

    #[test]
    fn links_are_followed_within() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("data");
        std::fs::create_dir_all(root.join("etc/here")).unwrap();
        std::os::unix::fs::symlink("/etc/here", root.join("link")).unwrap();
        std::os::unix::fs::symlink("../../..", root.join("climb")).unwrap();
        assert_eq!(resolve(&root, "link").unwrap(), root.join("etc/here"));
        assert_eq!(resolve(&root, "climb").unwrap(), root);
        let error = resolve(&root, "nowhere").unwrap_err().to_string();
        assert!(error.starts_with("cannot access path "), "{error}");
    }
}
