//! What the processes that make a container tell the one that asked for it.
//!
//! All hold one end of the same socket pair; it is close-on-exec, so its end means that the user's
//! program runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupPaths;
use crate::shim::protocol::Refusal;
use crate::sys::socket;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process exists (and will wait before it does anything of weight).
    Pid {
        /// As seen by the receiver.
        pid: i32,
        /// Where it will live.
        cgroup: CgroupPaths,
    },
    /// The master end of its terminal comes with this message.
    Terminal,
    /// All is set up; it waits to be let go.
    Ready,
    /// It came to nothing.
    Failed(Refusal),
    /// The program could not be executed after all, and the process ended with this code.
    NotExecuted(String),
}

pub(crate) fn send(
    to: BorrowedFd<'_>,
    report: &Report,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(report).expect("reports always serialise");
    socket::send(to, &bytes, fd)
}

/// The next report with its descriptor; `None` when every other end is closed.
pub(crate) fn receive(from: impl AsFd) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    // Errors may quote long lists of layers.
    let mut buffer = vec![0; 64 * 1024];
    let (length, fd) = socket::receive(from, &mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..length])?, fd)))
}
