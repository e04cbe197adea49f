//! `skep shim DIR`: the parent of one container.
//!
//! The shim creates the container described by `DIR/config.json` and `DIR/shim.json`, keeps its
//! streams, log, terminal and exit status, and answers [`protocol::Request`]s on `DIR/shim.sock`.
//! It outlives the daemon. It is single-threaded, and stays small: whatever needs memory (reading
//! the OCI configuration, entering namespaces) happens in a short-lived fork.

pub mod client;
mod exec;
mod external;
mod log;
mod peer;
mod program;
pub mod protocol;
mod recover;
mod requests;
mod run;
mod serve;
pub mod spec;
pub mod state;
mod streams;
mod time;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) use crate::container::resize as container_resize;
pub use client::{Connection, Found, Spawned, connect, connect_now, find, spawn, wake};
pub use recover::recover;
pub use spec::{
    Endpoint, ExternalRuntime, FluentdSink, JournaldSink, LogFile, LogSpec, OverlaySpec, RemoteLog,
    ShimSpec, Sink, SyslogFormat, SyslogSink, files,
};
pub use state::{ExitRecord, ShimState};
pub(crate) use state::{load_json, save_json};
pub(crate) use time::timestamp;

/// What goes wrong around a shim.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// A file of the bundle directory.
    #[error("{op} {}: {source}", path.display())]
    File {
        /// What was attempted.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file which is not what it should be.
    #[error("decode {}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The program could not be run.
    #[error("spawn {}: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Talking to the shim.
    #[error("talk to the shim: {0}")]
    Ready(#[source] std::io::Error),
    /// The shim ended without a word.
    #[error("the shim ended early: {said:?}")]
    Died {
        /// What it had written.
        said: String,
    },
    /// The shim closed the connection.
    #[error("the shim closed the connection")]
    Closed,
    /// A frame made no sense.
    #[error(transparent)]
    Frame(#[from] protocol::FrameError),
    /// The shim says no; the text is for the user.
    #[error(transparent)]
    Refused(protocol::Refusal),
}

impl ShimError {
    /// The shim is there and takes no connection now.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::WouldBlock,
            _ => false,
        }
    }
}

/// The argv role `skep shim DIR [LIMIT OF OPEN FILES]`. Call it before any thread or runtime exists.
pub fn main(dir: &Path, open_files: Option<&str>) -> ExitCode {
    run::main(dir, open_files)
}
