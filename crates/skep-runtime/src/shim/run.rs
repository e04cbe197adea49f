//! A shim's life: become an orphan, create the container, serve, leave `exit.json`.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::client::ReadyLine;
use super::log::{Log, LogError};
use super::protocol::{Refusal, RefusalKind};
use super::serve::Server;
use super::spec::{ShimSpec, files};
use super::state::{ShimState, load_json};
use super::streams::{Ends, Streams, Wanted};
use super::{ShimError, external};
use crate::cgroup::{Cgroup, CgroupPaths};
use crate::container::report::{self, Report};
use crate::container::{self, Creation};
use crate::sys::clone::{self, Side};
use crate::sys::{privilege, proc, socket};

/// The role's entry: forks once, so that the shim is nobody's child.
pub(super) fn main(dir: &Path, open_files: Option<&str>) -> ExitCode {
    if let Some(limit) = open_files.and_then(|limit| limit.parse().ok())
        && let Err(e) = crate::open_files::restore(limit)
    {
        eprintln!("set the limit of open files to {limit}: {e}");
    }
    // Clients take descriptors, each of which would cost a container with few to have.
    if let Err(e) = crate::open_files::raise() {
        eprintln!("raise the limit of open files: {e}");
    }
    // SAFETY: `main` calls this role before it starts any thread.
    match unsafe { clone::fork() } {
        Ok(Side::Parent(_)) => ExitCode::SUCCESS,
        Ok(Side::Child) => match start(dir) {
            Ok(server) => server.run(),
            Err(refusal) => {
                say(&ReadyLine::Failed(refusal));
                ExitCode::FAILURE
            }
        },
        Err(e) => {
            eprintln!("fork: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The one line to the spawner, which then sees the end of the pipe.
fn say(line: &ReadyLine) {
    let text = serde_json::to_string(line).expect("the line always serialises");
    // Nobody there to read it is no reason to stop: the daemon will find the shim by its socket.
    let _ = io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| io::stdout().flush());
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        // SAFETY: descriptor 1 is standard output, which `std` does not close.
        let _ = unsafe { clone::dup_onto(null.as_fd(), 1) };
    }
}

/// A container that was made, with what the shim holds of it.
pub(super) struct Made {
    pub state: ShimState,
    pub streams: Streams,
    /// Where the init waits to be let go; `None` with an external runtime.
    pub gate: Option<OwnedFd>,
}

fn start(dir: &Path) -> Result<Server, Refusal> {
    let internal = |e: &dyn std::fmt::Display| Refusal {
        kind: RefusalKind::Create,
        message: format!("shim: {e}"),
    };
    let setup = || -> Result<_, ShimError> {
        let io = |op: &'static str| {
            move |source| ShimError::File {
                op,
                path: dir.into(),
                source,
            }
        };
        privilege::new_session().map_err(io("setsid"))?;
        clone::block_signals();
        privilege::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(io("become subreaper"))?;
        let spec = ShimSpec::load(dir)?;
        for old in [files::EXIT, files::STATE] {
            // Of an earlier life of this container; most often there is none.
            let _ = std::fs::remove_file(dir.join(old));
        }
        Ok(spec)
    };
    let spec = setup().map_err(|e| internal(&e))?;
    // A driver is forked off before there is anything that it should not have.
    let log = Log::open(&spec.log).map_err(|e| match e {
        LogError::File(_) => internal(&e),
        LogError::Driver(_) => Refusal {
            kind: RefusalKind::Create,
            message: e.to_string(),
        },
    })?;
    let listener = listen(dir).map_err(|e| internal(&e))?;
    let made = match &spec.external {
        None => create(dir, &spec),
        Some(runtime) => external::create(dir, &spec, runtime),
    };
    let made = made.inspect_err(|_| {
        let _ = std::fs::remove_file(dir.join(files::SOCKET));
    })?;
    let (pid, cgroup) = (made.state.pid, made.state.cgroup.clone());
    let saved = made.state.save(dir).map_err(|e| internal(&e));
    let server =
        saved.and_then(|()| Server::new(dir, spec, made, log, listener).map_err(|e| internal(&e)));
    let server = server.inspect_err(|_| discard(pid, cgroup))?;
    say(&ReadyLine::Created(server.state.clone()));
    clone::trim_heap();
    Ok(server)
}

fn listen(dir: &Path) -> io::Result<OwnedFd> {
    // The path of a socket address is short, so it is taken from inside the directory.
    let fd = rustix::fs::open(
        dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let path = container_path(&fd);
    let _ = std::fs::remove_file(&path);
    let listener = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&listener, &SocketAddrUnix::new(path)?);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&listener, 64)?;
    Ok(listener)
}

