//! What a node says when it cannot do what was asked of it as a member of a swarm. Texts are
//! Docker's: scripts and the CLI look for parts of them.

use skep_agent::disk::DiskError;
use skep_objects::ErrorKind;
use skep_rpc::bootstrap::BootstrapError;
use skep_rpc::identity::FilesError;

use super::address::AddressError;
use super::manager::ManagerError;
use super::state::StateError;

/// Why an operation on this node's membership failed.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// No member.
    #[error("This node is not part of a swarm")]
    NotMember,
    /// A member already.
    #[error(
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and \
         join another one."
    )]
    AlreadyMember,
    /// The join goes on.
    #[error(
        "Timeout was reached before node joined. The attempt to join the swarm will continue in \
         the background. Use the \"docker info\" command to see the current swarm status of your \
         node."
    )]
    JoinTimeout,
    /// Autolock is on, and the daemon was restarted.
    #[error(
        "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker \
         swarm unlock\" to unlock it."
    )]
    Locked,
    /// Nothing to unlock.
    #[error("swarm is not locked")]
    NotLocked,
    /// The unlock key is another one.
    #[error("swarm could not be unlocked: invalid key provided")]
    InvalidUnlockKey,
    /// The node was away for longer than its certificate lives.
    #[error(
        "Swarm certificates have expired. To replace them, leave the swarm and join again. `docker \
         swarm join` with a token does both at once; where the certificates of all managers have \
         expired, run `docker swarm init --force-new-cluster` on one of them first."
    )]
    CertificatesExpired,
    /// The host was moved to a network where its interfaces do not tell the new address.
    #[error(
        "this host has lost the address {addr}, which it {what}, and there is no telling the new one: \
         give it back, or run `skep swarm move {flag} ADDR`"
    )]
    AddressLost {
        /// The address it had.
        addr: std::net::IpAddr,
        /// What for.
        what: &'static str,
        /// What tells the new one.
        flag: &'static str,
    },
    /// A question for managers, asked of a node outside any swarm.
    #[error(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
         connect this node to swarm and try again."
    )]
    NoSwarm,
    /// A question for managers, asked of a worker.
    #[error(
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster \
         state. Please run this command on a manager node or promote the current node to a manager."
    )]
    Worker,
    /// A question for managers, asked of one that is not ready.
    #[error(
        "This node is not a swarm manager. Manager is being prepared or has trouble connecting to \
         the cluster."
    )]
    ManagerNotReady,
    /// Leaving would cost the quorum, or may.
    #[error("{0}")]
    LeaveRefused(String),
    /// The request can never be right.
    #[error("{0}")]
    Invalid(String),
    /// An address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No certificate.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The node's key or certificates cannot be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The node's settings cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The tasks cannot be read.
    #[error(transparent)]
    Tasks(#[from] DiskError),
    /// The manager cannot run.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The host's networks cannot be set up for a swarm.
    #[error(transparent)]
    Engine(#[from] skep_engine::EngineError),
    /// The node ended while somebody waited for it.
    #[error("{0}")]
    Ended(String),
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] skep_manager::backup::BackupError),
    /// The backup can be read, but no swarm be made of it.
    #[error(transparent)]
    Restore(#[from] skep_manager::backup::RestoreError),
    /// An error that several hear of.
    #[error("{0}")]
    Shared(std::sync::Arc<SwarmError>),
}

impl SwarmError {
    /// The kind of this error, for status codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotMember
            | Self::AlreadyMember
            | Self::JoinTimeout
            | Self::Locked
            | Self::CertificatesExpired
            | Self::AddressLost { .. }
            | Self::NoSwarm
            | Self::Worker
            | Self::ManagerNotReady
            | Self::LeaveRefused(_) => ErrorKind::Unavailable,
            Self::NotLocked => ErrorKind::Conflict,
            Self::InvalidUnlockKey => ErrorKind::Unauthenticated,
            Self::Invalid(_) | Self::Address(_) => ErrorKind::InvalidArgument,
            Self::Bootstrap(error) => error.kind(),
            Self::Files(error) => error.kind(),
            Self::Manager(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Shared(error) => error.kind(),
            Self::Backup(error) => error.kind(),
            Self::Restore(error) => error.kind(),
            Self::State(_) | Self::Tasks(_) | Self::Ended(_) => ErrorKind::Internal,
        }
    }
}
