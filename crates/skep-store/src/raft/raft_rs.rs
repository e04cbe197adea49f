//! [`RaftCore`] by the `raft` crate (TiKV's port of etcd's raft). The only file, with
//! [`super::convert`] and [`super::memlog`], that knows its types.

use bytes::Bytes;
use raft::eraftpb as raw;
use raft::{RawNode, SnapshotStatus, StateRole, Storage};
use skep_objects::raftpb::{
    ConfChange, ConfState, Entry, HardState, Message, MessageType, Snapshot,
};

use super::convert::{
    conf_change, conf_entry, conf_state_in, conf_state_out, entry_in, entry_out, hard_state_in,
    hard_state_out, message_in, message_out, snapshot_out,
};
use super::core::{CoreError, CoreStatus, Persisted, RaftCore, Ready, Role};
use super::memlog::MemLog;

/// How a raft is set up.
#[derive(Debug, Clone)]
pub(crate) struct CoreConfig {
    pub(crate) raft_id: u64,
    pub(crate) election_ticks: usize,
    pub(crate) heartbeat_ticks: usize,
    pub(crate) pre_vote: bool,
    /// For the election timeouts.
    pub(crate) seed: u64,
}

/// What a raft begins with.
#[derive(Debug, Default)]
pub(crate) struct CoreStart {
    pub(crate) hard_state: HardState,
    /// The members as of `applied`.
    pub(crate) conf_state: ConfState,
    pub(crate) applied: u64,
    /// Index and term of the entry before the first of `entries`.
    pub(crate) before: (u64, u64),
    pub(crate) entries: Vec<Entry>,
}

/// The raft crate's state machine with our messages around it.
pub(crate) struct RaftRs {
    node: RawNode<MemLog>,
    /// Taken from the last ready and waiting for it to be durable.
    held: Option<raft::Ready>,
    held_messages: Vec<Message>,
    random: Random,
    /// Term and role when the timeout was drawn last.
    stood: (u64, StateRole),
}

/// Bytes of entries in one message. Receivers take 4 MiB with everything.
const MAX_MESSAGE_BYTES: u64 = 512 << 10;
const MAX_INFLIGHT: usize = 256;

impl RaftRs {
    pub(crate) fn new(config: &CoreConfig, start: CoreStart) -> Result<Self, CoreError> {
        let raft_config = raft::Config {
            id: config.raft_id,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: start.applied,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT,
            check_quorum: true,
            pre_vote: config.pre_vote,
            // The next entries tell it, or [`RaftCore::tell_commit`]: half the messages.
            skip_bcast_commit: true,
            ..raft::Config::default()
        };
        let log = MemLog::new(
            hard_state_in(&start.hard_state),
            conf_state_in(start.conf_state),
            start.before,
            start.entries.into_iter().map(entry_in).collect(),
        );
        let logger = slog::Logger::root(ToTracing, slog::o!());
        let node = RawNode::new(&raft_config, log, &logger).map_err(refused)?;
        let mut core = RaftRs {
            stood: (node.raft.term, node.raft.state),
            node,
            held: None,
            held_messages: Vec::new(),
            random: Random(config.seed ^ config.raft_id),
        };
        core.draw_timeout();
        Ok(core)
    }

    /// Puts our own random election timeout over the crate's, which would not be repeatable.
    ///
    /// The crate draws one whenever role or term change.
    fn redraw(&mut self) {
        let stands = (self.node.raft.term, self.node.raft.state);
        if stands != self.stood {
            self.stood = stands;
            self.random.step();
        }
        self.draw_timeout();
    }

    fn draw_timeout(&mut self) {
        let ticks = self.node.raft.election_timeout();
        let extra = usize::try_from(self.random.value() % ticks as u64).unwrap_or_default();
        self.node
            .raft
            .set_randomized_election_timeout(ticks + extra);
    }

