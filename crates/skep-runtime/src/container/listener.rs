//! A filter that asks somebody outside (`SCMP_ACT_NOTIFY`): handing its listener to who answers.
//!
//! The process that installs the filter tells its creator the listener's number by one `write`, which
//! is why that call cannot be asked about, and waits. The creator takes the descriptor out of it, sends
//! it with the container process state to `listenerPath`, and lets the process go on. A connection
//! carries one state.
//!
//! <https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#containerprocessstate>

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::LinuxSeccomp;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::error::{Context, CreateError, on};
use crate::sys::socket;

/// How long who answers may take to take a listener.
const PATIENCE: Duration = Duration::from_secs(10);
/// The name that the specification gives the descriptor.
const NAME: &str = "seccompFd";

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: serde_json::Value,
}

/// Refuses a filter that asks when nobody is named who answers.
pub(super) fn check(notifies: bool, profile: Option<&LinuxSeccomp>) -> Result<(), CreateError> {
    let has_path = profile
        .and_then(|profile| profile.listener_path().as_ref())
        .is_some_and(|path| !path.as_os_str().is_empty());
    if notifies && !has_path {
        return Err(CreateError::Config(
            "linux.seccomp: SCMP_ACT_NOTIFY is used, and listenerPath is not set".into(),
        ));
    }
    let has_metadata = profile
        .and_then(|profile| profile.listener_metadata().as_ref())
        .is_some_and(|metadata| !metadata.is_empty());
    if has_metadata && !has_path {
        return Err(CreateError::Config(
            "linux.seccomp: listenerMetadata is set, and listenerPath is not".into(),
        ));
    }
    Ok(())
}

/// In the process that has the filter: returns when the listener is where it belongs.
pub(super) fn hand_over(creator: BorrowedFd<'_>, listener: OwnedFd) -> Result<(), CreateError> {
    let context = || "hand over the seccomp listener".to_owned();
    let number = listener.as_raw_fd().to_ne_bytes();
    rustix::io::write(creator, &number).context(context)?;
    let mut buffer = [0; 16];
    match socket::receive(creator, &mut buffer).context(context)? {
        // It has failed, and told why.
        (0, _) => crate::sys::clone::exit_now(1),
        _ => Ok(()),
    }
}

/// In the creator: passes the listener of the process `pid` on. `state` is the container's.
pub(super) fn pass_on(
    process: &OwnedFd,
    pid: i32,
    profile: &LinuxSeccomp,
    (version, state): (&str, &str),
) -> Result<(), CreateError> {
    let mut number = [0; 4];
    let context = || "take the seccomp listener".to_owned();
    // The end of the connection means that the process has reported why.
    if socket::receive(process, &mut number).context(context)?.0 != number.len() {
        return Ok(());
    }
    let listener = taken(pid, i32::from_ne_bytes(number)).context(context)?;
    let path = profile.listener_path().clone().unwrap_or_default();
    let state: serde_json::Value =
        serde_json::from_str(state).map_err(|error| CreateError::Config(error.to_string()))?;
    let message = ProcessState {
        oci_version: version,
        fds: [NAME],
        pid,
        metadata: profile.listener_metadata().as_deref(),
        state,
    };
    let message =
        serde_json::to_vec(&message).map_err(|error| CreateError::Config(error.to_string()))?;
    let connection = connect(&path).context(on("connect to the seccomp listener", &path))?;
    let sent = socket::send(connection.as_fd(), &message, Some(listener.as_fd()));
    sent.context(on("send the container process state to", &path))?;
    drop(connection);
    socket::send(process.as_fd(), b"go", None).context(|| "let the process go".into())
}

/// Connects; who has others wait, or does not read, is waited for no longer than [`PATIENCE`].
fn connect(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The kernel's time to send is that to connect, too: unix(7), socket(7).
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn taken(pid: i32, number: i32) -> std::io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(
        pidfd,
        number,
        PidfdGetfdFlags::empty(),
    )?)
}
