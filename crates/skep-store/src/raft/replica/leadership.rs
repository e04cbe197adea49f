//! Leading: taking proposals from the store's writers, telling the others what is committed, and
//! telling the writers when it is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_objects::raftpb::{Message, MessageType};

use super::Replica;
use crate::raft::core::Role;
use crate::raft::outbox::Outbox;
use crate::update::CommitError;

/// How far a leader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leadership {
    /// Another member leads, or none.
    None,
    /// Leads, and applies what was in the log before.
    CatchingUp { term: u64, until: u64 },
    /// Leads, and the store takes writes.
    Announced { term: u64 },
}

impl Replica {
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

    pub(super) fn is_announced(&self) -> bool {
        matches!(self.leadership, Leadership::Announced { .. })
    }

    pub(super) fn note_told(&mut self) {
        let appends = self.out.messages.iter();
        let appends = appends.filter(|message| message.r#type() == MessageType::App);
        let told = appends.map(Message::commit).max();
        self.told_commit = told.unwrap_or_default().max(self.told_commit);
    }

    /// Hands waiting proposals to raft.
    pub(super) fn propose(&mut self) {
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

    /// Tells writers that leadership is gone, as soon as it is.
    pub(super) fn note_lost_leadership(&mut self) {
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
    pub(super) fn note_leadership(&mut self) {
        let status = self.core.status();
        if status.role != Role::Leader || self.leaving.is_some() {
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

    pub(super) fn refuse_writes(&mut self, why: CommitError) {
        self.leadership = Leadership::None;
        self.outbox = None;
        self.fail_conf_requests();
        self.end_handover(&why);
        self.store.shared.state().refuse(why);
    }
}