    /// Refuses what would make the crate panic.
    fn check(&self, message: &Message) -> Result<(), CoreError> {
        let last = self.node.raft.raft_log.last_index();
        let log_lost = |commit| Err(CoreError::LogLost { commit, last });
        match message.r#type() {
            // A leader only tells a member to commit what the member acknowledged.
            MessageType::Heartbeat
                if message.commit() > last && message.term() >= self.node.raft.term =>
            {
                log_lost(message.commit())
            }
            MessageType::Prop => Err(CoreError::Refused("proposals are not forwarded".into())),
            MessageType::App if !is_consecutive(message) => {
                Err(CoreError::Refused("entries are not consecutive".into()))
            }
            _ => Ok(()),
        }
    }
}

impl RaftCore for RaftRs {
    fn tick(&mut self) {
        self.node.tick();
        self.redraw();
    }

    fn set_pre_vote(&mut self, is_on: bool) {
        self.node.raft.pre_vote = is_on;
    }

    fn step(&mut self, mut message: Message) -> Result<(), CoreError> {
        self.check(&message)?;
        if message.r#type() == MessageType::Snap {
            name_receiver(&mut message, self.node.raft.id);
        }
        let Some(message) = message_in(message) else {
            return Ok(());
        };
        let result = self.node.step(message).map_err(refused);
        self.redraw();
        result
    }

    fn campaign(&mut self) {
        // Not being allowed to is not an error of the caller's.
        let _ = self.node.campaign();
        self.redraw();
    }

    fn propose(&mut self, entries: Vec<Bytes>) -> Result<(), CoreError> {
        let mut message = raw::Message {
            msg_type: raw::MessageType::MsgPropose,
            from: self.node.raft.id,
            ..raw::Message::default()
        };
        let entries = entries.into_iter().map(|data| raw::Entry {
            data,
            ..raw::Entry::default()
        });
        message.set_entries(entries.collect::<Vec<_>>().into());
        if self.node.raft.state != StateRole::Leader {
            return Err(CoreError::Dropped);
        }
        self.node.raft.step(message).map_err(|_| CoreError::Dropped)
    }

    fn propose_conf(&mut self, change: &ConfChange) -> Result<(), CoreError> {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader || raft.has_pending_conf() {
            return Err(CoreError::Dropped);
        }
        let entry = conf_entry(change);
        let mut message = raw::Message {
            msg_type: raw::MessageType::MsgPropose,
            from: raft.id,
            ..raw::Message::default()
        };
        message.set_entries(vec![entry].into());
        self.node.raft.step(message).map_err(|_| CoreError::Dropped)
    }

    fn apply_conf(&mut self, change: &ConfChange) -> Result<ConfState, CoreError> {
        if let Some(change) = conf_change(change) {
            self.node.apply_conf_change(&change).map_err(refused)?;
            self.redraw();
        }
        Ok(self.conf_state())
    }

    fn ready(&mut self) -> Option<Ready> {
        if self.held.is_some() || !self.node.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        let out = |messages: Vec<raw::Message>| messages.into_iter().map(message_out).collect();
        self.held_messages = out(ready.take_persisted_messages());
        let raw_snapshot = ready.snapshot();
        let snapshot = (!raw_snapshot.is_empty()).then(|| snapshot_out(raw_snapshot.clone()));
        let answer = Ready {
            messages: out(ready.take_messages()),
            snapshot,
            entries: ready.entries().iter().cloned().map(entry_out).collect(),
            must_sync: ready.must_sync(),
            committed: ready
                .take_committed_entries()
                .into_iter()
                .map(entry_out)
                .collect(),
        };
        self.held = Some(ready);
        Some(answer)
    }

    fn persisted(&mut self) -> Persisted {
        let Some(ready) = self.held.take() else {
            return Persisted::default();
        };
        let log = self.node.mut_store();
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            log.install(
                metadata.index,
                metadata.term,
                metadata.get_conf_state().clone(),
            );
        }
        log.append(ready.entries());
        if let Some(hard_state) = ready.hs() {
            log.hard_state = hard_state.clone();
        }
        let mut light = self.node.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().hard_state.commit = commit;
        }
        let mut messages = std::mem::take(&mut self.held_messages);
        messages.extend(light.take_messages().into_iter().map(message_out));
        let committed = light.take_committed_entries();
        Persisted {
            messages,
            committed: committed.into_iter().map(entry_out).collect(),
        }
    }

    fn applied(&mut self) {
        self.node.advance_apply();
    }

    fn tell_commit(&mut self) {
        if self.node.raft.state == StateRole::Leader {
            self.node.raft.bcast_append();
        }
    }

    fn transfer_to(&mut self, member: u64) {
        self.node.transfer_leader(member);
    }

    fn report_unreachable(&mut self, member: u64) {
        self.node.report_unreachable(member);
    }

    fn report_snapshot(&mut self, member: u64, sent: bool) {
        let status = if sent {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.node.report_snapshot(member, status);
    }

    fn set_snapshot(&mut self, index: u64, term: u64, conf_state: ConfState) {
        self.node
            .mut_store()
            .set_snapshot(index, term, conf_state_in(conf_state));
    }

    fn compact(&mut self, index: u64) {
        self.node.mut_store().compact(index);
    }

    fn wants_snapshot(&mut self) -> bool {
        self.node.store().take_wanted()
    }

    fn entries(&self) -> Vec<Entry> {
        self.node
            .store()
            .entries()
            .cloned()
            .map(entry_out)
            .collect()
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        self.node.store().term(index).ok()
    }

    fn hard_state(&self) -> HardState {
        hard_state_out(&self.node.raft.hard_state())
    }

    fn conf_state(&self) -> ConfState {
        conf_state_out(self.node.raft.prs().conf().to_conf_state())
    }

    fn matched(&self, member: u64) -> Option<u64> {
        let raft = &self.node.raft;
        let progress = raft
            .prs()
            .get(member)
            .filter(|_| raft.state == StateRole::Leader)?;
        Some(progress.matched)
    }

    fn told(&self, member: u64) -> u64 {
        let progress = self.node.raft.prs().get(member);
        progress.map_or(0, |progress| progress.committed_index)
    }

    fn status(&self) -> CoreStatus {
        let raft = &self.node.raft;
        CoreStatus {
            term: raft.term,
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            leader: Some(raft.leader_id).filter(|leader| *leader != raft::INVALID_ID),
            commit: raft.raft_log.committed,
            last_index: raft.raft_log.last_index(),
            transferring: raft.lead_transferee.is_some(),
        }
    }
}

