//! Making processes. Only from single-threaded processes: the child goes on with the parent's heap.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The parent, with the child's pid.
    Parent(i32),
    /// The child.
    Child,
}

/// A plain fork.
///
/// # Safety
/// The process has one thread.
pub(crate) unsafe fn fork() -> io::Result<Side> {
    // SAFETY: single-threaded by our own contract, so the child may use the heap.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// `clone3(2)` without a new stack: a fork with `CLONE_…` flags. With `CLONE_PARENT` the exit signal
/// is inherited and must be 0.
///
/// # Safety
/// The process has one thread, and `flags` share neither memory nor signal handlers.
pub(crate) unsafe fn clone3(flags: u64) -> io::Result<Side> {
    #[repr(C)]
    #[derive(Default)]
    struct Args {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let mut args = Args {
        flags,
        ..Args::default()
    };
    if flags & libc::CLONE_PARENT as u64 == 0 {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    // SAFETY: args is as long as said; no stack means that the child runs on a copy of ours.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<Args>()) };
    match i32::try_from(super::check(pid)?) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) => Ok(Side::Parent(pid)),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EOVERFLOW)),
    }
}

/// Ends this process at once: no destructors, no flushing of what the parent also holds.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Waits for one child; its raw status.
pub(crate) fn wait_for(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: status is a valid place.
        let got = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if got == pid {
            return Ok(status);
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// A child that ended, if any did: its pid and raw status.
pub(crate) fn reap_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: status is a valid place.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// `kill(2)`; a process that is gone counts as done.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill has no preconditions.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Blocks every signal, remembering nothing: children undo it with [`default_signals`].
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits for any (blocked) signal.
pub(crate) fn wait_signal() -> Option<i32> {
    // SAFETY: the set is initialised by sigfillset; no information is asked back.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        let signal = libc::sigwaitinfo(&raw const set, std::ptr::null_mut());
        (signal > 0).then_some(signal)
    }
}

/// Nothing blocked and nothing ignored, as a new program expects.
pub(crate) fn default_signals() {
    // SAFETY: handlers are set to the default, the set is initialised by sigemptyset.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            // KILL, STOP and the C library's own two refuse, which is as well.
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// A descriptor that reads the given signals, which must be blocked.
pub(crate) fn signal_fd(signals: &[i32]) -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset; the result is a new descriptor of ours.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        super::check(fd.into())?;
        Ok(std::os::fd::FromRawFd::from_raw_fd(fd))
    }
}

/// `dup2(2)` onto a fixed number, without close-on-exec.
///
/// # Safety
/// Nothing else owns the descriptor `to`.
pub(crate) unsafe fn dup_onto(fd: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    if fd.as_raw_fd() == to {
        // dup2 would leave close-on-exec as it is.
        // SAFETY: F_SETFD on a descriptor we hold.
        return super::check(unsafe { libc::fcntl(to, libc::F_SETFD, 0) }.into()).map(drop);
    }
    // SAFETY: by our own contract.
    super::check(unsafe { libc::dup2(fd.as_raw_fd(), to) }.into()).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only a flag is set on descriptors.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Gives freed memory back to the kernel.
pub(crate) fn trim_heap() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}
