//! What can go wrong on one host, with the texts Docker's clients show.

use std::path::PathBuf;

use skep_objects::ErrorKind;

/// A failed operation of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The object named does not exist.
    #[error("No such {what}: {reference}")]
    NoSuch {
        /// `container`, `image` or `exec instance`.
        what: &'static str,
        /// As the caller wrote it.
        reference: String,
    },
    /// The request was looked at and turned down; the text is what the user reads.
    #[error("{text}")]
    Refused {
        /// Why, in one word.
        kind: ErrorKind,
        /// Why, in Docker's words.
        text: String,
    },
    /// skep does not do this.
    #[error("{0} is not supported")]
    NotSupported(String),
    /// The file system refused something.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A record on disk cannot be read.
    #[error("record {}: {source}", path.display())]
    Record {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The shim or the container's first process could not be started.
    #[error("{0}")]
    Start(String),
    /// A shim did not answer as it should.
    #[error("{doing} container {id}: {reason}")]
    Shim {
        /// What was attempted.
        doing: &'static str,
        /// The container.
        id: String,
        /// What the shim or its socket said.
        reason: String,
    },
    /// The kernel's network refused something.
    #[error("{doing}: {reason}")]
    Network {
        /// What was attempted.
        doing: String,
        /// What skep-net said.
        reason: String,
        /// Its kind.
        kind: ErrorKind,
    },
}

impl EngineError {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuch { .. } => ErrorKind::NotFound,
            Self::Refused { kind, .. } | Self::Network { kind, .. } => *kind,
            Self::NotSupported(_) => ErrorKind::NotImplemented,
            // Docker answers 400 to what the OCI runtime refuses, so that the CLI exits 125 to 127.
            Self::Start(_) => ErrorKind::InvalidArgument,
            Self::Io { .. } | Self::Record { .. } | Self::Shim { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::refused(ErrorKind::InvalidArgument, text)
    }

    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::refused(ErrorKind::Conflict, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::refused(ErrorKind::NotFound, text)
    }

    pub(crate) fn not_allowed(text: impl Into<String>) -> Self {
        Self::refused(ErrorKind::NotAllowed, text)
    }

    pub(crate) fn refused(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self::Refused {
            kind,
            text: text.into(),
        }
    }

    /// Whether a file was to be read that is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    pub(crate) fn no_container(reference: &str) -> Self {
        Self::NoSuch {
            what: "container",
            reference: reference.to_owned(),
        }
    }

    /// For `map_err` on file operations.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

/// What the engine's operations return.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;
