//! What a process may do: capabilities, filters, keyrings, devices of a terminal.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The three sets of `capset(2)`, one bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapSets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;

#[expect(clippy::cast_possible_truncation, reason = "the two halves of 64 bits")]
pub(crate) fn set_capabilities(sets: CapSets) -> io::Result<()> {
    let header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads a header and two data blocks.
    super::check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
        .map(drop)
}

/// What this process may make effective.
pub(crate) fn permitted() -> io::Result<u64> {
    let header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 reads a header and writes two data blocks.
    super::check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

/// Highest capability that this kernel knows.
pub(crate) fn last_capability() -> u32 {
    (0..64)
        .take_while(|cap| bounding_has(*cap).is_some())
        .last()
        .unwrap_or(40)
}

/// Whether the bounding set holds `cap`; `None` for one that the kernel does not know.
pub(crate) fn bounding_has(cap: u32) -> Option<bool> {
    // SAFETY: prctl with plain numbers.
    match unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(cap), 0, 0, 0) } {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(crate) fn bounding_drop(cap: u32) -> io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, cap.into())
}

pub(crate) fn ambient_clear() -> io::Result<()> {
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
    )
}

pub(crate) fn ambient_raise(cap: u32) -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    super::check(
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
                libc::c_ulong::from(cap),
                0,
                0,
            )
        }
        .into(),
    )
    .map(drop)
}

/// `prctl(2)` with one number.
pub(crate) fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: only used with options which take a number.
    super::check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into()).map(drop)
}

/// Sets ids of the whole (single-threaded) process by the raw calls: real, effective and saved.
pub(crate) fn set_ids(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    // SAFETY: plain numbers, and an array as long as said.
    unsafe {
        if let Some(groups) = groups {
            super::check(libc::syscall(
                libc::SYS_setgroups,
                groups.len(),
                groups.as_ptr(),
            ))?;
        }
        super::check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        super::check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// One instruction of a classic BPF program, as `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// Installs a system call filter. Needs `no_new_privs` or CAP_SYS_ADMIN. A filter with a listener
/// gives it.
pub(crate) fn install_filter(
    program: &[Instruction],
    flags: libc::c_ulong,
) -> io::Result<Option<OwnedFd>> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    let length =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program {
        length,
        filter: program.as_ptr(),
    };
    // SAFETY: the program lives through the call and is as long as said.
    let answer = super::check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let listener = i32::try_from(answer).map_err(io::Error::other)?;
    // SAFETY: with this flag the answer is a new descriptor, which is nobody else's.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}

/// A session keyring of its own, so that the host's keys are out of reach.
pub(crate) fn join_session_keyring(name: &str) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is a C string.
    super::check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })
    .map(drop)
}

/// Makes the terminal behind `fd` the controlling one of this session.
pub(crate) fn take_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    super::check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// A session of its own.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: no preconditions.
    super::check(unsafe { libc::setsid() }.into()).map(drop)
}

/// Enters the namespaces behind `fd` (a namespace file or a pidfd).
pub(crate) fn enter_namespaces(fd: BorrowedFd<'_>, kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: plain numbers.
    super::check(unsafe { libc::setns(fd.as_raw_fd(), kinds) }.into()).map(drop)
}

pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: plain numbers; the process has one thread.
    super::check(unsafe { libc::unshare(flags) }.into()).map(drop)
}
