//! `create` and `run`.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};

use super::args::Args;
use super::state::{Known, Place, State};
use super::wait::{self, Foreground};
use super::{Global, OciError, lifecycle, on, system};
use crate::container::report::{self, Report};
use crate::container::{self, Creation};
use crate::shim::load_json;
use crate::sys::{clone, proc, socket};

/// What both commands take.
struct Options {
    id: String,
    bundle: PathBuf,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    preserve_fds: u32,
    detach: bool,
    keep: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, OciError> {
        let valued = &[
            "bundle",
            "b",
            "pid-file",
            "console-socket",
            "preserve-fds",
            "pidfd-socket",
        ];
        let switches = &[
            "no-pivot",
            "no-new-keyring",
            "detach",
            "d",
            "keep",
            "no-subreaper",
        ];
        let args = Args::parse(args, valued, switches, false)?;
        let bundle = args.value("bundle").or(args.value("b")).unwrap_or(".");
        let bundle = fs::canonicalize(bundle).map_err(on("open bundle", Path::new(bundle)))?;
        Ok(Self {
            id: args.only_id()?.into(),
            bundle,
            pid_file: args.value("pid-file").map(PathBuf::from),
            console_socket: args.value("console-socket").map(PathBuf::from),
            preserve_fds: preserve_fds(&args)?,
            detach: args.has("detach") || args.has("d"),
            keep: args.has("keep"),
        })
    }
}

pub(super) fn preserve_fds(args: &Args) -> Result<u32, OciError> {
    let text = args.value("preserve-fds").unwrap_or("0");
    text.parse()
        .map_err(|_| OciError::Usage(format!("--preserve-fds {text:?} is not a number")))
}

pub(super) fn create(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let options = Options::parse(args)?;
    let has_terminal = make(global, &options)?.1.is_some();
    debug_assert!(!has_terminal, "the terminal went to the console socket");
    Ok(ExitCode::SUCCESS)
}

/// Creates, starts, waits and deletes; with `--detach` only the first two.
pub(super) fn run(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let options = Options::parse(args)?;
    clone::block_signals();
    let (known, terminal) = make(global, &options)?;
    let started = lifecycle::start_known(&known);
    if options.detach && started.is_ok() {
        return Ok(ExitCode::SUCCESS);
    }
    let code = started.and_then(|()| {
        wait::foreground(Foreground {
            pid: known.state.pid,
            terminal,
        })
    });
    if !options.keep || code.is_err() {
        lifecycle::delete_known(&known, true)?;
    }
    code
}

/// Up to "created". The terminal's master comes back when no console socket took it.
fn make(global: &Global, options: &Options) -> Result<(Known, Option<OwnedFd>), OciError> {
    let place = Place::of(global, &options.id)?;
    let config_path = options.bundle.join("config.json");
    let spec: Spec = load_json(&config_path)?;
    check_version(&spec)?;
    let has_terminal = spec
        .process()
        .as_ref()
        .and_then(oci_spec::runtime::Process::terminal)
        == Some(true);
    if has_terminal && options.detach && options.console_socket.is_none() {
        return Err(OciError::Usage(
            "cannot allocate tty if runc will detach without setting console socket".into(),
        ));
    }
    if !has_terminal && options.console_socket.is_some() {
        return Err(OciError::Usage(
            "cannot use console socket if runc will not detach or allocate tty".into(),
        ));
    }
    fs::create_dir_all(&global.root).map_err(on("create", &global.root))?;
    match fs::create_dir(&place.dir) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(OciError::Exists),
        other => other.map_err(on("create", &place.dir))?,
    }
    match make_in(&place, options, &spec, &config_path) {
        Ok((state, terminal)) => Ok((Known { place, state }, terminal)),
        Err(e) => {
            // The first error is the one to tell.
            let _ = place.remove();
            Err(e)
        }
    }
}

fn check_version(spec: &Spec) -> Result<(), OciError> {
    let major = spec
        .version()
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    match major {
        Some(1) => Ok(()),
        _ => Err(OciError::Usage(format!(
            "unsupported ociVersion {:?}",
            spec.version()
        ))),
    }
}

