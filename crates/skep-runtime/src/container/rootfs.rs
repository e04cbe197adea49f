//! The root file system: overlay or bind, pivot, and what is hidden in it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags};

use super::error::{Context, CreateError, on};
use super::mount_options::propagation;
use super::mounts::{attach, clone_tree};
use super::paths::{Root, Want, host_path, is_device};
use crate::shim::OverlaySpec;
use crate::sys::mount::{attributes, mount, set_attributes};
use crate::sys::proc;

/// Makes `rootfs` a mount of its own, in this process's (new) mount namespace.
pub(crate) fn prepare(
    rootfs: &Path,
    overlay: Option<&OverlaySpec>,
    rootfs_propagation: Option<&str>,
) -> Result<(), CreateError> {
    let kind = match rootfs_propagation.filter(|p| !p.is_empty()) {
        Some(word) => propagation(word).ok_or_else(|| {
            CreateError::Config(format!("rootfsPropagation={word} is not supported"))
        })?,
        None => libc::MS_SLAVE | libc::MS_REC,
    };
    // What is unbindable could not become the container's root; it is made so once it is.
    let kind = match kind & libc::MS_UNBINDABLE {
        0 => kind,
        _ => libc::MS_PRIVATE | (kind & libc::MS_REC),
    };
    // Nothing that is mounted here may reach the host, unless asked for.
    let root = host_path(Path::new("/")).context(|| "open /".into())?;
    set_attributes(
        root.as_fd(),
        kind & libc::MS_REC != 0,
        &attributes(0, 0, kind & !libc::MS_REC),
    )
    .context(|| "set the propagation of /".into())?;
    if kind & libc::MS_SHARED != 0 {
        make_parent_private(rootfs)?;
    }
    match overlay {
        Some(overlay) => {
            mount_overlay(rootfs, overlay).context(on("mount overlay on", rootfs))?;
            match overlay.upper {
                Some(_) => leave_marks(rootfs).context(on("prepare", rootfs)),
                None => Ok(()),
            }
        }
        None => {
            let go = || {
                let fd = host_path(rootfs)?;
                attach(&clone_tree(fd.as_fd(), true)?, &fd)
            };
            go().context(on("bind", rootfs))
        }
    }
}

