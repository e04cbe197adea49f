//! Where the secrets and configs of tasks lie while their containers run: in memory, never on a disk.
//!
//! An exec root that is a tmpfs already is used as it is. On any other file system one tmpfs is
//! mounted below it when the first file comes, found again by the next daemon after a crash, and
//! unmounted with the last file. Invariant: nothing is written before the place is known to be memory.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use super::{mounts, oci};
use crate::engine::InMemoryFile;
use crate::error::{EngineError, Result};

/// Not in nix; see statfs(2).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// The place and what guards it: files come and the mount goes one after the other.
#[derive(Debug)]
pub(crate) struct MemoryFiles {
    dir: PathBuf,
    turn: Mutex<()>,
}

impl MemoryFiles {
    /// Below this exec root. Touches nothing yet.
    pub(crate) fn new(exec_root: &Path) -> Self {
        Self {
            dir: exec_root.join("files"),
            turn: Mutex::new(()),
        }
    }

    /// Writes the files of a container anew and says where they are to appear in it.
    pub(crate) fn put(&self, id: &str, files: &[InMemoryFile]) -> Result<Vec<oci::BindFile>> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.ensure_memory()?;
        let dir = self.dir.join(id);
        remove_tree(&dir)?;
        make_dir(&dir)?;
        let write = |(number, file): (usize, &InMemoryFile)| {
            let path = dir.join(number.to_string());
            write_file(&path, file)?;
            Ok(oci::BindFile {
                source: path,
                target: mounts::clean(&file.path),
                read_only: true,
            })
        };
        files.iter().enumerate().map(write).collect()
    }

    /// Removes the files of a container, and the mount with the last of all.
    pub(crate) fn forget(&self, id: &str) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = remove_tree(&self.dir.join(id)) {
            tracing::warn!(container.id = %id, %error, "files of a task stay in memory");
        }
        self.unmount_when_empty();
    }

    /// Removes what containers left that are not to be kept: the daemon that had them crashed.
    pub(crate) fn sweep(&self, keep: impl Fn(&str) -> bool) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(&keep) {
                continue;
            }
            if let Err(error) = remove_tree(&entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "files of no container stay in memory");
            }
        }
        self.unmount_when_empty();
    }

    fn ensure_memory(&self) -> Result<()> {
        if !self.dir.exists() {
            make_dir(&self.dir)?;
        }
        if is_memory(&self.dir)? {
            return Ok(());
        }
        // Without swap where the kernel can (6.4 and later): swapped is written to a disk after all.
        let tmpfs = |options: &str| {
            mount(
                Some("skep-files"),
                &self.dir,
                Some("tmpfs"),
                MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
                Some(options),
            )
        };
        match tmpfs("mode=0700,noswap") {
            Err(Errno::EINVAL) => tmpfs("mode=0700"),
            done => done,
        }
        .map_err(|error| EngineError::io("mount a tmpfs on", &self.dir)(error.into()))
    }

    fn unmount_when_empty(&self) {
        let empty = std::fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return;
        }
        // EINVAL: nothing is mounted there, the exec root itself is memory. Detached, because
        // somebody may look into the directory just now; there is nothing in it to lose.
        match umount2(&self.dir, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {
                let _ = std::fs::remove_dir(&self.dir);
            }
            Err(error) => tracing::warn!(%error, "the tmpfs of tasks' files stays mounted"),
        }
    }
}

fn is_memory(dir: &Path) -> Result<bool> {
    let kind = statfs(dir)
        .map_err(|error| EngineError::io("look at", dir)(error.into()))?
        .filesystem_type();
    Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

fn make_dir(dir: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .mode(0o700)
        .create(dir)
        .map_err(EngineError::io("create", dir))
}

fn remove_tree(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

fn write_file(path: &Path, file: &InMemoryFile) -> Result<()> {
    let mut open = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(EngineError::io("create", path))?;
    open.write_all(&file.bytes)
        .map_err(EngineError::io("write", path))?;
    chown(path, Some(file.uid), Some(file.gid)).map_err(EngineError::io("chown", path))?;
    let mode = std::fs::Permissions::from_mode(file.mode & 0o7777);
    std::fs::set_permissions(path, mode).map_err(EngineError::io("chmod", path))
}
