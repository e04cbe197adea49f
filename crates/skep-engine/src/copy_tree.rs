//! Copies a directory's content with owners, modes, times, extended attributes, links and nodes.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid};

use crate::error::{EngineError, Result};

/// Copies what is in `source` to the existing directory `target`, which takes on `source`'s owner and mode.
pub(crate) fn copy_content(source: &Path, target: &Path) -> Result<()> {
    let mut links = HashMap::new();
    copy_dir(source, target, &mut links)
}

type Links = HashMap<(u64, u64), PathBuf>;

fn copy_dir(source: &Path, target: &Path, links: &mut Links) -> Result<()> {
    for entry in std::fs::read_dir(source).map_err(EngineError::io("read", source))? {
        let entry = entry.map_err(EngineError::io("read", source))?;
        copy_entry(&entry.path(), &target.join(entry.file_name()), links)?;
    }
    copy_attributes(source, target)
}

fn copy_entry(source: &Path, target: &Path, links: &mut Links) -> Result<()> {
    let meta = std::fs::symlink_metadata(source).map_err(EngineError::io("stat", source))?;
    let kind = meta.file_type();
    if !meta.is_dir() && meta.nlink() > 1 {
        if let Some(first) = links.get(&(meta.dev(), meta.ino())) {
            return std::fs::hard_link(first, target).map_err(EngineError::io("link", target));
        }
        links.insert((meta.dev(), meta.ino()), target.to_owned());
    }
    if meta.is_dir() {
        std::fs::create_dir(target).map_err(EngineError::io("create", target))?;
        return copy_dir(source, target, links);
    }
    if kind.is_symlink() {
        let to = std::fs::read_link(source).map_err(EngineError::io("read link", source))?;
        std::os::unix::fs::symlink(to, target).map_err(EngineError::io("link", target))?;
    } else if kind.is_file() {
        std::fs::copy(source, target).map_err(EngineError::io("copy", source))?;
    } else if kind.is_socket() {
        return Ok(());
    } else {
        let node = rustix::fs::FileType::from_raw_mode(meta.mode());
        rustix::fs::mknodat(
            CWD,
            target,
            node,
            Mode::from_raw_mode(meta.mode() & 0o7777),
            meta.rdev(),
        )
        .map_err(|error| EngineError::io("make node", target)(error.into()))?;
    }
    set_attributes(source, target, &meta)
}

/// Gives `target` the owner, mode, times and extended attributes of `source`.
pub(crate) fn copy_attributes(source: &Path, target: &Path) -> Result<()> {
    let meta = std::fs::symlink_metadata(source).map_err(EngineError::io("stat", source))?;
    set_attributes(source, target, &meta)
}

fn set_attributes(source: &Path, target: &Path, meta: &std::fs::Metadata) -> Result<()> {
    let fail = |doing: &'static str| {
        move |error: rustix::io::Errno| EngineError::io(doing, target)(error.into())
    };
    let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    rustix::fs::chownat(CWD, target, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(fail("chown"))?;
    copy_xattrs(source, target);
    if !meta.file_type().is_symlink() {
        // After the owner: changing that drops the set-id bits.
        rustix::fs::chmod(target, Mode::from_raw_mode(meta.mode() & 0o7777))
            .map_err(fail("chmod"))?;
    }
    let time = |seconds: i64, nanos: i64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(fail("set times of"))
}

/// Attributes that the target's file system refuses are left out, as `cp -a` does.
fn copy_xattrs(source: &Path, target: &Path) {
    let mut names = vec![0_u8; 4096];
    let Ok(length) = rustix::fs::llistxattr(source, &mut names[..]) else {
        return;
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        if let Ok(length) = rustix::fs::lgetxattr(source, name, &mut value[..]) {
            let _ = rustix::fs::lsetxattr(
                target,
                name,
                &value[..length],
                rustix::fs::XattrFlags::empty(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_links_and_hard_links_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("sub")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("sub/a"), "x").unwrap();
        std::fs::hard_link(from.join("sub/a"), from.join("b")).unwrap();
        std::os::unix::fs::symlink("nowhere", from.join("link")).unwrap();
        rustix::fs::chmod(from.join("sub/a"), Mode::from_raw_mode(0o4751)).unwrap();
        copy_content(&from, &to).unwrap();
        let meta = std::fs::metadata(to.join("sub/a")).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o4751);
        assert_eq!(meta.ino(), std::fs::metadata(to.join("b")).unwrap().ino());
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            Path::new("nowhere")
        );
    }
}
