//! Another OCI runtime (`--runtime runc`), driven by its command line.
//!
//! The shim enters a mount namespace of its own and mounts the overlay there, for such a runtime finds
//! its root file system mounted. The runtime's processes become the shim's children as it is their
//! sub-reaper.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use super::protocol::{Exec, Refusal, RefusalKind};
use super::run::{Made, own_pid};
use super::spec::{ExternalRuntime, files};
use super::state::load_json;
use super::streams::{Ends, Streams, Wanted};
use super::{ShimSpec, ShimState};
use crate::cgroup::Cgroup;
use crate::container::prepare_rootfs;
use crate::open_files;
use crate::sys::{privilege, proc, socket};

/// The parts of `config.json` that the shim itself needs.
#[derive(Debug, Deserialize)]
struct Config {
    root: Root,
    linux: Linux,
}

#[derive(Debug, Deserialize)]
struct Root {
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<PathBuf>,
}

fn refusal(message: String) -> Refusal {
    Refusal {
        kind: RefusalKind::Create,
        message,
    }
}

/// One call of the runtime, in a bundle directory.
struct Call<'a> {
    runtime: &'a ExternalRuntime,
    dir: &'a Path,
}

impl Call<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.runtime.program);
        command
            .args(&self.runtime.args)
            .arg("--root")
            .arg(&self.runtime.root)
            .arg("--log")
            .arg(self.log())
            .args(["--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.dir.join("runtime.log")
    }

    /// Runs to the end; what the runtime logged as its error otherwise.
    fn run(&self, command: &mut Command) -> Result<(), String> {
        let status = open_files::put_back_while(|| command.status())
            .map_err(std::io::Error::from)
            .flatten()
            .map_err(|e| format!("run {}: {e}", self.runtime.program.display()))?;
        let error = self.last_error();
        let _ = fs::remove_file(self.log());
        if status.success() {
            Ok(())
        } else {
            Err(error.unwrap_or_else(|| status.to_string()))
        }
    }

    fn last_error(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Line {
            level: String,
            msg: String,
        }
        let lines = BufReader::new(fs::File::open(self.log()).ok()?)
            .lines()
            .map_while(Result::ok);
        lines
            .filter_map(|l| serde_json::from_str::<Line>(&l).ok())
            .filter(|l| l.level == "error")
            .last()
            .map(|l| l.msg)
    }
}

pub(super) fn create(
    dir: &Path,
    spec: &ShimSpec,
    runtime: &ExternalRuntime,
) -> Result<Made, Refusal> {
    let internal = |e: std::io::Error| refusal(format!("shim: {e}"));
    let config: Config = load_json(&dir.join(files::CONFIG)).map_err(|e| refusal(e.to_string()))?;
    privilege::unshare(libc::CLONE_NEWNS).map_err(internal)?;
    let rootfs = dir.join(&config.root.path);
    prepare_rootfs(&rootfs, spec.overlay.as_ref()).map_err(|e| e.for_create())?;
    let is_piped = !spec.terminal;
    let wanted = Wanted {
        stdin: spec.open_stdin && is_piped,
        stdout: is_piped,
        stderr: is_piped,
    };
    let (mut streams, ends) = Streams::pipes(wanted).map_err(internal)?;
    let call = Call { runtime, dir };
    let pid_file = dir.join("init.pid");
    let mut command = call.command();
    command
        .arg("create")
        .arg("--bundle")
        .arg(dir)
        .arg("--pid-file")
        .arg(&pid_file);
    connect(&mut command, &ends).map_err(internal)?;
    let console = spec
        .terminal
        .then(|| ConsoleSocket::listen(dir))
        .transpose()
        .map_err(internal)?;
    if let Some(console) = &console {
        command.arg("--console-socket").arg(&console.path_for_child);
    }
    let created = call.run(command.arg(&spec.id));
    drop(ends);
    created.map_err(|text| as_dockerd("create", &text))?;
    if let Some(console) = console {
        streams
            .set_terminal(console.receive().map_err(internal)?)
            .map_err(internal)?;
        if let (Some((rows, columns)), Some(terminal)) = (spec.console_size, streams.terminal()) {
            crate::container::resize(terminal, rows, columns).map_err(internal)?;
        }
    }
    let pid = read_pid(&pid_file).ok_or_else(|| refusal("the runtime told no pid".into()))?;
    let cgroups_path = config
        .linux
        .cgroups_path
        .unwrap_or_else(|| Path::new("/skep").join(&spec.id));
    let cgroup = Cgroup::at(&cgroups_path).map_err(|e| refusal(e.to_string()))?;
    let state = ShimState {
        id: spec.id.clone(),
        pid,
        pid_start: proc::start_time(pid).unwrap_or(0),
        shim_pid: own_pid(),
        shim_start: proc::start_time(own_pid()).unwrap_or(0),
        cgroup: cgroup.paths().clone(),
        started_at: None,
    };
    Ok(Made {
        state,
        streams,
        gate: None,
    })
}