fn make_in(
    place: &Place,
    options: &Options,
    spec: &Spec,
    config_path: &Path,
) -> Result<(State, Option<OwnedFd>), OciError> {
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o711))
        .map_err(on("chmod", &place.dir))?;
    // Later commands go by the configuration as it is now.
    let copy = place.dir.join("config.json");
    fs::copy(config_path, &copy).map_err(on("copy to", &copy))?;
    let fifo = place.fifo();
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600))
        .map_err(|e| on("create", &fifo)(e.into()))?;
    // Open for both ways, so that it neither blocks nor ends before `start` comes.
    let gate = rustix::fs::open(&fifo, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| on("open", &fifo)(e.into()))?;
    let (ours, theirs) = socket::pair().map_err(system("socketpair"))?;
    let creation = Creation {
        id: &options.id,
        bundle: &options.bundle,
        spec,
        overlay: None,
        seccomp_filter: None,
        console_size: None,
        stdio: own_streams(),
        report: theirs.as_fd(),
        gate: gate.as_fd(),
        is_sibling: false,
        preserve_fds: options.preserve_fds,
    };
    let (pid, cgroup) = container::create(&creation)?;
    drop(theirs);
    let ready = follow(&ours, options.console_socket.as_deref());
    let terminal = match ready {
        Ok(terminal) => terminal,
        Err(e) => {
            let _ = clone::kill(pid, libc::SIGKILL);
            let _ = clone::wait_for(pid);
            let _ = crate::cgroup::Cgroup::open(cgroup).destroy(std::time::Duration::from_secs(2));
            return Err(e);
        }
    };
    let state = State {
        id: options.id.clone(),
        pid,
        pid_start: proc::start_time(pid).unwrap_or(0),
        bundle: options.bundle.clone(),
        cgroup,
    };
    place.save(&state)?;
    write_pid_file(options.pid_file.as_deref(), pid)?;
    Ok((state, terminal))
}

pub(super) fn own_streams() -> [BorrowedFd<'static>; 3] {
    // SAFETY: standard streams stay open for the life of this process.
    [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

pub(super) fn write_pid_file(path: Option<&Path>, pid: i32) -> Result<(), OciError> {
    let Some(path) = path else { return Ok(()) };
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    fs::write(&tmp, pid.to_string()).map_err(on("write", &tmp))?;
    fs::rename(&tmp, path).map_err(on("rename", path))
}

/// Follows reports until the process is set up. Gives its terminal to `console_socket`, or back.
pub(super) fn follow(
    from: &OwnedFd,
    console_socket: Option<&Path>,
) -> Result<Option<OwnedFd>, OciError> {
    let mut terminal = None;
    loop {
        match report::receive(from).map_err(system("read report"))? {
            Some((Report::Pid { .. }, _)) => {}
            Some((Report::Terminal, Some(master))) => match console_socket {
                Some(path) => {
                    let stream = UnixStream::connect(path).map_err(on("connect", path))?;
                    socket::send(stream.as_fd(), b"terminal", Some(master.as_fd()))
                        .map_err(on("send to", path))?;
                }
                None => terminal = Some(master),
            },
            Some((Report::Terminal, None)) => {
                return Err(OciError::Refused("the terminal did not come".into()));
            }
            Some((Report::Ready, _)) => return Ok(terminal),
            Some((Report::Failed(refusal), _)) => {
                return Err(OciError::Refused(runc_part(&refusal.message)));
            }
            Some((Report::NotExecuted(text), _)) => return Err(OciError::Refused(text)),
            None => {
                return Err(OciError::Refused(
                    "the process ended while it was set up".into(),
                ));
            }
        }
    }
}

/// dockerd wraps what the runtime says; here we are the runtime.
fn runc_part(message: &str) -> String {
    let inner = ["OCI runtime create failed: ", "OCI runtime exec failed: "]
        .iter()
        .find_map(|prefix| message.split_once(prefix))
        .map_or(message, |(_, inner)| inner);
    inner.split(": unknown").next().unwrap_or(inner).to_owned()
}
