//! What the store needs of a raft implementation, in messages of our own.
//!
//! One implementation exists, [`super::raft_rs`]; no type of the crate behind it leaves that module.
//! An implementation is a state machine without clock, disk, network or randomness.

use bytes::Bytes;
use skep_objects::raftpb::{ConfChange, ConfState, Entry, HardState, Message, Snapshot};

/// How a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It follows, or waits to be told by a leader.
    Follower,
    /// It asks whether it could win an election.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// Where a raft stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreStatus {
    pub(crate) term: u64,
    pub(crate) role: Role,
    pub(crate) leader: Option<u64>,
    pub(crate) commit: u64,
    pub(crate) last_index: u64,
    pub(crate) transferring: bool,
}

/// What raft wants done. Order: send, install, append with one sync, [`RaftCore::persisted`].
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// To send at once.
    pub(crate) messages: Vec<Message>,
    /// To install in place of everything; its data as the leader sent it.
    pub(crate) snapshot: Option<Snapshot>,
    /// To append.
    pub(crate) entries: Vec<Entry>,
    /// Whether there are entries, or a new term or vote, that must be durable before going on: they
    /// are written with [`RaftCore::hard_state`].
    pub(crate) must_sync: bool,
    /// To apply; they are durable on a quorum, this member included.
    pub(crate) committed: Vec<Entry>,
}

/// What follows from a [`Ready`] being durable.
#[derive(Debug, Default)]
pub(crate) struct Persisted {
    /// To send now.
    pub(crate) messages: Vec<Message>,
    /// To apply, after those of the [`Ready`].
    pub(crate) committed: Vec<Entry>,
}

/// Why raft did not take something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CoreError {
    /// Not the leader, or about not to be.
    #[error("proposal dropped")]
    Dropped,
    /// A message that makes no sense here; it is ignored.
    #[error("message refused: {0}")]
    Refused(String),
    /// The leader knows of entries that this member acknowledged and does not have.
    #[error(
        "the leader says entry {commit} is committed and was acknowledged here, but the log ends \
         at {last}: this manager's raft directory was lost or is an old copy; remove it and join again"
    )]
    LogLost {
        /// What the leader says.
        commit: u64,
        /// Where the log ends.
        last: u64,
    },
}

/// A raft state machine.
pub(crate) trait RaftCore: Send {
    /// Time passes.
    fn tick(&mut self);
    /// A message from another member.
    fn step(&mut self, message: Message) -> Result<(), CoreError>;
    /// Stands for election now.
    fn campaign(&mut self);
    /// Whether to ask before standing for election.
    fn set_pre_vote(&mut self, is_on: bool);
    /// Appends entries, in order; all or none.
    fn propose(&mut self, entries: Vec<Bytes>) -> Result<(), CoreError>;
    /// Appends a configuration change. One at a time: while another is unapplied it is dropped.
    fn propose_conf(&mut self, change: &ConfChange) -> Result<(), CoreError>;
    /// Makes a committed configuration change effective.
    fn apply_conf(&mut self, change: &ConfChange) -> Result<ConfState, CoreError>;
    /// What there is to do, if anything. Nothing else may be called before [`RaftCore::persisted`].
    fn ready(&mut self) -> Option<Ready>;
    /// The last [`Ready`] is durable.
    fn persisted(&mut self) -> Persisted;
    /// All committed entries handed out so far are applied.
    fn applied(&mut self);
    /// For a leader: tells all members how far things are committed. New entries tell it too, so
    /// this is for when there are none.
    fn tell_commit(&mut self);
    /// Hands leadership to another member.
    fn transfer_to(&mut self, member: u64);
    /// A message to a member could not be sent.
    fn report_unreachable(&mut self, member: u64);
    /// A snapshot was sent to a member, or could not be.
    fn report_snapshot(&mut self, member: u64, sent: bool);
    /// The newest snapshot that can be sent. Its data is not kept here.
    fn set_snapshot(&mut self, index: u64, term: u64, conf_state: ConfState);
    /// Forgets entries up to an index.
    fn compact(&mut self, index: u64);
    /// Whether a member needs a newer snapshot than there is; asked once.
    fn wants_snapshot(&mut self) -> bool;
    /// The entries it holds, for writing the log anew.
    fn entries(&self) -> Vec<Entry>;
    /// The term of an entry that it holds.
    fn term_of(&self, index: u64) -> Option<u64>;
    /// Term, vote and commit.
    fn hard_state(&self) -> HardState;
    /// The members as raft knows them.
    fn conf_state(&self) -> ConfState;
    /// For a leader: how far a member's log is known to reach.
    fn matched(&self, member: u64) -> Option<u64>;
    /// For a leader: up to where a member said that it knows things to be committed.
    fn told(&self, member: u64) -> u64;
    /// Where it stands.
    fn status(&self) -> CoreStatus;
}
