//! Where a member stands, as others see it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::Replica;
use crate::raft::core::Role;
use crate::raft::membership::Membership;
use crate::raft::status::RaftStatus;

impl Replica {
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
    pub(super) fn active(&self) -> BTreeMap<u64, bool> {
        let is_active = |id: u64| self.was_heard(id) || id == self.me.raft_id;
        self.membership
            .members()
            .map(|member| (member.raft_id, is_active(member.raft_id)))
            .collect()
    }

    /// Whether a member was heard of within an election timeout.
    pub(super) fn was_heard(&self, id: u64) -> bool {
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
}
