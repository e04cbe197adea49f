//! The init process, from its birth to the user's program.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, Process};
use rustix::fs::{Mode, OFlags};

use super::attributes;
use super::console;
use super::create::{Creation, hooks_before_pivot};
use super::credentials::{self, Capabilities};
use super::error::{Context, CreateError, on};
use super::mounts::{self, MountContext};
use super::namespaces::{Namespaces, UserNamespace};
use super::paths::Root;
use super::report::{self, Report};
use super::{devices, idmap, listener, program, rootfs};
use crate::cgroup::CgroupPaths;
use crate::seccomp::Filter;
use crate::sys::clone;
use crate::sys::privilege;
use crate::sys::socket;

/// What the init was cloned with.
pub(super) struct Init<'a> {
    pub creation: &'a Creation<'a>,
    pub linux: &'a Linux,
    pub namespaces: &'a Namespaces,
    pub cgroup: &'a CgroupPaths,
    pub filter: Option<&'a Filter>,
    /// The connection to the creator.
    pub creator: OwnedFd,
}

/// Never returns: executes the program, or reports why not and ends.
pub(super) fn run(init: &Init<'_>) -> ! {
    match set_up(init) {
        Ok(ready) => launch(
            &ready,
            init.creation.report,
            init.creation.gate,
            init.creation.preserve_fds,
        ),
        Err(e) => {
            let _ = report::send(init.creation.report, &Report::Failed(e.for_create()), None);
            clone::exit_now(1)
        }
    }
}

fn set_up<'a>(init: &Init<'a>) -> Result<Ready<'a>, CreateError> {
    let creation = init.creation;
    let mut mapped = receive_mapped(init)?;
    // Another process in a shared pid namespace must not look into this one, which is still ours.
    privilege::prctl(libc::PR_SET_DUMPABLE, 0).context(|| "prctl".into())?;
    rustix::process::umask(Mode::empty());
    init.namespaces.enter_mounts()?;
    enter_user_namespace(init)?;
    let may_set_groups = may_set_groups();
    if init.namespaces.new_cgroup {
        privilege::unshare(libc::CLONE_NEWCGROUP).context(|| "unshare cgroup namespace".into())?;
    }
    privilege::new_session().context(|| "setsid".into())?;
    let process = creation
        .spec
        .process()
        .as_ref()
        .expect("validated by the creator");
    let deferred = build_root(init, &mut mapped)?;
    let console = match process.terminal() {
        Some(true) => Some(open_console(
            creation.report,
            creation.console_size.or_else(|| size_of_console(process)),
            true,
        )?),
        _ => None,
    };
    finish_root(init, &deferred)?;
    rootfs::ensure_directory(process.cwd())?;
    attributes::set_personality(init.linux)?;
    let stdio = Stdio {
        pipes: creation.stdio,
        console,
    };
    let filtered = Filtered {
        filter: init.filter,
        creator: init.creator.as_fd(),
    };
    let mut ready = prepare_process(process, stdio, filtered, may_set_groups, creation.id)?;
    if let Some(hooks) = creation
        .spec
        .hooks()
        .as_ref()
        .and_then(|h| h.start_container().clone())
    {
        ready.start_hooks = Some((hooks, creation.state("created", own_pid())));
    }
    ready.dies_with_parent = creation.is_sibling;
    Ok(ready)
}

fn wait_for_creator(init: &Init<'_>) -> Result<(), CreateError> {
    let mut buffer = [0; 16];
    match socket::receive(&init.creator, &mut buffer).context(|| "wait for the creator".into())? {
        // It has failed, and told why.
        (0, _) => clone::exit_now(1),
        _ => Ok(()),
    }
}

/// Waits for the creator to let this process go; before that come the sources of mounts whose ids
/// are mapped, which only the creator may make.
fn receive_mapped(init: &Init<'_>) -> Result<VecDeque<OwnedFd>, CreateError> {
    let mut trees = VecDeque::new();
    loop {
        let mut buffer = [0; 16];
        let context = || "wait for the creator".into();
        match socket::receive(&init.creator, &mut buffer).context(context)? {
            // It has failed, and told why.
            (0, _) => clone::exit_now(1),
            (_, Some(tree)) => trees.push_back(tree),
            (_, None) => return Ok(trees),
        }
    }
}

