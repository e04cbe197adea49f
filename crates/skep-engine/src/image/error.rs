//! What can go wrong with images. Texts that reach users are Docker's.

use std::io;
use std::path::PathBuf;

use skep_objects::ErrorKind;
use skep_objects::reference::ReferenceError;

/// Why an operation on images did not happen.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum ImageError {
    #[error("No such image: {0}")]
    NotFound(String),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("ambiguous reference {0:?}: more than one image has an id that begins so")]
    Ambiguous(String),
    #[error("conflict: unable to {action} {name} ({}) - {why}", force_hint(*.must_be_forced))]
    InUse {
        action: &'static str,
        name: String,
        must_be_forced: bool,
        why: String,
    },
    #[error("{what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{what}: {source}")]
    Stream {
        what: &'static str,
        source: io::Error,
    },
    #[error("{what} {digest} does not verify: its content has digest {found}")]
    Corrupt {
        what: &'static str,
        digest: String,
        found: String,
    },
    #[error("invalid {what}: {why}")]
    Invalid { what: &'static str, why: String },
    #[error("{0}")]
    BadLayer(String),
    #[error("manifest for {0} not found: manifest unknown: manifest unknown")]
    ManifestUnknown(String),
    #[error(
        "pull access denied for {0}, repository does not exist or may require 'docker login': \
         denied: requested access to the resource is denied"
    )]
    PullDenied(String),
    #[error("unauthorized: authentication required")]
    Unauthorized,
    #[error("{0}")]
    LoginRefused(String),
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoPlatform(String),
    #[error("image with reference {0} was found but does not provide the specified platform ({1})")]
    OtherPlatform(String, String),
    #[error("{0}")]
    Registry(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{text}")]
    Download { kind: ErrorKind, text: String },
    #[error("An image does not exist locally with the tag: {0}")]
    NotLocal(String),
    #[error("{0}")]
    NotSupported(String),
    #[error("the operation was interrupted by the daemon's end")]
    Interrupted,
}

fn force_hint(must_be_forced: bool) -> &'static str {
    if must_be_forced {
        "must be forced"
    } else {
        "cannot be forced"
    }
}

impl ImageError {
    /// The class of the error, for HTTP and gRPC status codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_)
            | Self::ManifestUnknown(_)
            | Self::PullDenied(_)
            | Self::NoPlatform(_)
            | Self::OtherPlatform(..)
            | Self::NotLocal(_) => ErrorKind::NotFound,
            Self::Reference(_) | Self::Ambiguous(_) | Self::Invalid { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Download { kind, .. } => *kind,
            Self::NotSupported(_) => ErrorKind::NotImplemented,
            Self::Unauthorized => ErrorKind::Internal,
            Self::LoginRefused(_) => ErrorKind::Unauthenticated,
            Self::Interrupted => ErrorKind::Unavailable,
            Self::Io { .. }
            | Self::Stream { .. }
            | Self::Corrupt { .. }
            | Self::BadLayer(_)
            | Self::Registry(_)
            | Self::Unreachable(_) => ErrorKind::Internal,
        }
    }

    /// Whether the registry could not be reached at all, so that a local image may do.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(super) fn invalid(what: &'static str, why: impl ToString) -> Self {
        Self::Invalid {
            what,
            why: why.to_string(),
        }
    }
}
