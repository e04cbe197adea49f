//! One member: raft, its log on disk, and the store that both serve. No clock, no network, no
//! threads: whoever drives it says when time passes and carries the messages.
//!
//! ```text
//!  tick, step, proposals          +---------+   messages: at once, or after the sync
//!  ----------------------> core --| advance |--> log: one sync for all that is there
//!                                 +---------+--> store: committed entries, in order
//! ```
//!
//! Invariants: a message that acknowledges is out only after the sync; entries are applied in order
//! and once; writers are told of lost leadership before anything committed after it is applied.

mod apply;
mod durable;
mod leadership;
mod quorum;
mod recover;
mod snapshots;
mod standing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skep_objects::raftpb::{ConfState, HardState, Message, MessageType, SnapshotMetadata};

use self::leadership::Leadership;
use self::quorum::{ConfRequest, Handover};
use super::config::{RaftConfig, SnapshotPolicy, Timing};
use super::core::{CoreError, RaftCore, Ready, Role};
use super::membership::{Member, Membership};
use super::outbox::{Outbox, Wake};
use super::raft_rs::RaftRs;
use super::status::Health;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::log::{Base, Log};
use crate::metrics::RaftCounters;
use crate::state::Access;
use crate::store::Store;
use crate::update::CommitError;

pub use self::quorum::ConfError;
pub(crate) use self::quorum::{ConfReply, Wanted};
pub use self::recover::OpenError;
pub(crate) use self::snapshots::{SnapshotDone, SnapshotJob};

/// Draws the random bytes for a file's nonces.
pub(crate) type Salts = Box<dyn FnMut() -> [u8; 16] + Send>;

/// What a replica wants from whoever drives it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To carry to the other members. A snapshot's data is missing: [`Replica::snapshot_reader`].
    pub(crate) messages: Vec<Message>,
    /// To run beside; its result goes to [`Replica::snapshot_done`].
    pub(crate) job: Option<SnapshotJob>,
    /// The members changed.
    pub(crate) members_changed: bool,
    /// To give once everything above has been seen to.
    pub(crate) answers: Vec<(ConfReply, Result<(), ConfError>)>,
}

impl Output {
    /// Gives the answers.
    pub(crate) fn answer(self) {
        for (reply, answer) in self.answers {
            // Who asked may not wait any more.
            let _ = reply.send(answer);
        }
    }
}

/// One member.
pub(crate) struct Replica {
    config: RaftConfig,
    me: Member,
    core: Box<dyn RaftCore>,
    log: Log,
    store: Store,
    wake: Wake,
    clock: Arc<dyn Clock>,
    outbox: Option<Arc<Outbox>>,
    membership: Membership,
    applied: u64,
    hard_state: HardState,
    health: Health,
    /// Ticks since the start, and when each member was heard of last.
    ticks: u64,
    heard: BTreeMap<u64, u64>,
    /// What raft wants done, its messages being out.
    ready: Option<Ready>,
    /// A ready that did not fit on the disk.
    stalled: Option<Ready>,
    /// The log was read, and the disk too full to begin a segment.
    is_closed: bool,
    /// The highest commit index that a message of entries told the others.
    told_commit: u64,
    /// How many writers there were lately: what the last own entries came to, and what waits.
    crowd: usize,
    leadership: Leadership,
    snapshot: Option<SnapshotMetadata>,
    since_snapshot: snapshots::Since,
    job_running: bool,
    job_wanted: bool,
    rotations: Vec<tokio::sync::oneshot::Sender<()>>,
    conf_queue: VecDeque<ConfRequest>,
    conf_waiting: BTreeMap<u64, ConfRequest>,
    handover: Option<Handover>,
    /// The log says that this member is no longer one.
    removed_by_log: bool,
    /// It says so in this entry, while this member leads: the others do not know it yet.
    leaving: Option<u64>,
    leaving_since: Option<u64>,
    /// A change of the members was applied, and is to be on disk before anybody hears of it.
    members_dirty: bool,
    /// The log says that the leader is no longer a member.
    campaign_next: bool,
    out: Output,
    pub(crate) counters: Arc<RaftCounters>,
}

