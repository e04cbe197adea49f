//! What flows in and out of containers.

use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Result;

/// A stream that can be boxed and sent.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;
/// A body that is read.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A body that is written.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Where bytes came from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Standard input, only in framing.
    Stdin,
    /// Standard output; everything of a tty.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a container's log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Which stream wrote it.
    pub stream: StreamKind,
    /// When.
    pub time: SystemTime,
    /// With its line feed, when it had one.
    pub bytes: Bytes,
    /// Labels and environment asked for by `--log-opt labels,env`, for `details`.
    pub attributes: Vec<(String, String)>,
}

/// A log being read.
pub struct Logs {
    /// Whether the container has a tty, which decides the framing.
    pub tty: bool,
    /// Lines, oldest first.
    pub records: BoxStream<Result<LogRecord>>,
}

/// An attached container or exec.
pub struct Attached {
    /// Whether there is a tty, which decides the framing.
    pub tty: bool,
    /// Shutting it down closes the process's standard input when `StdinOnce`, or always for an exec.
    pub input: Option<Writer>,
    /// Ends when the process has or the detach keys were typed. An error is its last: the output went on,
    /// and the rest of it is lost here.
    pub output: BoxStream<Result<(StreamKind, Bytes)>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}
