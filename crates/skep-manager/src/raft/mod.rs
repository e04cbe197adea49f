//! The managers' quorum over the network.
//!
//! - [`Quorum`] is the handle: it founds, joins or resumes, knows the members and the leader, adds
//!   and removes, and hands its gRPC services to the server. It exists before its raft member does,
//!   since a joiner must answer the leader's health check first.
//! - `peers`: a queue and a task (`carry`) for each other member, which carry raft's messages;
//!   `pieces`: snapshots.
//! - `announce`: a manager whose address changed. `resolve`: where a member is that is new to this one.
//!   `settings`: what the cluster's spec says.
//! - `service`, `stream`: messages from the others. `membership`: Join and Leave. `members`: for the
//!   control API. `health`: what serves.
//! - [`keys`]: the key that the log is sealed with, in the headers of the node's key file.
//!
//! Invariant: nothing here blocks raft: messages that cannot go out are dropped, and raft is told.

mod announce;
mod carry;
mod health;
mod joined;
pub mod keys;
mod leader;
mod members;
mod membership;
mod missing;
mod peers;
mod pieces;
mod quorum;
mod resolve;
mod service;
mod settings;
mod stream;

pub use health::Health;
pub use quorum::{JoinError, Quorum, QuorumConfig, QuorumError, RemoveError};

/// What a member that was removed is told; managers of other makes know the text.
const REMOVED: &str = "raft: member was removed from the cluster";