impl Replica {
    /// Opens what is on disk, or begins as the configuration says, and gives the store with it.
    pub(crate) fn open(
        config: RaftConfig,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        salts: Salts,
        wake: Wake,
    ) -> Result<(Replica, Store), OpenError> {
        let opened = recover::open(&config, disk, salts)?;
        let store = Store::new(
            opened.view,
            Access::Refused(CommitError::NotLeader),
            clock.clone(),
        );
        let full = opened.full;
        let me = Member::from_message(opened.identity);
        let mut core = RaftRs::new(&core_config(&config, me.raft_id), opened.core)?;
        if let Some(snapshot) = &opened.snapshot {
            let conf_state = snapshot.conf_state.clone().unwrap_or_default();
            core.set_snapshot(snapshot.index(), snapshot.term(), conf_state);
        }
        let mut replica = Replica {
            me,
            applied: opened.snapshot.as_ref().map_or(0, SnapshotMetadata::index),
            hard_state: core.hard_state(),
            core: Box::new(core),
            log: opened.log,
            store: store.clone(),
            wake,
            clock,
            outbox: None,
            membership: opened.membership,
            health: Health::Running,
            ticks: 0,
            heard: BTreeMap::new(),
            ready: None,
            stalled: None,
            is_closed: full.is_some(),
            told_commit: 0,
            crowd: 0,
            leadership: Leadership::None,
            snapshot: opened.snapshot,
            since_snapshot: snapshots::Since::default(),
            job_running: false,
            job_wanted: false,
            rotations: Vec::new(),
            conf_queue: VecDeque::new(),
            conf_waiting: BTreeMap::new(),
            handover: None,
            removed_by_log: false,
            leaving: None,
            leaving_since: None,
            members_dirty: false,
            campaign_next: false,
            out: Output {
                members_changed: true,
                ..Output::default()
            },
            counters: Arc::default(),
            config,
        };
        // Nothing is to be written yet: what is known to be committed is applied.
        replica.advance();
        match full {
            Some(error) => replica.go_read_only(error.to_string()),
            None => replica.stand_if_alone(),
        }
        Ok((replica, store))
    }

    /// Alone, there is nobody to wait for.
    fn stand_if_alone(&mut self) {
        if self.membership.is_only_voter(self.me.raft_id) {
            self.core.campaign();
            self.advance();
        }
    }

