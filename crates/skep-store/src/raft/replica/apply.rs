//! Committed entries, into the store and the membership.

use prost::Message as _;
use skep_objects::raftpb::{ConfChange, Entry, EntryType};

use super::Replica;
use super::leadership::Leadership;
use crate::codec::request_id;
use crate::raft::core::Role;
use crate::raft::membership::{Change, MembershipError};
use crate::raft::status::Health;
use crate::update::CommitError;

impl Replica {
    /// Applies entries in order. Stops when the member's life ends with one of them.
    pub(super) fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if !self.is_running() {
                return;
            }
            self.since_snapshot.count(&entry);
            self.applied = entry.index();
            match entry.r#type() {
                EntryType::Normal => self.apply_request(&entry),
                EntryType::ConfChange => self.apply_conf(&entry),
                EntryType::ConfChangeV2 => {
                    // No manager proposes one. All members skip it alike.
                    tracing::error!(
                        raft.index = entry.index(),
                        "configuration change V2 ignored"
                    );
                }
            }
        }
    }

    fn apply_request(&mut self, entry: &Entry) {
        let index = entry.index();
        let mut state = self.store.shared.state();
        let applied = match entry.data() {
            [] => {
                state.commit_nothing(index);
                Ok(())
            }
            data if state.commit_own(index, request_id(data)) => Ok(()),
            data => state.commit_foreign(index, data),
        };
        drop(state);
        if let Err(error) = applied {
            // Going on would leave this member with a store of its own.
            self.fail(format!(
                "entry {index} of the log cannot be applied: {error}"
            ));
        }
    }

    fn apply_conf(&mut self, entry: &Entry) {
        self.store.shared.state().commit_nothing(entry.index());
        let change = match ConfChange::decode(entry.data()) {
            Ok(change) => change,
            Err(error) => {
                tracing::error!(raft.index = entry.index(), %error, "configuration change ignored");
                return;
            }
        };
        let checked = self.membership.check(&change);
        let result = match checked {
            Ok(checked) => self.change_members(&change, &checked),
            Err(error) => {
                tracing::warn!(raft.index = entry.index(), %error, "configuration change ignored");
                Err(error)
            }
        };
        self.answer_conf(change.id(), result);
    }

    fn change_members(
        &mut self,
        change: &ConfChange,
        checked: &Change,
    ) -> Result<(), MembershipError> {
        if let Err(error) = self.core.apply_conf(change) {
            self.fail(format!("configuration change refused by raft: {error}"));
            return Ok(());
        }
        self.membership.apply(checked);
        self.out.members_changed = true;
        self.members_dirty = true;
        match checked {
            Change::Add(member) => {
                tracing::info!(
                    raft.id = member.raft_id,
                    node.id = member.node_id,
                    "manager added"
                );
            }
            Change::AddLearner(member) => {
                tracing::info!(
                    raft.id = member.raft_id,
                    node.id = member.node_id,
                    "manager added, it votes when it has caught up"
                );
            }
            Change::Promote(member) => {
                tracing::info!(
                    raft.id = member.raft_id,
                    node.id = member.node_id,
                    "manager has caught up and votes"
                );
            }
            Change::Update(member) => {
                tracing::info!(
                    raft.id = member.raft_id,
                    addr = member.addr,
                    "manager moved"
                );
            }
            Change::Remove(raft_id) => self.member_removed(*raft_id),
        }
        if let Change::Add(member)
        | Change::AddLearner(member)
        | Change::Promote(member)
        | Change::Update(member) = checked
            && member.raft_id == self.me.raft_id
        {
            self.me.addr.clone_from(&member.addr);
        }
        Ok(())
    }

    fn member_removed(&mut self, raft_id: u64) {
        tracing::info!(raft.id = raft_id, "manager removed");
        if raft_id == self.me.raft_id && self.core.status().role == Role::Leader {
            self.leaving = Some(self.applied);
        } else if raft_id == self.me.raft_id {
            // Who told it so knows, and has it on disk.
            self.removed_by_log = true;
        } else if self.core.status().leader == Some(raft_id) {
            // Nobody will hear of it again: no need to wait for the timeout.
            self.campaign_next = true;
        }
    }

    /// Ends this member's part once all of a ready is applied.
    pub(super) fn after_apply(&mut self) {
        if self.removed_by_log {
            self.end(Health::Removed);
        } else if self.leaving.is_some() {
            if self.leadership != Leadership::None {
                self.refuse_writes(CommitError::NotLeader);
            }
        } else if std::mem::take(&mut self.campaign_next) {
            self.core.campaign();
        }
    }
}