/// Managers before Docker 23 send a snapshot's own members, in which a newcomer is missing; the
/// crate refuses such a one. The entry that adds the newcomer comes right after.
fn name_receiver(message: &mut Message, raft_id: u64) {
    let metadata = message.snapshot.get_or_insert_with(Snapshot::default);
    let metadata = metadata.metadata.get_or_insert_with(Default::default);
    let conf_state = metadata.conf_state.get_or_insert_with(Default::default);
    if !conf_state.voters.contains(&raft_id) && !conf_state.learners.contains(&raft_id) {
        conf_state.learners.push(raft_id);
    }
}

fn is_consecutive(message: &Message) -> bool {
    let from = message.index() + 1;
    message
        .entries
        .iter()
        .zip(from..)
        .all(|(entry, index)| entry.index() == index)
}

fn refused(error: raft::Error) -> CoreError {
    CoreError::Refused(error.to_string())
}

/// SplitMix64: repeatable, and random enough for timeouts.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn step(&mut self) {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    }

    fn value(&self) -> u64 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The crate logs by `slog`; what it says is for debugging.
struct ToTracing;

impl slog::Drain for ToTracing {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        match record.level() {
            slog::Level::Critical | slog::Level::Error => {
                tracing::error!(target: "skep_store::raft", message = %record.msg());
            }
            slog::Level::Warning => {
                tracing::warn!(target: "skep_store::raft", message = %record.msg())
            }
            slog::Level::Info | slog::Level::Debug | slog::Level::Trace => {
                tracing::trace!(target: "skep_store::raft", message = %record.msg());
            }
        }
        Ok(())
    }
}