fn enter_user_namespace(init: &Init<'_>) -> Result<(), CreateError> {
    match &init.namespaces.user {
        None => return Ok(()),
        Some(UserNamespace::New { .. }) => {}
        Some(UserNamespace::Join(path)) => {
            let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .context(on("open", path))?;
            privilege::enter_namespaces(fd.as_fd(), libc::CLONE_NEWUSER)
                .context(on("join user namespace", path))?;
        }
    }
    privilege::set_ids(0, 0, None).context(|| "become root of the user namespace".into())
}

/// The process as the container sees it: 1, but where it shares another's pid namespace.
fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Whether this user namespace lets groups be set: one that an unprivileged user made does not.
pub(super) fn may_set_groups() -> bool {
    !std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

fn build_root(
    init: &Init<'_>,
    mapped: &mut VecDeque<OwnedFd>,
) -> Result<Vec<mounts::Deferred>, CreateError> {
    let creation = init.creation;
    let root_spec = creation
        .spec
        .root()
        .as_ref()
        .expect("validated by the creator");
    let rootfs_path = creation.bundle.join(root_spec.path());
    // Links on the way to it are the host's own; pivot_root wants them resolved.
    let rootfs_path =
        std::fs::canonicalize(&rootfs_path).context(on("stat rootfs", &rootfs_path))?;
    rootfs::prepare(
        &rootfs_path,
        creation.overlay,
        init.linux.rootfs_propagation().as_deref(),
    )?;
    let root = Root::open(&rootfs_path).context(on("open", &rootfs_path))?;
    let context = MountContext {
        bundle: creation.bundle,
        cgroup: init.cgroup,
        has_cgroup_namespace: init.namespaces.new_cgroup,
        label: init
            .linux
            .mount_label()
            .as_deref()
            .filter(|label| !label.is_empty()),
    };
    let mut deferred = Vec::new();
    for mount in creation.spec.mounts().iter().flatten() {
        let tree = match idmap::is_mapped(mount) {
            true => mapped.pop_front(),
            false => None,
        };
        deferred.extend(mounts::make(&root, mount, tree, &context)?);
    }
    let listed = init.linux.devices().as_deref().unwrap_or_default();
    devices::make(&root, listed, init.namespaces.user.is_some())?;
    if hooks_before_pivot(creation.spec) {
        socket::send(init.creator.as_fd(), b"mounted", None)
            .context(|| "tell the creator".into())?;
        wait_for_creator(init)?;
    }
    if let Some(hooks) = creation.spec.hooks() {
        let state = creation.state("creating", own_pid());
        super::hooks::run(
            "createContainer",
            hooks.create_container().as_deref(),
            &state,
        )?;
    }
    drop(root);
    rootfs::pivot(&rootfs_path)?;
    rootfs::propagate_root(init.linux.rootfs_propagation().as_deref())?;
    Ok(deferred)
}

fn finish_root(init: &Init<'_>, deferred: &[mounts::Deferred]) -> Result<(), CreateError> {
    let spec = init.creation.spec;
    if init.namespaces.has_own_uts() {
        if let Some(name) = spec.hostname().as_ref().filter(|n| !n.is_empty()) {
            rustix::system::sethostname(name.as_bytes())
                .context(|| format!("sethostname {name:?}"))?;
        }
        if let Some(name) = spec.domainname().as_ref().filter(|n| !n.is_empty()) {
            rustix::system::setdomainname(name.as_bytes())
                .context(|| format!("setdomainname {name:?}"))?;
        }
    }
    for (key, value) in init.linux.sysctl().iter().flatten() {
        rootfs::set_sysctl(key, value)?;
    }
    mounts::finish(deferred)?;
    rootfs::protect(init.linux.readonly_paths().as_deref().unwrap_or_default())?;
    rootfs::mask(init.linux.masked_paths().as_deref().unwrap_or_default())?;
    if spec
        .root()
        .as_ref()
        .and_then(oci_spec::runtime::Root::readonly)
        == Some(true)
    {
        rootfs::seal()?;
    }
    Ok(())
}

/// The size that the configuration names.
pub(super) fn size_of_console(process: &Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    Some((
        u16::try_from(size.height()).ok()?,
        u16::try_from(size.width()).ok()?,
    ))
}

/// A terminal, its master sent to the asker.
pub(super) fn open_console(
    report_to: BorrowedFd<'_>,
    size: Option<(u16, u16)>,
    is_init: bool,
) -> Result<OwnedFd, CreateError> {
    let console = console::open(size).context(|| "open /dev/ptmx".into())?;
    if is_init {
        devices::bind_console(&console.slave).context(|| "bind /dev/console".into())?;
    }
    report::send(report_to, &Report::Terminal, Some(console.master.as_fd()))
        .context(|| "report".into())?;
    Ok(console.slave)
}

/// Standard streams: three descriptors, or a terminal.
pub(super) struct Stdio<'a> {
    pub pipes: [BorrowedFd<'a>; 3],
    pub console: Option<OwnedFd>,
}

/// A process that has nothing left to do but execute.
pub(super) struct Ready<'a> {
    program: std::path::PathBuf,
    process: &'a Process,
    pub start_hooks: Option<(Vec<oci_spec::runtime::Hook>, String)>,
    pub dies_with_parent: bool,
}

