//! Why a write did not come about.

use skep_objects::ErrorKind;

use crate::tx::TxError;

/// Why a transaction was not committed, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Only the leader writes, and this member does not lead. Nothing was proposed.
    #[error("this manager is not the leader of the swarm")]
    NotLeader,
    /// Leadership was lost before the commit was known: the write may or may not come about.
    #[error("leadership was lost before the change was known to be committed")]
    LeadershipLost,
    /// Leadership is being handed over. Nothing was proposed.
    #[error("leadership is being transferred to another manager")]
    Transferring,
    /// The transaction is larger than a log entry may be.
    #[error(
        "a change of {bytes} bytes is larger than {limit} bytes, the most that can be replicated at once"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// This manager's disk is full: it reads, and does not write. What was in flight may or may
    /// not come about.
    #[error("the disk of this manager is full, it is read-only until there is room: {0}")]
    ReadOnly(String),
    /// The member was stopped, or removed from the cluster.
    #[error("this manager's store is stopped")]
    Stopped,
}

impl CommitError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CommitError::TooLarge { .. } => ErrorKind::InvalidArgument,
            CommitError::NotLeader
            | CommitError::LeadershipLost
            | CommitError::Transferring
            | CommitError::ReadOnly(_)
            | CommitError::Stopped => ErrorKind::Unavailable,
        }
    }
}

/// Why [`Store::update`](crate::Store::update) failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError<E> {
    /// The transaction's closure said no; nothing was written.
    #[error(transparent)]
    Refused(E),
    /// The write could not be committed, or is not known to be.
    #[error(transparent)]
    Commit(CommitError),
}

impl<E> UpdateError<E> {
    /// Folds both sorts into the caller's own error.
    pub fn into<O: From<E> + From<CommitError>>(self) -> O {
        match self {
            UpdateError::Refused(error) => error.into(),
            UpdateError::Commit(error) => error.into(),
        }
    }
}

impl UpdateError<TxError> {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            UpdateError::Refused(error) => error.kind(),
            UpdateError::Commit(error) => error.kind(),
        }
    }
}