    /// A tick passed.
    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        if self.is_read_only() {
            self.try_disk();
        } else if self.is_running() {
            self.core.tick();
            self.ask_whether_removed();
            self.promote_learners();
            self.watch_leaving();
        }
        self.advance();
    }

    /// A member whose log does not yet tell that it is one never stands for election, so nobody would
    /// ever refuse it as removed. When all have been silent for long, it says a word to those it
    /// knows: members ignore it, and tell one that was removed.
    fn ask_whether_removed(&mut self) {
        let Some(last) = self.heard.values().max() else {
            return;
        };
        let silence = self.ticks - last;
        let patience = 3 * self.config.election_ticks as u64;
        if silence == 0
            || !silence.is_multiple_of(patience)
            || self.core.status().role == Role::Leader
        {
            return;
        }
        let term = self.core.status().term;
        for to in self.heard.keys().filter(|id| **id != self.me.raft_id) {
            self.out.messages.push(Message {
                r#type: Some(MessageType::HeartbeatResp.into()),
                to: Some(*to),
                from: Some(self.me.raft_id),
                term: Some(term),
                ..Message::default()
            });
        }
    }

    /// A message came. Call [`Replica::advance`] when all that are there have been taken.
    pub(crate) fn step(&mut self, message: Message) {
        if !self.is_running() || self.membership.is_removed(message.from()) {
            return;
        }
        self.heard.insert(message.from(), self.ticks);
        if self.leaving.is_some() && message.r#type() == MessageType::AppResp {
            return; // It may commit nothing more: raft counts on leaders that are members.
        }
        match self.core.step(message) {
            Ok(()) => {}
            Err(error @ CoreError::LogLost { .. }) => self.fail(error.to_string()),
            Err(error) => tracing::debug!(%error, "raft message ignored"),
        }
    }

    /// Does all there is to do: proposals, messages, the log, committed entries.
    pub(crate) fn advance(&mut self) {
        while self.prepare() {
            self.carry_out();
        }
        self.settle();
    }

    /// The first half of a step: hands proposals to raft, and puts out the messages that need not
    /// wait for this member's disk. Those should be on their way before the second half, in which
    /// the disk is waited for: so the others write at the same time. False when there is no more.
    pub(crate) fn prepare(&mut self) -> bool {
        if self.is_running() && self.ready.is_none() {
            self.propose();
            self.ready = self.core.ready();
            if let Some(ready) = &mut self.ready {
                self.out.messages.append(&mut ready.messages);
                self.note_lost_leadership();
            }
        }
        self.is_running() && self.ready.is_some()
    }

    /// The second half: makes it durable, and applies what is committed.
    pub(crate) fn carry_out(&mut self) {
        let Some(ready) = self.ready.take() else {
            return;
        };
        match self.persist(&ready) {
            Ok(()) => self.complete(ready),
            Err(error) => self.stall(ready, error),
        }
    }

    /// What comes after all steps.
    pub(crate) fn settle(&mut self) {
        if self.is_running() {
            self.watch_handover();
            self.begin_snapshot();
        }
    }

    /// What there is to do outside.
    pub(crate) fn take_output(&mut self) -> Output {
        self.note_told();
        std::mem::take(&mut self.out)
    }

    /// Whether there are messages to carry.
    pub(crate) fn has_messages(&self) -> bool {
        !self.out.messages.is_empty()
    }

    /// Goes over to the manners of a quorum shared with dockerd, or back; answers the tick's length.
    pub(crate) fn set_mixed(&mut self, is_mixed: bool) -> Duration {
        let timing = Timing::of(is_mixed);
        self.config.set_timing(timing);
        self.core.set_pre_vote(timing.pre_vote);
        timing.tick
    }

    /// From now on there is a snapshot after so many entries.
    pub(crate) fn set_snapshot_policy(&mut self, policy: SnapshotPolicy) {
        self.config.snapshot_interval = policy.interval;
        self.config.keep_entries = policy.keep_entries;
        self.config.keep_snapshots = policy.keep_snapshots;
    }

    /// Index of the last applied entry.
    #[cfg(feature = "testing")]
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// A message to a member could not be sent.
    pub(crate) fn report_unreachable(&mut self, member: u64) {
        if self.is_running() {
            self.core.report_unreachable(member);
        }
    }

    /// A snapshot was sent to a member, or could not be.
    pub(crate) fn report_snapshot(&mut self, member: u64, sent: bool) {
        if self.is_running() {
            self.core.report_snapshot(member, sent);
        }
    }

    /// Others say that this member was removed.
    pub(crate) fn report_removed(&mut self) {
        if self.is_running() {
            self.end(Health::Removed);
        }
    }

    /// Takes no more part.
    pub(crate) fn stop(&mut self) {
        if !matches!(self.health, Health::Removed | Health::Failed(_)) {
            self.end(Health::Stopped);
        }
        self.store.shared.state().watchers.close();
    }

    fn is_running(&self) -> bool {
        self.health == Health::Running
    }

    fn is_read_only(&self) -> bool {
        matches!(self.health, Health::ReadOnly(_))
    }

    fn conf_state(&self) -> ConfState {
        self.core.conf_state()
    }

    fn term_at(&self, index: u64) -> u64 {
        self.core.term_of(index).unwrap_or(self.hard_state.term())
    }
}

fn core_config(config: &RaftConfig, raft_id: u64) -> super::raft_rs::CoreConfig {
    super::raft_rs::CoreConfig {
        raft_id,
        election_ticks: config.election_ticks,
        heartbeat_ticks: config.heartbeat_ticks,
        pre_vote: config.pre_vote,
        seed: config.seed,
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("status", &self.status())
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}