fn connect(command: &mut Command, ends: &Ends) -> std::io::Result<()> {
    let [stdin, stdout, stderr] = ends.borrow();
    command
        .stdin(stdin.try_clone_to_owned()?)
        .stdout(stdout.try_clone_to_owned()?)
        .stderr(stderr.try_clone_to_owned()?);
    Ok(())
}

fn read_pid(path: &Path) -> Option<i32> {
    let pid = fs::read_to_string(path).ok()?.trim().parse().ok();
    let _ = fs::remove_file(path);
    pid
}

/// The runtime's words as dockerd passes them on, and the exit code that they mean.
fn as_dockerd(op: &str, text: &str) -> Refusal {
    let kind = if text.contains("executable file not found")
        || text.contains("no such file or directory")
    {
        RefusalKind::ProgramNotFound
    } else if text.contains("permission denied") || text.contains("is a directory") {
        RefusalKind::ProgramNotExecutable
    } else {
        RefusalKind::Create
    };
    let message = match op {
        "create" => format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {text}: unknown"
        ),
        op => format!("OCI runtime {op} failed: {text}: unknown"),
    };
    Refusal { kind, message }
}

pub(super) fn start(runtime: &ExternalRuntime, dir: &Path, id: &str) -> Result<(), Refusal> {
    let call = Call { runtime, dir };
    call.run(call.command().args(["start", id]))
        .map_err(|text| as_dockerd("start", &text))
}

pub(super) fn delete(runtime: &ExternalRuntime, dir: &Path, id: &str) {
    let call = Call { runtime, dir };
    if let Err(e) = call.run(call.command().args(["delete", "--force", id])) {
        eprintln!("shim: delete: {e}");
    }
}

/// Starts an exec; its pid. The runtime's process ends, the exec's becomes the shim's child.
pub(super) fn exec(
    runtime: &ExternalRuntime,
    dir: &Path,
    id: &str,
    exec: &Exec,
    ends: &Ends,
    streams: &mut Streams,
) -> Result<i32, Refusal> {
    let internal = |e: std::io::Error| refusal(format!("OCI runtime exec failed: {e}"));
    let call = Call { runtime, dir };
    let (pid_file, process_file) = (dir.join("exec.pid"), dir.join("exec.json"));
    let json = serde_json::to_vec(&exec.process).map_err(|e| internal(e.into()))?;
    fs::write(&process_file, json).map_err(internal)?;
    let mut command = call.command();
    command
        .args(["exec", "--detach", "--process"])
        .arg(&process_file)
        .arg("--pid-file")
        .arg(&pid_file);
    connect(&mut command, ends).map_err(internal)?;
    let has_terminal = exec.process.terminal() == Some(true);
    let console = has_terminal
        .then(|| ConsoleSocket::listen(dir))
        .transpose()
        .map_err(internal)?;
    if let Some(console) = &console {
        command.arg("--console-socket").arg(&console.path_for_child);
    }
    let run = call.run(command.arg(id));
    let _ = fs::remove_file(&process_file);
    run.map_err(|text| as_dockerd("exec", &text))?;
    if let Some(console) = console {
        streams
            .set_terminal(console.receive().map_err(internal)?)
            .map_err(internal)?;
    }
    read_pid(&pid_file)
        .ok_or_else(|| refusal("OCI runtime exec failed: the runtime told no pid".into()))
}

/// Where the runtime sends a terminal's master.
struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
    /// By a descriptor that the runtime inherits: the address of a socket is short.
    path_for_child: PathBuf,
    _dir: OwnedFd,
}

impl ConsoleSocket {
    fn listen(dir: &Path) -> std::io::Result<Self> {
        // Without close-on-exec.
        let fd = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        let path = dir.join("console.sock");
        let _ = fs::remove_file(&path);
        let path_for_child =
            PathBuf::from(format!("/proc/self/fd/{}/console.sock", fd.as_raw_fd()));
        let listener = UnixListener::bind(&path_for_child)?;
        Ok(Self {
            listener,
            path,
            path_for_child,
            _dir: fd,
        })
    }

    fn receive(&self) -> std::io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept()?;
        let (_, fd) = socket::receive(stream.as_fd(), &mut [0; 4096])?;
        fd.ok_or_else(|| std::io::Error::from_raw_os_error(libc::EBADMSG))
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
