//! Paths inside a root file system that nobody trusts: every link is resolved inside it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A root directory, and paths below it.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
}

/// What should be at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Directory,
    File,
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            fd: rustix::fs::open(path, PLACE | OFlags::DIRECTORY, Mode::empty())?,
        })
    }

    /// The root that a handle stands for.
    pub(crate) fn at(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// A handle (`O_PATH`) of an existing path; links are followed, inside the root.
    pub(crate) fn find(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_with(path, PLACE, ResolveFlags::IN_ROOT)
    }

    /// Like [`Root::find`], refusing links altogether: for places where a link is an attack.
    pub(crate) fn find_plain(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_with(
            path,
            PLACE,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
        )
    }

    fn open_with(
        &self,
        path: &Path,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        loop {
            match rustix::fs::openat2(
                &self.fd,
                path,
                flags,
                Mode::empty(),
                resolve | ResolveFlags::NO_MAGICLINKS,
            ) {
                // A rename elsewhere on the system disturbed the walk.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// Finds `path`, making what is missing.
    pub(crate) fn ensure(&self, path: &Path, want: Want) -> io::Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let mut at = PathBuf::from("/");
        let parts: Vec<_> = path
            .components()
            .filter_map(|c| match c {
                Component::Normal(name) => Some(Ok(name)),
                Component::ParentDir => Some(Err(io::Error::from_raw_os_error(libc::EINVAL))),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
            })
            .collect::<io::Result<_>>()?;
        let mut dir = self.find(&at)?;
        for (i, name) in parts.iter().enumerate() {
            at.push(name);
            dir = match self.find(&at) {
                Ok(found) => found,
                Err(Errno::NOENT) => {
                    let is_last = i + 1 == parts.len();
                    self.make(&dir, name, if is_last { want } else { Want::Directory })?;
                    self.find(&at)?
                }
                Err(e) => return Err(e.into()),
            };
        }
        Ok(dir)
    }

    fn make(&self, dir: &OwnedFd, name: &std::ffi::OsStr, want: Want) -> io::Result<()> {
        let made = match want {
            Want::Directory => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)),
            Want::File => rustix::fs::openat(
                dir,
                name,
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                Mode::from_raw_mode(0o755),
            )
            .map(drop),
        };
        match made {
            // A dangling link is there: its target is not for us to make.
            Err(Errno::EXIST) => Err(io::Error::from_raw_os_error(libc::ENOENT)),
            other => Ok(other?),
        }
    }
}

/// A path by which a handle can be given to system calls that take paths. Needs the host's `/proc`.
pub(crate) fn by_fd(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

pub(crate) fn is_directory(fd: impl AsFd) -> io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Whether a handle is of the character device with these numbers.
pub(crate) fn is_device(fd: impl AsFd, major: u32, minor: u32) -> io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    Ok(kind.is_char_device() && stat.st_rdev == rustix::fs::makedev(major, minor))
}

/// Opens a host path as a handle.
pub(crate) fn host_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, PLACE, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("skep-paths-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn links_never_leave_the_root() {
        let tree = Tree::new("links");
        symlink("/", tree.0.join("up")).unwrap();
        symlink("../../../../../../..", tree.0.join("climb")).unwrap();
        let root = Root::open(&tree.0).unwrap();
        root.ensure(Path::new("/up/climb/made/here"), Want::Directory)
            .unwrap();
        assert!(tree.0.join("made/here").is_dir());
        root.ensure(Path::new("/etc/file"), Want::File).unwrap();
        assert!(tree.0.join("etc/file").is_file());
    }

    #[test]
    fn a_device_is_told_by_its_numbers() {
        let is_null = |path: &str| is_device(host_path(Path::new(path)).unwrap(), 1, 3).unwrap();
        assert!(is_null("/dev/null"));
        assert!(!is_null("/dev/zero") && !is_null("/proc/self/status") && !is_null("/dev"));
    }

    #[test]
    fn a_dangling_link_is_not_followed_to_make_things() {
        let tree = Tree::new("dangling");
        symlink("/nowhere/else", tree.0.join("link")).unwrap();
        let root = Root::open(&tree.0).unwrap();
        assert!(root.ensure(Path::new("/link"), Want::File).is_err());
        assert!(root.find_plain(Path::new("/link")).is_err());
    }
}
