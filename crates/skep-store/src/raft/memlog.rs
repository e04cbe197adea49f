//! The entries since the last snapshot, in memory, as the raft crate reads them. What is durable is
//! the business of [`crate::log`].

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::convert::snapshot_of;

/// The log in memory.
#[derive(Debug)]
pub(super) struct MemLog {
    pub(super) hard_state: HardState,
    /// The members at the start, for the raft crate to begin with.
    initial: ConfState,
    /// Index and term of the entry before the first.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    /// What can be sent to a member that is too far behind.
    snapshot: Option<SnapshotMark>,
    /// A member needs a snapshot newer than `snapshot`.
    wanted: Cell<bool>,
}

#[derive(Debug)]
struct SnapshotMark {
    index: u64,
    term: u64,
    conf_state: ConfState,
}

impl MemLog {
    pub(super) fn new(
        hard_state: HardState,
        initial: ConfState,
        before: (u64, u64),
        entries: Vec<Entry>,
    ) -> Self {
        let entries = entries.into();
        MemLog {
            hard_state,
            initial,
            before,
            entries,
            snapshot: None,
            wanted: Cell::new(false),
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Appends entries over those of the same indices and later.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.entries.truncate(self.offset_of(first.index));
        self.entries.extend(entries.iter().cloned());
    }

    /// Begins anew behind a snapshot.
    pub(super) fn install(&mut self, index: u64, term: u64, conf_state: ConfState) {
        self.entries.clear();
        self.before = (index, term);
        self.hard_state.commit = self.hard_state.commit.max(index);
        self.set_snapshot(index, term, conf_state);
    }

    pub(super) fn set_snapshot(&mut self, index: u64, term: u64, conf_state: ConfState) {
        self.snapshot = Some(SnapshotMark {
            index,
            term,
            conf_state,
        });
    }

    /// Forgets entries up to `index`.
    pub(super) fn compact(&mut self, index: u64) {
        while let Some(entry) = self.entries.front()
            && entry.index <= index
        {
            self.before = (entry.index, entry.term);
            self.entries.pop_front();
        }
    }

    pub(super) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    /// Place of an index in `entries`.
    fn offset_of(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.before.0 + 1)).unwrap_or(usize::MAX)
    }
}

impl Storage for MemLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.initial.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0;
        let wanted = self
            .entries
            .range(self.offset_of(low)..self.offset_of(high));
        let fits = |entry: &&Entry| {
            let first = size == 0;
            // Type, term and index take some bytes too.
            size += entry.data.len() as u64 + 24;
            first || size <= limit
        };
        Ok(wanted.take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match index.cmp(&self.before.0) {
            std::cmp::Ordering::Less => Err(StorageError::Compacted.into()),
            std::cmp::Ordering::Equal => Ok(self.before.1),
            std::cmp::Ordering::Greater => match self.entries.get(self.offset_of(index)) {
                Some(entry) => Ok(entry.term),
                None => Err(StorageError::Unavailable.into()),
            },
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// A snapshot without its data, which the sender reads from disk. One in which the receiver is
    /// not a member would be refused by it: a newer one is made first.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        match &self.snapshot {
            Some(mark)
                if mark.index >= request_index.max(self.before.0)
                    && (mark.conf_state.voters.contains(&to)
                        || mark.conf_state.learners.contains(&to)) =>
            {
                Ok(snapshot_of(
                    mark.index,
                    mark.term,
                    mark.conf_state.clone(),
                    Bytes::new(),
                ))
            }
            _ => {
                self.wanted.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}
