//! A look into stacked layers without mounting them.
//!
//! Follows symbolic links within the root and minds whiteouts and opaque directories. For a few small
//! files at a start: `/etc/passwd` and the like.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Links followed before giving up.
const MOST_LINKS: usize = 40;

/// Layers of a root file system, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct Layered(Vec<PathBuf>);

impl Layered {
    pub(crate) fn new(layers: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(layers.into_iter().collect())
    }

    /// The content of a file; none when there is no such file.
    pub(crate) fn read_to_string(&self, path: &str) -> Option<String> {
        let real = self.lookup(path)?;
        let meta = std::fs::symlink_metadata(&real).ok()?;
        // Nobody's passwd is longer, and a start is not the time to find out.
        if !meta.is_file() || meta.len() > 8 << 20 {
            return None;
        }
        std::fs::read(real)
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// As [`Layered::lookup`], without following a link at the end.
    pub(crate) fn lookup_no_follow(&self, path: &str) -> Option<PathBuf> {
        let (parent, name) = path.rsplit_once('/')?;
        let mut dirs = self.0.clone();
        for part in parts(Path::new(parent)) {
            dirs = entries(&dirs, Path::new(&part));
        }
        entries(&dirs, Path::new(name)).first().cloned()
    }

    /// Where the topmost entry of this path lies; none when there is none.
    pub(crate) fn lookup(&self, path: &str) -> Option<PathBuf> {
        let mut stack = vec![self.0.clone()];
        let mut todo: VecDeque<OsString> = parts(Path::new(path));
        let mut found = self.0.first().cloned();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                found = stack.last()?.first().cloned();
                continue;
            }
            let dirs = entries(stack.last()?, Path::new(&part));
            let top = dirs.first()?;
            let meta = std::fs::symlink_metadata(top).ok()?;
            if meta.file_type().is_symlink() {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                let target = std::fs::read_link(top).ok()?;
                if target.is_absolute() {
                    stack.truncate(1);
                }
                for part in parts(&target).into_iter().rev() {
                    todo.push_front(part);
                }
                found = stack.last()?.first().cloned();
                continue;
            }
            found = Some(top.clone());
            stack.push(dirs);
        }
        found
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Where `name` lies in the directories that make up one merged directory.
fn entries(dirs: &[PathBuf], name: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in dirs {
        let path = dir.join(name);
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        if whiteout {
            break;
        }
        if !meta.is_dir() {
            if found.is_empty() {
                found.push(path);
            }
            break;
        }
        let opaque = is_opaque(&path);
        found.push(path);
        if opaque {
            break;
        }
    }
    found
}

pub(super) fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value)
        .is_ok_and(|n| n == 1 && value[0] == b'y')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> (tempfile::TempDir, Layered) {
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        std::fs::create_dir_all(upper.join("etc")).unwrap();
        std::fs::create_dir_all(lower.join("etc")).unwrap();
        std::fs::create_dir_all(lower.join("usr/lib")).unwrap();
        let layered = Layered::new([upper, lower]);
        (dir, layered)
    }

    #[test]
    fn the_upper_layer_wins_and_the_lower_shows_through() {
        let (dir, layered) = layers();
        std::fs::write(dir.path().join("lower/etc/passwd"), "lower").unwrap();
        std::fs::write(dir.path().join("lower/etc/group"), "lower").unwrap();
        std::fs::write(dir.path().join("upper/etc/passwd"), "upper").unwrap();
        assert_eq!(
            layered.read_to_string("/etc/passwd").as_deref(),
            Some("upper")
        );
        assert_eq!(
            layered.read_to_string("/etc/group").as_deref(),
            Some("lower")
        );
        assert_eq!(layered.read_to_string("/etc/shadow"), None);
    }

    #[test]
    fn links_stay_within_the_root() {
        let (dir, layered) = layers();
        std::fs::write(dir.path().join("lower/usr/lib/passwd"), "linked").unwrap();
        std::os::unix::fs::symlink("/usr/lib/passwd", dir.path().join("lower/etc/a")).unwrap();
        std::os::unix::fs::symlink("../../../../usr/lib/passwd", dir.path().join("upper/etc/b"))
            .unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("upper/etc/loop")).unwrap();
        assert_eq!(layered.read_to_string("/etc/a").as_deref(), Some("linked"));
        assert_eq!(layered.read_to_string("/etc/b").as_deref(), Some("linked"));
        assert_eq!(layered.read_to_string("/etc/loop"), None);
    }
}
