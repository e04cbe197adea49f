//! One member of the quorum.
//!
//! - [`RaftNode`] runs a member on a thread of its own and is the handle to it.
//! - [`replica::Replica`] is the member itself: a state machine without clock, network or threads.
//! - [`core::RaftCore`] is what it needs of a raft implementation; `raft_rs` is the one there is.
//! - [`Membership`] is who the members are; [`Transport`] carries messages to them.

mod config;
mod convert;
pub(crate) mod core;
mod membership;
mod memlog;
mod node;
mod outbox;
mod raft_rs;
pub(crate) mod replica;
mod status;
#[cfg(feature = "testing")]
mod stepped;
mod transport;

pub use self::config::{RaftConfig, SnapshotPolicy, Start};
pub use self::core::Role;
pub use self::membership::{Member, Membership, MembershipError};
pub use self::node::{RaftNode, StartError};
pub use self::replica::{ConfError, OpenError};
pub use self::status::{Health, RaftStatus};
#[cfg(feature = "testing")]
pub use self::stepped::SteppedMember;
pub use self::transport::Transport;
