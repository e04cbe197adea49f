//! `/dev/shm` of a container that lets others join it: a tmpfs in its bundle, of the size that was
//! asked for, which is gone when the container has ended.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use crate::error::{EngineError, Result};

/// Where it is, whether mounted or not.
pub(super) fn place(bundle: &Path) -> PathBuf {
    bundle.join("shm")
}

/// Mounts it in a fresh bundle.
pub(super) fn mount(bundle: &Path, size_bytes: i64) -> Result<PathBuf> {
    let dir = place(bundle);
    std::fs::create_dir(&dir).map_err(EngineError::io("create", &dir))?;
    let options = format!("mode=1777,size={size_bytes}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("shm"), &dir, Some("tmpfs"), flags, Some(&*options))
        .map_err(|error| EngineError::io("mount a tmpfs on", &dir)(error.into()))?;
    Ok(dir)
}

/// Unmounts it if there is one. Who joined keeps it; the copies that mount namespaces of other
/// containers have of it go with its directory.
pub(super) fn unmount(bundle: &Path) {
    let dir = place(bundle);
    match umount2(&dir, MntFlags::MNT_DETACH) {
        // EINVAL: it is no mount, as in the bundles of an older version.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {
            let _ = std::fs::remove_dir(&dir);
        }
        Err(error) => {
            tracing::warn!(path = %dir.display(), %error, "shared memory stays mounted");
        }
    }
}

/// Removes a bundle and what is mounted in it.
pub(super) fn remove_bundle(bundle: &Path) -> std::io::Result<()> {
    unmount(bundle);
    std::fs::remove_dir_all(bundle)
}
