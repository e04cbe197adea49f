//! Why a container, or a process in it, could not be made. Texts are those that dockerd's users know.

use std::io;
use std::path::Path;

use crate::cgroup::CgroupError;
use crate::seccomp::SeccompError;
use crate::shim::protocol::{Refusal, RefusalKind};

/// What goes wrong while creating.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The program cannot be found in the container.
    #[error("exec: {program:?}: {reason}")]
    ProgramNotFound {
        /// `argv[0]`.
        program: String,
        /// As Go's `exec.LookPath` says it.
        reason: String,
    },
    /// The program is there but cannot be executed.
    #[error("exec: {program:?}: {reason}")]
    ProgramNotExecutable {
        /// `argv[0]`.
        program: String,
        /// As Go's `exec.LookPath` says it.
        reason: String,
    },
    /// `config.json` asks for something impossible.
    #[error("{0}")]
    Config(String),
    /// One step of many.
    #[error("{what}: {}", errno_text(source))]
    Step {
        /// What was attempted, and on what.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// A mount, with runc's words.
    #[error(
        "error mounting {origin:?} to rootfs at {target:?}: {}",
        errno_text(source)
    )]
    Mount {
        /// The mount's source.
        origin: String,
        /// Where in the container.
        target: String,
        /// The cause.
        source: io::Error,
    },
    /// A hook.
    #[error("error running {stage} hook #{index}: {reason}")]
    Hook {
        /// `createRuntime` and so on.
        stage: &'static str,
        /// Which of the list.
        index: usize,
        /// What it did.
        reason: String,
    },
    /// Cgroups.
    #[error("unable to apply cgroup configuration: {0}")]
    Cgroup(#[from] CgroupError),
    /// The filter.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
}

/// The system's words without Rust's `(os error N)`, in lower case as Go has them.
pub(crate) fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut chars = text.chars();
            chars
                .next()
                .map(|c| c.to_lowercase().collect::<String>() + chars.as_str())
                .unwrap_or_default()
        }
        None => error.to_string(),
    }
}

/// Names the step that an `io::Error` came from.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, CreateError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, CreateError> {
        self.map_err(|e| CreateError::Step {
            what: what(),
            source: e.into(),
        })
    }
}

/// Like [`Context::context`], for the common `operation path`.
pub(crate) fn on<'a>(op: &'a str, path: &'a Path) -> impl FnOnce() -> String + 'a {
    move || format!("{op} {}", path.display())
}

impl CreateError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::ProgramNotFound { .. } => RefusalKind::ProgramNotFound,
            Self::ProgramNotExecutable { .. } => RefusalKind::ProgramNotExecutable,
            // As dockerd counts it.
            Self::Mount { source, .. } if source.raw_os_error() == Some(libc::ENOTDIR) => {
                RefusalKind::ProgramNotExecutable
            }
            Self::Config(_)
            | Self::Step { .. }
            | Self::Mount { .. }
            | Self::Hook { .. }
            | Self::Cgroup(_)
            | Self::Seccomp(_) => RefusalKind::Create,
        }
    }

    /// The whole text which dockerd gives for a container that did not start.
    pub fn for_create(&self) -> Refusal {
        let during_init = match self {
            Self::Cgroup(_) | Self::Config(_) => "",
            _ => "error during container init: ",
        };
        let hint = match self {
            Self::Mount { source, .. } if source.raw_os_error() == Some(libc::ENOTDIR) => {
                ": Are you trying to mount a directory onto a file (or vice-versa)? \
                 Check if the specified host path exists and is the expected type"
            }
            _ => "",
        };
        Refusal {
            kind: self.kind(),
            message: format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                 runc create failed: unable to start container process: {during_init}{self}: unknown{hint}"
            ),
        }
    }

    /// The whole text which dockerd gives for an exec that did not start.
    pub fn for_exec(&self) -> Refusal {
        Refusal {
            kind: self.kind(),
            message: format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {self}: unknown"
            ),
        }
    }
}