/// Which system calls a process may make, and who is told of a filter's listener.
#[derive(Clone, Copy)]
pub(super) struct Filtered<'a> {
    pub filter: Option<&'a Filter>,
    pub creator: BorrowedFd<'a>,
}

impl Filtered<'_> {
    fn install(self) -> Result<(), CreateError> {
        let Some(filter) = self.filter else {
            return Ok(());
        };
        let installed = privilege::install_filter(&filter.program, filter.flags);
        match installed.context(|| "install seccomp filter".into())? {
            Some(listener) => listener::hand_over(self.creator, listener),
            None => Ok(()),
        }
    }
}

/// Streams, limits, user, rights, working directory, filter; the same for init and exec.
pub(super) fn prepare_process<'a>(
    process: &'a Process,
    stdio: Stdio<'_>,
    filtered: Filtered<'_>,
    may_set_groups: bool,
    id: &str,
) -> Result<Ready<'a>, CreateError> {
    connect_stdio(&stdio, process.user().uid())?;
    // Without keyrings in the kernel there is nothing to part from.
    match privilege::join_session_keyring(&format!("_ses.{id}")) {
        Err(e)
            if !matches!(
                e.raw_os_error(),
                Some(libc::ENOSYS | libc::EPERM | libc::EDQUOT)
            ) =>
        {
            return Err(e).context(|| "join session keyring".into());
        }
        _ => {}
    }
    if let Some(score) = process.oom_score_adj() {
        credentials::set_oom_score(score)?;
    }
    attributes::set_labels(process)?;
    attributes::set_io_priority(process)?;
    attributes::set_scheduler(process)?;
    credentials::set_rlimits(process.rlimits().as_deref().unwrap_or_default())?;
    let capabilities = Capabilities::resolve(process.capabilities().as_ref());
    let has_no_new_privileges = process.no_new_privileges() == Some(true);
    capabilities.limit_bounding()?;
    credentials::become_user(process, may_set_groups)?;
    Capabilities::raise_own()?;
    enter_cwd(process.cwd())?;
    let umask = process.user().umask().unwrap_or(0o022);
    rustix::process::umask(Mode::from_raw_mode(umask));
    // Without no_new_privs only a privileged process may install a filter; with it the later the
    // better, for the filter then need not allow what we still do.
    if !has_no_new_privileges {
        filtered.install()?;
    }
    capabilities.take_effect()?;
    if has_no_new_privileges {
        privilege::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).context(|| "set no_new_privs".into())?;
        filtered.install()?;
    }
    // As the user itself: what root may enter and execute says nothing.
    enter_cwd(process.cwd())?;
    let args = process.args().as_deref().unwrap_or_default();
    let env = process.env().as_deref().unwrap_or_default();
    let program = program::find(args.first().map_or("", String::as_str), env)?;
    Ok(Ready {
        program,
        process,
        start_hooks: None,
        dies_with_parent: false,
    })
}

