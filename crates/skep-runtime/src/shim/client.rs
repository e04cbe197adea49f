//! The daemon's side: spawn a shim, read what became of the container, connect again later.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::ShimError;
use super::program::Program;
use super::protocol::{Decoder, Frame, Refusal, Reply, Request};
use super::spec::files;
use super::state::{ExitRecord, ShimState};
use crate::open_files;
use crate::sys::clone;

/// How long a shim may take to have room for a client.
const CONNECT: Duration = Duration::from_secs(5);

/// A shim that is creating its container.
///
/// The process which was spawned forks and ends at once; the shim proper is an orphan from the
/// start, so it makes no difference to it whether the daemon lives.
#[derive(Debug)]
pub struct Spawned {
    starter: Child,
    ready: ChildStdout,
}

/// The first and only line that a shim writes to its spawner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum ReadyLine {
    Created(ShimState),
    Failed(Refusal),
}

/// Programs that were used, sealed at their first use. What is spawned later is the same program, even
/// when an upgrade has put another file in its place.
static PROGRAMS: Mutex<BTreeMap<PathBuf, Program>> = Mutex::new(BTreeMap::new());

/// Starts `program shim DIR [LIMIT OF OPEN FILES]`. `dir` holds `config.json` and `shim.json`.
///
/// Safe in a threaded process: nothing of ours runs between fork and exec.
pub fn spawn(dir: &Path, program: &Path) -> Result<Spawned, ShimError> {
    let sealed = {
        let mut programs = PROGRAMS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let sealed = programs
            .entry(program.into())
            .or_insert_with(|| Program::seal(program));
        sealed.path().to_owned()
    };
    let log_path = dir.join(files::LOG);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(|source| ShimError::File {
            op: "open",
            path: log_path,
            source,
        })?;
    let mut starter = Command::new(sealed)
        .arg0(program)
        .arg("shim")
        .arg(dir)
        .args(open_files::before().map(|limit| limit.to_string()))
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|source| ShimError::Spawn {
            program: program.into(),
            source,
        })?;
    let ready = starter
        .stdout
        .take()
        .expect("stdout was asked to be a pipe");
    Ok(Spawned { starter, ready })
}

impl Spawned {
    /// Becomes readable once [`Spawned::wait_ready`] no longer blocks.
    pub fn ready_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// Waits until the container is created, or could not be. Blocks: call it off the async threads.
    /// After a failure nothing is left of the container, and the shim has ended.
    pub fn wait_ready(mut self) -> Result<ShimState, ShimError> {
        let mut text = String::new();
        let read = self.ready.read_to_string(&mut text);
        // The starter ended long ago: it forks as its first deed.
        let reaped = self.starter.wait();
        read.and(reaped).map_err(ShimError::Ready)?;
        match serde_json::from_str(&text) {
            Ok(ReadyLine::Created(state)) => Ok(state),
            Ok(ReadyLine::Failed(refusal)) => Err(ShimError::Refused(refusal)),
            Err(_) => Err(ShimError::Died { said: text }),
        }
    }
}

/// What is found where a shim should be.
#[derive(Debug)]
pub enum Found {
    /// The shim lives: the connection.
    Running(UnixStream),
    /// The container has ended.
    Ended(ExitRecord),
    /// Neither: the shim was killed, or never began. [`super::recover`] puts it in order.
    Lost,
}

/// Looks for the shim of the bundle directory `dir`, after a restart of the daemon for example.
pub fn find(dir: &Path) -> Result<Found, ShimError> {
    if let Some(exit) = ExitRecord::load(dir)? {
        return Ok(Found::Ended(exit));
    }
    let connected = match connect(dir) {
        Err(error) if error.is_silent() => {
            wake(dir);
            connect(dir)
        }
        other => other,
    };
    match connected {
        Ok(stream) => Ok(Found::Running(stream)),
        // It may have ended between the two looks.
        Err(_) => Ok(match ExitRecord::load(dir)? {
            Some(exit) => Found::Ended(exit),
            None => Found::Lost,
        }),
    }
}

/// Lets a shim go on that somebody has stopped.
pub fn wake(dir: &Path) {
    if let Ok(Some(state)) = ShimState::load(dir)
        && state.has_shim()
    {
        let _ = clone::kill(state.shim_pid, libc::SIGCONT);
    }
}

/// Connects to the shim's socket. Paths longer than a socket address are fine. A queue of clients that
/// nobody serves makes it wait, not for long: the error is [`ShimError::is_silent`] then.
pub fn connect(dir: &Path) -> Result<UnixStream, ShimError> {
    connect_as(dir, SocketFlags::empty())
}

/// Like [`connect`], without waiting at all; the connection does not block either.
pub fn connect_now(dir: &Path) -> Result<UnixStream, ShimError> {
    connect_as(dir, SocketFlags::NONBLOCK)
}

fn connect_as(dir: &Path, flags: SocketFlags) -> Result<UnixStream, ShimError> {
    let fail = |source| ShimError::File {
        op: "connect",
        path: dir.join(files::SOCKET),
        source,
    };
    let fd = rustix::fs::open(
        dir,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|e| fail(e.into()))?;
    let path = format!(
        "/proc/self/fd/{}/{}",
        std::os::fd::AsRawFd::as_raw_fd(&fd),
        files::SOCKET
    );
    let go = || -> rustix::io::Result<UnixStream> {
        let flags = flags | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let waits = !flags.contains(SocketFlags::NONBLOCK);
        if waits {
            set_socket_timeout(&socket, Timeout::Send, Some(CONNECT))?;
        }
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        if waits {
            set_socket_timeout(&socket, Timeout::Send, None)?;
        }
        Ok(socket.into())
    };
    go().map_err(|e| fail(e.into()))
}

/// A blocking connection, for tests, benches and `skep oci`.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    /// Frames other than replies that came while waiting for one.
    pub pending: std::collections::VecDeque<Frame>,
}

impl Connection {
    /// Connects to the shim of `dir`.
    pub fn open(dir: &Path) -> Result<Self, ShimError> {
        Ok(Self {
            stream: connect(dir)?,
            decoder: Decoder::default(),
            pending: Default::default(),
        })
    }

    /// Sends a request and waits for its reply; other frames go to `pending`.
    pub fn call(&mut self, request: &Request) -> Result<Reply, ShimError> {
        self.send(&request.to_bytes())?;
        loop {
            let frame = self.read_frame()?.ok_or(ShimError::Closed)?;
            match frame.kind {
                super::protocol::Kind::Reply => {
                    return match frame.reply()? {
                        Reply::Error(refusal) => Err(ShimError::Refused(refusal)),
                        reply => Ok(reply),
                    };
                }
                _ => self.pending.push_back(frame),
            }
        }
    }

    /// Sends bytes that are already a frame.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), ShimError> {
        std::io::Write::write_all(&mut self.stream, frame).map_err(ShimError::Ready)
    }

    /// The next frame, `None` at the end of the connection.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ShimError> {
        match self.pending.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.read_frame(),
        }
    }

    fn read_frame(&mut self) -> Result<Option<Frame>, ShimError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut buffer).map_err(ShimError::Ready)? {
                0 => return Ok(None),
                n => self.decoder.push(&buffer[..n]),
            }
        }
    }

    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
}
