//! A further process inside a running container.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxSeccomp, Process};
use rustix::process::{Pid, PidfdFlags};

use super::error::{Context, CreateError};
use super::init::{self, Filtered, Stdio};
use super::report::{self, Report};
use super::{attributes, listener};
use crate::cgroup::Cgroup;
use crate::seccomp::{self, Filter};
use crate::sys::clone::{self, Side};
use crate::sys::{privilege, socket};

/// What a process enters with.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub id: &'a str,
    /// The container's init.
    pub container_pid: i32,
    pub cgroup: &'a Cgroup,
    pub process: &'a Process,
    pub seccomp_filter: Option<&'a Path>,
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// Version and state of the container, for who listens to its filter.
    pub state: (&'a str, String),
    pub stdio: [BorrowedFd<'a>; 3],
    pub report: BorrowedFd<'a>,
    pub gate: BorrowedFd<'a>,
    /// As in `Creation`.
    pub is_sibling: bool,
    pub preserve_fds: u32,
}

/// Namespaces that one `setns` call on a pidfd enters; pid and user are dealt with apart.
const SHARED: libc::c_int = libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWNS;

/// Starts the process; it reports `Ready` or `Failed` by itself.
pub(crate) fn enter(entry: &Entry<'_>) -> Result<i32, CreateError> {
    let args = entry.process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        return Err(CreateError::Config("args must not be empty".into()));
    }
    if !entry.process.cwd().is_absolute() {
        return Err(CreateError::Config("Cwd must be an absolute path".into()));
    }
    let filter = seccomp::load(entry.seccomp_filter, entry.seccomp, entry.process)?;
    let notifies = filter.as_ref().is_some_and(Filter::notifies);
    listener::check(notifies, entry.seccomp)?;
    let affinity = entry.process.exec_cpu_affinity().as_ref();
    if let Some(cpus) = affinity.and_then(|affinity| affinity.initial().as_deref()) {
        // The process is born with it.
        attributes::set_affinity(None, cpus)?;
    }
    let pid = Pid::from_raw(entry.container_pid)
        .ok_or_else(|| CreateError::Config("no container".into()))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .context(|| "open the container's init".into())?;
    privilege::enter_namespaces(pidfd.as_fd(), libc::CLONE_NEWPID)
        .context(|| "join pid namespace".into())?;
    let (ours, theirs) = socket::pair().context(|| "socketpair".into())?;
    let flags = if entry.is_sibling {
        libc::CLONE_PARENT as u64
    } else {
        0
    };
    // SAFETY: one thread, by the contract of the creator's role.
    let child = match unsafe { clone::clone3(flags) }.context(|| "clone".into())? {
        Side::Child => {
            drop(ours);
            let mut buffer = [0; 16];
            if !matches!(socket::receive(&theirs, &mut buffer), Ok((n, _)) if n > 0) {
                clone::exit_now(1);
            }
            let filtered = Filtered {
                filter: filter.as_ref(),
                creator: theirs.as_fd(),
            };
            match set_up(entry, pidfd.as_fd(), filtered) {
                Ok(mut ready) => {
                    ready.dies_with_parent = entry.is_sibling;
                    init::launch(&ready, entry.report, entry.gate, entry.preserve_fds)
                }
                Err(e) => {
                    let _ = report::send(entry.report, &Report::Failed(e.for_exec()), None);
                    clone::exit_now(1)
                }
            }
        }
        Side::Parent(child) => child,
    };
    drop(theirs);
    let settle = || -> Result<(), CreateError> {
        let pid_report = Report::Pid {
            pid: child,
            cgroup: entry.cgroup.paths().clone(),
        };
        report::send(entry.report, &pid_report, None).context(|| "report".into())?;
        entry.cgroup.add(child)?;
        if let Some(cpus) = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref()) {
            attributes::set_affinity(Some(child), cpus)?;
        }
        socket::send(ours.as_fd(), b"go", None).context(|| "let the process go".into())?;
        match entry.seccomp.filter(|_| notifies) {
            Some(profile) => {
                let (version, state) = &entry.state;
                listener::pass_on(&ours, child, profile, (version, state))
            }
            None => Ok(()),
        }
    };
    settle().inspect_err(|_| {
        let _ = clone::kill(child, libc::SIGKILL);
    })?;
    Ok(child)
}

fn set_up<'a>(
    entry: &Entry<'a>,
    container: BorrowedFd<'_>,
    filtered: Filtered<'_>,
) -> Result<init::Ready<'a>, CreateError> {
    // From here on the container's processes see this one, which is still ours.
    privilege::prctl(libc::PR_SET_DUMPABLE, 0).context(|| "prctl".into())?;
    let has_user_namespace = !same_user_namespace(entry.container_pid);
    if has_user_namespace {
        privilege::enter_namespaces(container, libc::CLONE_NEWUSER)
            .context(|| "join user namespace".into())?;
        privilege::set_ids(0, 0, None).context(|| "become root of the user namespace".into())?;
    }
    privilege::enter_namespaces(container, SHARED).context(|| "join namespaces".into())?;
    privilege::new_session().context(|| "setsid".into())?;
    let console = match entry.process.terminal() {
        Some(true) => Some(init::open_console(
            entry.report,
            init::size_of_console(entry.process),
            false,
        )?),
        _ => None,
    };
    let stdio = Stdio {
        pipes: entry.stdio,
        console,
    };
    init::prepare_process(
        entry.process,
        stdio,
        filtered,
        init::may_set_groups(),
        entry.id,
    )
}

fn same_user_namespace(pid: i32) -> bool {
    let read = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/user")).ok();
    // Unreadable means gone, and then everything else fails too.
    read("self") == read(&pid.to_string())
}