fn enter_cwd(cwd: &Path) -> Result<(), CreateError> {
    let context = || {
        format!(
            "chdir to cwd ({:?}) set in config.json failed",
            cwd.display().to_string()
        )
    };
    rustix::process::chdir(cwd).context(context)?;
    // A handle of the host's left open would let the working directory be outside.
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.to_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(rustix::io::Errno::NOENT) => Err(CreateError::Config(
            "current working directory is outside of container mount namespace root -- possible container breakout detected".into(),
        )),
        Err(e) => Err(e).context(context),
    }
}

fn connect_stdio(stdio: &Stdio<'_>, uid: u32) -> Result<(), CreateError> {
    let go = || -> std::io::Result<()> {
        let fds: [BorrowedFd<'_>; 3] = match &stdio.console {
            Some(slave) => {
                privilege::take_terminal(slave.as_fd())?;
                [slave.as_fd(); 3]
            }
            None => stdio.pipes,
        };
        // A source below 3 would be overwritten before its turn.
        let mut copies = Vec::new();
        for fd in fds {
            copies.push(rustix::io::fcntl_dupfd_cloexec(fd, 3)?);
        }
        for (to, fd) in (0..).zip(&copies) {
            // SAFETY: the descriptors 0 to 2 are owned by nothing in this process.
            unsafe { clone::dup_onto(fd.as_fd(), to)? };
            own_stream(fd, uid)?;
        }
        Ok(())
    };
    go().context(|| "connect standard streams".into())
}

/// Lets a user other than root open `/dev/stdout` and its kin again.
fn own_stream(fd: &OwnedFd, uid: u32) -> std::io::Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    let null = rustix::fs::makedev(1, 3);
    if stat.st_uid == uid || stat.st_rdev == null {
        return Ok(());
    }
    match rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None) {
        // A read-only file system, or a stream from elsewhere: as it is, then.
        Err(rustix::io::Errno::ROFS | rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// Reports `Ready`, waits at the gate, executes.
pub(super) fn launch(
    ready: &Ready<'_>,
    report_to: BorrowedFd<'_>,
    gate: BorrowedFd<'_>,
    preserve_fds: u32,
) -> ! {
    if report::send(report_to, &Report::Ready, None).is_err() {
        clone::exit_now(1);
    }
    let mut byte = [0; 1];
    let let_go = loop {
        match rustix::io::read(gate, &mut byte) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    if !matches!(let_go, Ok(n) if n > 0) {
        clone::exit_now(1);
    }
    if let Some((hooks, state)) = &ready.start_hooks
        && let Err(e) = super::hooks::run("startContainer", Some(hooks), state)
    {
        give_up(report_to, gate, &e.to_string());
    }
    if ready.dies_with_parent {
        // Without its shim a container has no log, no exit code and no owner.
        let _ = privilege::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
    }
    let _ = clone::close_on_exec_from(3 + preserve_fds);
    clone::default_signals();
    let args = ready.process.args().as_deref().unwrap_or_default();
    let env = ready.process.env().as_deref().unwrap_or_default();
    let error = program::execute(&ready.program, args, env);
    give_up(
        report_to,
        gate,
        &format!(
            "exec {}: {}",
            ready.program.display(),
            super::error::errno_text(&error)
        ),
    )
}

/// Too late for an error of the creation: the container ends, its log says why, and so does whoever
/// opened the gate, where the gate leads both ways.
fn give_up(report_to: BorrowedFd<'_>, gate: BorrowedFd<'_>, text: &str) -> ! {
    let line = format!("{text}\n");
    // SAFETY: descriptor 2 is the container's standard error.
    let stderr = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    let _ = rustix::io::write(stderr, line.as_bytes());
    let _ = report::send(report_to, &Report::NotExecuted(text.into()), None);
    let _ = rustix::io::write(gate, text.as_bytes());
    debug_assert!(report_to.as_raw_fd() > 2);
    clone::exit_now(255)
}
