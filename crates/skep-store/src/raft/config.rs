//! How a raft member is set up.

use std::time::Duration;

use super::membership::Member;
use crate::seal::DekSet;

const TICK: Duration = Duration::from_millis(100);
/// dockerd's.
const MIXED_TICK: Duration = Duration::from_secs(1);

/// A raft member's settings.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// What to do when the disk holds no log yet. Otherwise the log says who the member is.
    pub start: Start,
    /// Node id of this manager.
    pub node_id: String,
    /// Where the other managers reach this one.
    pub addr: String,
    /// What the log and the snapshots are sealed with.
    pub keys: DekSet,
    /// Make this manager the only member, whatever the log says, and lose what only the others had.
    /// For a quorum that is gone for good.
    pub force_new_cluster: bool,
    /// Length of a tick.
    pub tick: Duration,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader before an election; each member draws between this and twice this.
    pub election_ticks: usize,
    /// Ask before standing for election, so that a member that comes back disturbs nobody.
    /// Off in a quorum shared with dockerd.
    pub pre_vote: bool,
    /// Let new members follow without a vote until they have caught up, so that a slow one holds up
    /// nobody. Off in a quorum shared with dockerd, which has no such members.
    pub learners: bool,
    /// Entries between snapshots.
    pub snapshot_interval: u64,
    /// Bytes of entries between snapshots, at least; also no less than the last snapshot's size.
    pub snapshot_bytes: u64,
    /// Entries kept behind a snapshot, for members that are a little behind.
    pub keep_entries: u64,
    /// Older snapshots kept beside the newest. Nothing reads them.
    pub keep_snapshots: u64,
    /// Zeros written ahead of the log's end, so that a sync need not wait for the file system.
    pub write_ahead_bytes: u64,
    /// Seeds election timeouts: a random number for each member.
    pub seed: u64,
}

/// How often there are snapshots, and what is kept behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// See [`RaftConfig::snapshot_interval`].
    pub interval: u64,
    /// See [`RaftConfig::keep_entries`].
    pub keep_entries: u64,
    /// See [`RaftConfig::keep_snapshots`].
    pub keep_snapshots: u64,
}

/// What a member without a log does.
#[derive(Debug, Clone)]
pub enum Start {
    /// Begins a cluster of its own, under this raft id.
    Bootstrap {
        /// A random number from 1 to 2^63.
        raft_id: u64,
    },
    /// Waits for the leader that gave it this raft id.
    Join {
        /// What the leader's answer says.
        raft_id: u64,
        /// The members in the leader's answer, to have their addresses before the log does.
        members: Vec<Member>,
    },
}

impl RaftConfig {
    /// The settings for a quorum of skep managers: an election in 1 to 2 seconds.
    pub fn new(start: Start, node_id: String, addr: String, keys: DekSet, seed: u64) -> Self {
        RaftConfig {
            start,
            node_id,
            addr,
            keys,
            force_new_cluster: false,
            tick: TICK,
            heartbeat_ticks: 1,
            election_ticks: 10,
            pre_vote: true,
            learners: true,
            snapshot_interval: 10_000,
            snapshot_bytes: 16 << 20,
            keep_entries: 500,
            keep_snapshots: 0,
            write_ahead_bytes: 1 << 20,
            seed,
        }
    }

    pub(crate) fn set_timing(&mut self, timing: Timing) {
        self.tick = timing.tick;
        self.pre_vote = timing.pre_vote;
        self.learners = timing.learners;
    }
}

/// What differs between a quorum of skep managers, with an election in 1 to 2 seconds, and one shared
/// with dockerd, with one in 10 to 20.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) tick: Duration,
    pub(crate) pre_vote: bool,
    pub(crate) learners: bool,
}

impl Timing {
    pub(crate) fn of(is_mixed: bool) -> Self {
        Self {
            tick: if is_mixed { MIXED_TICK } else { TICK },
            pre_vote: !is_mixed,
            learners: !is_mixed,
        }
    }
}
