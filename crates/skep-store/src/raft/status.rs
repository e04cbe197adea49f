//! What a raft member says about itself.

use std::collections::BTreeMap;

use super::core::Role;

/// Whether a member can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Running,
    /// The disk is full: the member answers reads, takes no part in the quorum, and goes on as
    /// soon as there is room. The text says what could not be written.
    ReadOnly(String),
    /// It was removed from the cluster; its raft directory is of no more use.
    Removed,
    /// The disk does not work, or does not hold what it should; the text says what to do.
    Failed(String),
    /// It was stopped.
    Stopped,
}

/// Where a member stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// Its own raft id.
    pub raft_id: u64,
    /// How it takes part.
    pub role: Role,
    /// Whether it leads and has applied everything before its term: writes are accepted, the
    /// leader's loops may run.
    pub is_leading: bool,
    /// The current term.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// Whether it can do its work.
    pub health: Health,
    /// On the leader: which members were heard of within the last election timeout.
    pub active: BTreeMap<u64, bool>,
}

impl RaftStatus {
    /// The term that this member leads, with everything before it applied.
    pub fn leading_term(&self) -> Option<u64> {
        self.is_leading.then_some(self.term)
    }
}