fn container_path(dir: &OwnedFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), files::SOCKET).into()
}

/// Creates the container with the embedded runtime.
fn create(dir: &Path, spec: &ShimSpec) -> Result<Made, Refusal> {
    let internal = |e: io::Error| Refusal {
        kind: RefusalKind::Create,
        message: format!("shim: {e}"),
    };
    let wanted = Wanted {
        stdin: spec.open_stdin,
        stdout: true,
        stderr: true,
    };
    let (mut streams, ends) = if spec.terminal {
        Streams::pipes(Wanted {
            stdin: false,
            stdout: false,
            stderr: false,
        })
        .map_err(internal)?
    } else {
        Streams::pipes(wanted).map_err(internal)?
    };
    let (ours, theirs) = socket::pair().map_err(internal)?;
    // SAFETY: the shim has one thread.
    match unsafe { clone::fork() }.map_err(internal)? {
        Side::Child => {
            drop(ours);
            let code = creator(dir, spec, &ends, &theirs);
            clone::exit_now(code)
        }
        Side::Parent(_) => {}
    }
    drop((theirs, ends));
    let (pid, cgroup) = watch_creation(&ours, &mut streams)?;
    let state = ShimState {
        id: spec.id.clone(),
        pid,
        pid_start: proc::start_time(pid).unwrap_or(0),
        shim_pid: own_pid(),
        shim_start: proc::start_time(own_pid()).unwrap_or(0),
        cgroup,
        started_at: None,
    };
    Ok(Made {
        state,
        streams,
        gate: Some(ours),
    })
}

pub(super) fn own_pid() -> i32 {
    i32::try_from(std::process::id()).expect("pids are positive numbers of 31 bits")
}

/// The creator's process: its memory and namespaces are gone with it.
fn creator(dir: &Path, spec: &ShimSpec, ends: &Ends, to: &OwnedFd) -> i32 {
    let go = || -> Result<(), Refusal> {
        crate::open_files::put_back().map_err(|e| Refusal {
            kind: RefusalKind::Create,
            message: format!("shim: limit of open files: {e}"),
        })?;
        let config: Spec = load_json(&dir.join(files::CONFIG)).map_err(|e| Refusal {
            kind: RefusalKind::Create,
            message: e.to_string(),
        })?;
        container::create(&Creation {
            id: &spec.id,
            bundle: dir,
            spec: &config,
            overlay: spec.overlay.as_ref(),
            seccomp_filter: spec.seccomp_filter.as_deref(),
            console_size: spec.console_size,
            stdio: ends.borrow(),
            report: to.as_fd(),
            gate: to.as_fd(),
            is_sibling: true,
            preserve_fds: 0,
        })
        .map(drop)
        .map_err(|e| e.for_create())
    };
    match go() {
        Ok(()) => 0,
        Err(refusal) => {
            let _ = report::send(to.as_fd(), &Report::Failed(refusal), None);
            1
        }
    }
}

/// Follows the creation to its end; on a failure nothing is left of the container.
fn watch_creation(from: &OwnedFd, streams: &mut Streams) -> Result<(i32, CgroupPaths), Refusal> {
    let mut made: Option<(i32, CgroupPaths)> = None;
    let failed = |message: String| Refusal {
        kind: RefusalKind::Create,
        message,
    };
    let refusal = loop {
        match report::receive(from) {
            Ok(Some((Report::Pid { pid, cgroup }, _))) => made = Some((pid, cgroup)),
            Ok(Some((Report::Terminal, Some(master)))) => {
                if let Err(e) = streams.set_terminal(master) {
                    break failed(format!("terminal: {e}"));
                }
            }
            Ok(Some((Report::Terminal, None))) => break failed("terminal: none came".into()),
            Ok(Some((Report::Ready, _))) => match made {
                Some(made) => return Ok(made),
                None => break failed("the container's process told no pid".into()),
            },
            Ok(Some((Report::Failed(refusal), _))) => break refusal,
            Ok(Some((Report::NotExecuted(text), _))) => break failed(text),
            Ok(None) => break failed("the container's process ended while it was set up".into()),
            Err(e) => break failed(format!("read report: {e}")),
        }
    };
    if let Some((pid, cgroup)) = made {
        discard(pid, cgroup);
    }
    Err(refusal)
}

/// Ends a container that never ran. The error which led here is the one to tell.
fn discard(pid: i32, cgroup: CgroupPaths) {
    let _ = clone::kill(pid, libc::SIGKILL);
    let _ = clone::wait_for(pid);
    let _ = Cgroup::open(cgroup).destroy(Duration::from_secs(2));
}