/// What programs look for in a container of Docker's: `/.dockerenv`, by which they know that they are in
/// one, and `/etc/mtab`.
fn leave_marks(rootfs: &Path) -> io::Result<()> {
    let root = Root::open(rootfs)?;
    root.ensure(Path::new("/.dockerenv"), Want::File)?;
    let etc = match root.ensure(Path::new("/etc"), Want::Directory) {
        // An image may have a link there that leads nowhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        etc => etc?,
    };
    match rustix::fs::symlinkat("/proc/mounts", &etc, "mtab") {
        Err(Errno::EXIST | Errno::NOTDIR) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `pivot_root` refuses a root below a shared mount.
fn make_parent_private(rootfs: &Path) -> Result<(), CreateError> {
    let mounts = proc::mounts().context(|| "read /proc/self/mountinfo".into())?;
    let parent = mounts
        .iter()
        .filter(|m| m.shared && rootfs.starts_with(&m.target))
        .max_by_key(|m| m.target.as_os_str().len());
    if let Some(parent) = parent {
        let go = || {
            set_attributes(
                host_path(&parent.target)?.as_fd(),
                false,
                &attributes(0, 0, libc::MS_PRIVATE),
            )
        };
        go().context(on("make private", &parent.target))?;
    }
    Ok(())
}

fn mount_overlay(target: &Path, overlay: &OverlaySpec) -> io::Result<()> {
    match mount_overlay_by_layers(target, overlay) {
        // Before Linux 6.5 layers could not be given one by one.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => mount(
            Path::new("overlay"),
            target,
            "overlay",
            0,
            &overlay_data(overlay),
        ),
        other => other,
    }
}

/// No limit on the number of layers or the length of their paths.
fn mount_overlay_by_layers(target: &Path, overlay: &OverlaySpec) -> io::Result<()> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, path: &Path| rustix::mount::fsconfig_set_string(fs.as_fd(), key, path);
    for layer in &overlay.lower {
        set("lowerdir+", layer)?;
    }
    if let (Some(upper), Some(work)) = (&overlay.upper, &overlay.work) {
        set("upperdir", upper)?;
        set("workdir", work)?;
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let tree = rustix::mount::fsmount(
        fs.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    attach(&tree, &host_path(target)?)
}

/// The options as one text. Colons part layers, so they are escaped.
fn overlay_data(overlay: &OverlaySpec) -> String {
    let escape = |p: &Path| {
        p.display()
            .to_string()
            .replace('\\', "\\\\")
            .replace(':', "\\:")
            .replace(',', "\\,")
    };
    let lower: Vec<String> = overlay.lower.iter().map(|p| escape(p)).collect();
    let mut data = format!("lowerdir={}", lower.join(":"));
    if let (Some(upper), Some(work)) = (&overlay.upper, &overlay.work) {
        data += &format!(",upperdir={},workdir={}", escape(upper), escape(work));
    }
    data
}

/// Sets the propagation that was asked for on the container's own root, once it is `/`: before that
/// it would be set on what is the host's.
pub(crate) fn propagate_root(rootfs_propagation: Option<&str>) -> Result<(), CreateError> {
    let Some(kind) = rootfs_propagation.and_then(propagation) else {
        return Ok(());
    };
    let root = host_path(Path::new("/")).context(|| "open /".into())?;
    let attr = attributes(0, 0, kind & !libc::MS_REC);
    set_attributes(root.as_fd(), kind & libc::MS_REC != 0, &attr)
        .context(|| "set the propagation of /".into())
}

/// Enters `rootfs` and lets go of everything outside it.
pub(crate) fn pivot(rootfs: &Path) -> Result<(), CreateError> {
    let open = |path: &Path| {
        rustix::fs::open(
            path,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let old = open(Path::new("/")).context(|| "open /".into())?;
    let new = open(rootfs).context(on("open", rootfs))?;
    let go = || -> Result<(), Errno> {
        rustix::process::fchdir(&new)?;
        rustix::process::pivot_root(".", ".")?;
        // The old root now lies over the new one; unmounting it must not reach the host.
        rustix::process::fchdir(&old)?;
        Ok(())
    };
    go().context(on("pivot_root to", rootfs))?;
    let detach = || -> io::Result<()> {
        set_attributes(old.as_fd(), true, &attributes(0, 0, libc::MS_SLAVE))?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    };
    detach().context(|| "leave the host's root".into())
}

/// Makes the root mount read-only.
pub(crate) fn seal() -> Result<(), CreateError> {
    let go = || {
        set_attributes(
            host_path(Path::new("/"))?.as_fd(),
            false,
            &attributes(libc::MOUNT_ATTR_RDONLY, 0, 0),
        )
    };
    go().context(|| "make the root file system read-only".into())
}

/// Hides `paths` of the container: files behind `/dev/null`, directories behind an empty tmpfs.
pub(crate) fn mask(paths: &[String]) -> Result<(), CreateError> {
    if paths.is_empty() {
        return Ok(());
    }
    let null = null_device().context(|| "open /dev/null".into())?;
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let mut go = || -> io::Result<()> {
            let at = match host_path(Path::new(path)) {
                Err(e)
                    if e.kind() == io::ErrorKind::NotFound
                        || e.raw_os_error() == Some(libc::ENOTDIR) =>
                {
                    return Ok(());
                }
                other => other?,
            };
            if !super::paths::is_directory(&at)? {
                return attach(&clone_tree(null.as_fd(), false)?, &at);
            }
            let tree = match &empty {
                Some(tmpfs) => clone_tree(tmpfs.as_fd(), false)?,
                None => empty_tmpfs()?,
            };
            attach(&tree, &at)?;
            empty.get_or_insert(tree);
            Ok(())
        };
        go().context(|| format!("mask path {path:?}"))?;
    }
    Ok(())
}

/// The container's `/dev/null`, when it is what it is called: another file that somebody put there
/// would show itself in the place of what is to be hidden.
fn null_device() -> io::Result<OwnedFd> {
    let null = host_path(Path::new("/dev/null"))?;
    match is_device(&null, 1, 3)? {
        true => Ok(null),
        false => Err(io::Error::other("it is not the null device")),
    }
}

/// One read-only tmpfs serves every hidden directory.
fn empty_tmpfs() -> io::Result<OwnedFd> {
    let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "nr_inodes", "2")?;
    rustix::mount::fsconfig_create(fs.as_fd())?;
    Ok(rustix::mount::fsmount(
        fs.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?)
}

/// Makes `paths` read-only, mounts below them too.
pub(crate) fn protect(paths: &[String]) -> Result<(), CreateError> {
    for path in paths {
        let go = || -> io::Result<()> {
            let at = match host_path(Path::new(path)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            let tree = clone_tree(at.as_fd(), true)?;
            set_attributes(
                tree.as_fd(),
                true,
                &attributes(libc::MOUNT_ATTR_RDONLY, 0, 0),
            )?;
            attach(&tree, &at)
        };
        go().context(|| format!("make {path:?} read-only"))?;
    }
    Ok(())
}

/// The working directory exists, as every runtime sees to.
pub(crate) fn ensure_directory(path: &Path) -> Result<(), CreateError> {
    // While the container is built the process's umask is 0.
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path);
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // On a read-only root the change of directory will say what is wrong.
        Err(e) if e.raw_os_error() == Some(libc::EROFS) => Ok(()),
        other => other.context(on("mkdir", path)),
    }
}

/// Writes `net.ipv4.ip_forward` and the like.
pub(crate) fn set_sysctl(key: &str, value: &str) -> Result<(), CreateError> {
    let path = PathBuf::from("/proc/sys").join(key.replace('.', "/"));
    if CString::new(key).is_err() || key.split(['.', '/']).any(str::is_empty) {
        return Err(CreateError::Config(format!("invalid sysctl {key:?}")));
    }
    let go = || {
        use std::io::Write;
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)?
            .write_all(value.as_bytes())
    };
    go().context(|| format!("open {}", path.display()))
}
