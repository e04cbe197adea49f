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
mod quorum;
mod recover;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_objects::raftpb::{ConfState, HardState, Message, MessageType, SnapshotMetadata};

use self::quorum::{ConfRequest, Handover};
use super::config::{RaftConfig, SnapshotPolicy, Timing};
use super::core::{CoreError, RaftCore, Ready, Role};
use super::membership::{Member, Membership};
use super::outbox::{Outbox, Wake};
use super::raft_rs::RaftRs;
use super::status::{Health, RaftStatus};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::log::{AppendError, Base, Log, LogError};
use crate::metrics::RaftCounters;
use crate::state::Access;
use crate::store::Store;
use crate::update::CommitError;

pub use self::quorum::ConfError;
pub(crate) use self::quorum::{ConfReply, Wanted};
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
    /// The log says that the leader is no longer a member.
    campaign_next: bool,
    out: Output,
    pub(crate) counters: Arc<RaftCounters>,
}

/// How far a leader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leadership {
    /// Another member leads, or none.
    None,
    /// Leads, and applies what was in the log before.
    CatchingUp { term: u64, until: u64 },
    /// Leads, and the store takes writes.
    Announced { term: u64 },
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
            campaign_next: false,
            out: Output {
                members_changed: true,
                ..Output::default()
            },
            counters: Arc::default(),
            config,
        };
        replica.advance();
        // Alone, there is nobody to wait for.
        if replica.membership.is_only_voter(replica.me.raft_id) {
            replica.core.campaign();
            replica.advance();
        }
        Ok((replica, store))
    }

    /// A tick passed.
    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        if let Some(ready) = self.stalled.take() {
            self.resume(ready);
        } else if self.is_running() {
            self.core.tick();
            self.ask_whether_removed();
            self.promote_learners();
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

    /// Whether something is committed that the others have not been told of. They learn it with
    /// the next entries; see [`Replica::tell_commit`] when there are none.
    pub(crate) fn owes_commit(&self) -> bool {
        let told = self.told_commit;
        let others = self.membership.len() > 1;
        others && self.is_running() && self.is_announced() && self.core.status().commit > told
    }

    /// Tells the others what is committed.
    pub(crate) fn tell_commit(&mut self) {
        if self.owes_commit() {
            self.core.tell_commit();
            self.told_commit = self.core.status().commit;
            self.advance();
        }
    }

    /// Whether more proposals are about to come than wait now, as far as the recent past tells.
    pub(crate) fn expects_more(&self) -> bool {
        self.waiting() < self.crowd
    }

    /// Proposals that raft has not seen.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }

    fn is_announced(&self) -> bool {
        matches!(self.leadership, Leadership::Announced { .. })
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

    fn note_told(&mut self) {
        let appends = self.out.messages.iter();
        let appends = appends.filter(|message| message.r#type() == MessageType::App);
        let told = appends.map(Message::commit).max();
        self.told_commit = told.unwrap_or_default().max(self.told_commit);
    }

    /// Where the member stands.
    pub(crate) fn status(&self) -> RaftStatus {
        let core = self.core.status();
        let leads = core.role == Role::Leader && self.is_running();
        RaftStatus {
            raft_id: self.me.raft_id,
            role: core.role,
            is_leading: self.is_announced(),
            term: core.term,
            leader: core.leader,
            health: self.health.clone(),
            active: if leads {
                self.active()
            } else {
                BTreeMap::new()
            },
        }
    }

    /// Which members were heard of within an election timeout. Raft's own marks do not do: it clears
    /// all of them at each timeout.
    fn active(&self) -> BTreeMap<u64, bool> {
        let is_active = |id: u64| self.was_heard(id) || id == self.me.raft_id;
        self.membership
            .members()
            .map(|member| (member.raft_id, is_active(member.raft_id)))
            .collect()
    }

    /// Whether a member was heard of within an election timeout.
    fn was_heard(&self, id: u64) -> bool {
        let patience = self.config.election_ticks as u64;
        let heard = self.heard.get(&id);
        heard.is_some_and(|at| self.ticks - at <= patience)
    }

    /// Who the members are.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Notes where it stands, for the metrics.
    pub(crate) fn note_indices(&self) {
        let (status, counters) = (self.core.status(), &self.counters);
        counters.term.store(status.term, Ordering::Relaxed);
        counters
            .commit_index
            .store(status.commit, Ordering::Relaxed);
        counters
            .applied_index
            .store(self.applied, Ordering::Relaxed);
        counters
            .last_index
            .store(status.last_index, Ordering::Relaxed);
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

    /// Hands waiting proposals to raft.
    fn propose(&mut self) {
        self.note_lost_leadership();
        self.propose_conf();
        let Some(outbox) = &self.outbox else { return };
        let proposals = outbox.take();
        let Some(first) = proposals.first().map(|proposal| proposal.id) else {
            return;
        };
        let count = proposals.len() as u64;
        self.counters.proposals.fetch_add(count, Ordering::Relaxed);
        let entries = proposals
            .into_iter()
            .map(|proposal| proposal.data.into())
            .collect();
        if self.core.propose(entries).is_err() {
            let why = if self.core.status().transferring {
                CommitError::Transferring
            } else {
                CommitError::LeadershipLost
            };
            self.store.shared.state().fail_from(first, &why);
        }
    }

    /// Makes a ready durable: all of it, by one sync.
    fn persist(&mut self, ready: &Ready) -> Result<(), AppendError> {
        if let Some(state) = &ready.hard_state {
            self.hard_state = *state;
        }
        if let Some(snapshot) = &ready.snapshot {
            return self.persist_snapshot(snapshot, &ready.entries);
        }
        // How far things are committed can be learnt again; it goes along with the next entries.
        if ready.must_sync {
            self.log.append(&ready.entries, Some(&self.hard_state))?;
        }
        Ok(())
    }

    /// Goes on with a durable ready.
    fn complete(&mut self, mut ready: Ready) {
        if let Some(snapshot) = ready.snapshot.take() {
            self.install(snapshot);
        }
        let mut persisted = self.core.persisted();
        self.out.messages.append(&mut persisted.messages);
        let before = self.store.shared.state().pending();
        self.apply(ready.committed);
        self.apply(persisted.committed);
        let committed = before.saturating_sub(self.store.shared.state().pending());
        if committed > 0 {
            self.crowd = committed + self.waiting();
        }
        if self.is_running() {
            self.core.applied();
            self.after_apply();
        }
        if self.is_running() {
            self.note_leadership();
            self.roll_long_log();
        }
    }

    fn stall(&mut self, ready: Ready, error: AppendError) {
        match error {
            AppendError::Full(error) => {
                tracing::error!(%error, "disk full: this manager is read-only");
                self.health = Health::ReadOnly(error.to_string());
                self.refuse_writes(CommitError::ReadOnly(error.to_string()));
                self.stalled = Some(ready);
            }
            AppendError::Broken(error) => self.fail(error.to_string()),
        }
    }

    /// Tries again what did not fit on the disk.
    fn resume(&mut self, ready: Ready) {
        match self.persist(&ready) {
            Ok(()) => {
                tracing::info!("disk has room again");
                self.health = Health::Running;
                self.complete(ready);
            }
            Err(AppendError::Full(_)) => self.stalled = Some(ready),
            Err(AppendError::Broken(error)) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, why: String) {
        tracing::error!(reason = why, "raft member stopped");
        self.end(Health::Failed(why));
    }

    fn end(&mut self, health: Health) {
        self.health = health;
        self.ready = None;
        self.stalled = None;
        self.refuse_writes(CommitError::Stopped);
        self.rotations.clear();
    }

    /// Tells writers that leadership is gone, as soon as it is.
    fn note_lost_leadership(&mut self) {
        let status = self.core.status();
        let still = match self.leadership {
            Leadership::None => return,
            Leadership::CatchingUp { term, .. } | Leadership::Announced { term } => {
                status.role == Role::Leader && status.term == term
            }
        };
        if !still {
            tracing::info!(term = status.term, "no longer the raft leader");
            self.refuse_writes(CommitError::NotLeader);
        }
    }

    /// Opens the store for writes once everything before this term is applied.
    fn note_leadership(&mut self) {
        let status = self.core.status();
        if status.role != Role::Leader {
            return;
        }
        if self.leadership == Leadership::None {
            let until = status.last_index;
            self.leadership = Leadership::CatchingUp {
                term: status.term,
                until,
            };
        }
        if let Leadership::CatchingUp { term, until } = self.leadership
            && self.applied >= until
        {
            tracing::info!(term, "leading the swarm's managers");
            let outbox = Arc::new(Outbox::new(self.first_request_id(), self.wake.clone()));
            self.store.shared.state().lead(outbox.clone());
            self.outbox = Some(outbox);
            self.leadership = Leadership::Announced { term };
        }
    }

    /// Proposals' ids: 16 bits of the member, 40 of the time, 8 that count; as etcd's.
    fn first_request_id(&self) -> u64 {
        let now = self.clock.now();
        let millis = now
            .seconds
            .wrapping_mul(1000)
            .wrapping_add(i64::from(now.nanos) / 1_000_000);
        let time = millis.cast_unsigned() & 0xff_ffff_ffff;
        ((self.me.raft_id & 0xffff) << 48) | (time << 8) | 1
    }

    fn refuse_writes(&mut self, why: CommitError) {
        self.leadership = Leadership::None;
        self.outbox = None;
        self.fail_conf_requests();
        self.end_handover(&why);
        self.store.shared.state().refuse(why);
    }

    /// What a new segment of the log begins with.
    fn base(&self) -> Base {
        Base {
            identity: self.me.to_message(),
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
        }
    }

    fn roll_long_log(&mut self) {
        if self.log.is_long() {
            let rolled = self.log.roll(&self.base(), &[]);
            self.note_roll(rolled);
        }
    }

    /// A full disk keeps the old segment; a broken one ends it all.
    fn note_roll(&mut self, rolled: Result<(), AppendError>) {
        match rolled {
            Ok(()) => {}
            Err(AppendError::Full(error)) => tracing::warn!(%error, "log segment not begun"),
            Err(AppendError::Broken(error)) => self.fail(error.to_string()),
        }
    }

    fn conf_state(&self) -> ConfState {
        self.core.conf_state()
    }

    fn term_at(&self, index: u64) -> u64 {
        self.core.term_of(index).unwrap_or(self.hard_state.term())
    }
}

/// Why a member cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is on disk cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A snapshot or entry does not make sense.
    #[error("{file}: {source}")]
    Codec {
        /// Where it is.
        file: String,
        /// What is wrong with it.
        source: crate::codec::CodecError,
    },
    /// The log's parts do not fit together.
    #[error("{place}: {what}; remove the directory and join again, or restore it from a backup")]
    Inconsistent {
        /// The directory.
        place: String,
        /// What does not fit.
        what: String,
    },
    /// Raft refuses what it is given.
    #[error("begin raft: {0}")]
    Core(String),
}

impl From<CoreError> for OpenError {
    fn from(error: CoreError) -> Self {
        OpenError::Core(error.to_string())
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
