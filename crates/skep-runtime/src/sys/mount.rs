//! `mount_setattr(2)`, and a C-string form of `mount(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The kernel's `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// `MOUNT_ATTR_…` to set.
    pub set: u64,
    /// To clear.
    pub clear: u64,
    /// `MS_PRIVATE` and the like, or 0.
    pub propagation: u64,
    userns_fd: u64,
}

pub(crate) fn attributes(set: u64, clear: u64, propagation: u64) -> MountAttr {
    MountAttr {
        set,
        clear,
        propagation,
        userns_fd: 0,
    }
}

/// Shows owners as the user namespace behind `mapping` maps them.
pub(crate) fn map_ids(mapping: BorrowedFd<'_>) -> MountAttr {
    MountAttr {
        userns_fd: u64::try_from(mapping.as_raw_fd()).unwrap_or(0),
        ..attributes(libc::MOUNT_ATTR_IDMAP, 0, 0)
    }
}

/// Changes the mount behind `fd`, and all below it when `recursive`.
pub(crate) fn set_attributes(
    fd: BorrowedFd<'_>,
    recursive: bool,
    attr: &MountAttr,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and attr as long as said.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &Path,
    target: &Path,
    fs_type: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let c =
        |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let source = c(source.as_os_str().as_bytes())?;
    let target = c(target.as_os_str().as_bytes())?;
    let fs_type = c(fs_type.as_bytes())?;
    let data = c(data.as_bytes())?;
    // SAFETY: five valid arguments; data is a C string for every file system that we mount.
    super::check(
        unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                fs_type.as_ptr(),
                flags,
                data.as_ptr().cast(),
            )
        }
        .into(),
    )
    .map(drop)
}
