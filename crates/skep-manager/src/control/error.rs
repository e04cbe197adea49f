//! Why a control request was refused. The texts are those that Docker's clients show.

use skep_objects::ErrorKind;
use skep_rpc::status::code_of;
use skep_store::{CommitError, TxError};
use tonic::{Code, Status};

/// A refusal of a control request.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request says something that can never be right.
    #[error("{0}")]
    Invalid(String),
    /// What the request names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The state of the swarm forbids it for now.
    #[error("{0}")]
    Precondition(String),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// Not something that skep can do.
    #[error("{0}")]
    Unimplemented(String),
    /// The change was made against an older version of the object.
    #[error("update out of sequence")]
    OutOfSequence,
    /// The store did not take the change.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl ControlError {
    /// The text of a request that lacks what it must have.
    pub fn missing_argument() -> Self {
        Self::Invalid("invalid argument".to_owned())
    }

    /// The text for an object that does not exist.
    pub fn not_found(kind: &str, id: &str) -> Self {
        Self::NotFound(format!("{kind} {id} not found"))
    }

    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Precondition(_) => ErrorKind::Conflict,
            Self::Exists(_) => ErrorKind::AlreadyExists,
            Self::Unimplemented(_) => ErrorKind::NotImplemented,
            Self::OutOfSequence => ErrorKind::Internal,
            Self::Commit(error) => error.kind(),
        }
    }
}

impl From<TxError> for ControlError {
    fn from(error: TxError) -> Self {
        let text = error.to_string();
        match error {
            TxError::Exists { .. } | TxError::NameConflict { .. } => Self::Exists(text),
            TxError::NotFound { .. } => Self::NotFound(text),
            TxError::OutOfSequence { .. } => Self::OutOfSequence,
            TxError::UnknownResourceKind { .. } => Self::Invalid(text),
        }
    }
}

impl From<ControlError> for Status {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::Invalid(_) => Code::InvalidArgument,
            ControlError::NotFound(_) => Code::NotFound,
            ControlError::Precondition(_) => Code::FailedPrecondition,
            ControlError::Exists(_) => Code::AlreadyExists,
            ControlError::Unimplemented(_) => Code::Unimplemented,
            // Docker answers a stale version with Unknown, which its HTTP server makes a 500.
            ControlError::OutOfSequence => Code::Unknown,
            ControlError::Commit(error) => code_of(error.kind()),
        };
        Status::new(code, error.to_string())
    }
}
