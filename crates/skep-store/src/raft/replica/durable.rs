//! What raft wants durable, onto the disk; and what a disk that is full, or broken, does to a member.

use super::{Base, Replica};
use crate::log::AppendError;
use crate::raft::core::Ready;
use crate::raft::status::Health;
use crate::update::CommitError;

impl Replica {
    /// Makes a ready durable: all of it, by one sync.
    pub(super) fn persist(&mut self, ready: &Ready) -> Result<(), AppendError> {
        // The ready's own, and how far things are committed by now.
        self.hard_state = self.core.hard_state();
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
    pub(super) fn complete(&mut self, mut ready: Ready) {
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
            self.persist_members();
        }
        if self.is_running() {
            self.note_leadership();
            self.roll_long_log();
        }
    }

    pub(super) fn stall(&mut self, ready: Ready, error: AppendError) {
        match error {
            AppendError::Full(error) => {
                self.go_read_only(error.to_string());
                self.stalled = Some(ready);
            }
            AppendError::Broken(error) => self.fail(error.to_string()),
        }
    }

    pub(super) fn go_read_only(&mut self, why: String) {
        tracing::error!(reason = why, "disk full: this manager is read-only");
        self.health = Health::ReadOnly(why.clone());
        self.refuse_writes(CommitError::ReadOnly(why));
    }

    /// Sees whether the disk has room again.
    pub(super) fn try_disk(&mut self) {
        if self.is_closed {
            self.reopen();
        } else if let Some(ready) = self.stalled.take() {
            self.resume(ready);
        }
    }

    /// Begins the segment that had no room when the member was opened.
    fn reopen(&mut self) {
        match self.log.roll(&self.base(), &[]) {
            Ok(()) => {
                self.is_closed = false;
                self.go_on();
                self.stand_if_alone();
            }
            Err(AppendError::Full(_)) => {}
            Err(AppendError::Broken(error)) => self.fail(error.to_string()),
        }
    }

    fn go_on(&mut self) {
        tracing::info!("disk has room again");
        self.health = Health::Running;
        // Whoever leads says so in a moment.
        self.refuse_writes(CommitError::NotLeader);
    }

    /// Tries again what did not fit on the disk.
    fn resume(&mut self, ready: Ready) {
        match self.persist(&ready) {
            Ok(()) => {
                self.go_on();
                self.complete(ready);
            }
            Err(AppendError::Full(_)) => self.stalled = Some(ready),
            Err(AppendError::Broken(error)) => self.fail(error.to_string()),
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        tracing::error!(reason = why, "raft member stopped");
        self.end(Health::Failed(why));
    }

    pub(super) fn end(&mut self, health: Health) {
        self.health = health;
        self.ready = None;
        self.stalled = None;
        self.refuse_writes(CommitError::Stopped);
        self.rotations.clear();
    }

    /// What a new segment of the log begins with.
    pub(super) fn base(&self) -> Base {
        Base {
            identity: self.me.to_message(),
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
        }
    }

    /// How far things are committed is written with the next entries, but for a change of the
    /// members: one that was removed goes as soon as it hears of it, and whoever told it must know,
    /// after a crash too, that its vote is not needed any more. A leader that leaves must not know:
    /// it comes back to tell the others.
    fn persist_members(&mut self) {
        let is_due = std::mem::take(&mut self.members_dirty) && !self.is_closed;
        if !is_due || !self.is_running() || self.leaving.is_some() {
            return;
        }
        self.hard_state.commit = Some(self.hard_state.commit().max(self.applied));
        match self.log.append(&[], Some(&self.hard_state)) {
            Ok(()) => {}
            // The next entries find the disk full too, and say so.
            Err(AppendError::Full(error)) => tracing::warn!(%error, "commit index not written"),
            Err(AppendError::Broken(error)) => self.fail(error.to_string()),
        }
    }

    fn roll_long_log(&mut self) {
        if self.log.is_long() && self.leaving.is_none() {
            let rolled = self.log.roll(&self.base(), &[]);
            self.note_roll(rolled);
        }
    }

    /// A full disk keeps the old segment; a broken one ends it all.
    pub(super) fn note_roll(&mut self, rolled: Result<(), AppendError>) {
        match rolled {
            Ok(()) => {}
            Err(AppendError::Full(error)) => tracing::warn!(%error, "log segment not begun"),
            Err(AppendError::Broken(error)) => self.fail(error.to_string()),
        }
    }
}
