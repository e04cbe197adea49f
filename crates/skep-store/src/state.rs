//! What the store's lock protects: the two states, and the proposals between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::codec::{CodecError, decode_request};
use crate::event::{Commit, Event};
use crate::metrics::{self, StoreCounters};
use crate::update::CommitError;
use crate::view::View;
use crate::watch::Watchers;

/// The store's state.
pub(crate) struct State {
    pub(crate) committed: View,
    pub(crate) speculative: View,
    pub(crate) access: Access,
    /// Counts the times that pending proposals failed: a transaction that began before is stale.
    pub(crate) failures: u64,
    pub(crate) watchers: Watchers,
    pub(crate) counters: StoreCounters,
    pending: VecDeque<Pending>,
    /// Version given to the last transaction that was sent on its way.
    last_version: u64,
}

/// Who may write.
pub(crate) enum Access {
    /// No raft below: writes commit at once, unless they are larger than this.
    Direct(usize),
    /// This member leads: writes go to raft.
    Leader(Arc<dyn Proposer>),
    /// Nobody, and why.
    Refused(CommitError),
}

/// Takes proposals, in order, to raft. Does not block.
pub(crate) trait Proposer: Send + Sync {
    /// Encodes the changes of a transaction; an error refuses this transaction alone.
    fn encode(&self, events: &[Event]) -> Result<Encoded, CommitError>;
    /// Queues an encoded transaction. Called under the store's lock, in order.
    fn propose(&self, proposal: Encoded);
}

/// A proposal as raft takes it.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// What the entry is recognised by when it comes back committed.
    pub(crate) id: u64,
    /// `InternalRaftRequest`.
    pub(crate) data: Vec<u8>,
}

/// A transaction on its way.
pub(crate) struct Pending {
    pub(crate) id: u64,
    pub(crate) events: Arc<[Event]>,
    /// The store once it is committed.
    pub(crate) after: View,
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), CommitError>>>,
    /// When it was proposed.
    pub(crate) since: Instant,
    /// Its place among the proposals in flight, free again when it is dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Pending {
    fn finish(self, result: &Result<(), CommitError>, counters: &StoreCounters) {
        if result.is_ok() {
            counters.commit.note(self.since.elapsed());
            metrics::count(&counters.committed);
        } else {
            metrics::count(&counters.failed);
        }
        for waiter in self.waiters {
            // The writer may have stopped waiting; the write counts all the same.
            let _ = waiter.send(result.clone());
        }
    }
}

impl State {
    pub(crate) fn new(view: View, access: Access) -> Self {
        State {
            committed: view.clone(),
            speculative: view,
            access,
            failures: 0,
            watchers: Watchers::default(),
            counters: StoreCounters::default(),
            pending: VecDeque::new(),
            last_version: 0,
        }
    }

    /// How many proposals are in flight.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The version that a transaction's objects get.
    ///
    /// SwarmKit takes the commit index when the transaction begins. So do we when nothing is in
    /// flight; behind proposals in flight it must still differ from theirs, or a reader of the
    /// earlier write could overwrite the later one unnoticed. Either way it is below the index of
    /// the transaction's own entry.
    pub(crate) fn next_version(&self) -> u64 {
        self.committed.version.max(self.last_version + 1)
    }

    /// Why a transaction built on proposals that failed cannot go on.
    pub(crate) fn refusal(&self) -> CommitError {
        match &self.access {
            Access::Refused(why) => why.clone(),
            Access::Direct(_) | Access::Leader(_) => CommitError::LeadershipLost,
        }
    }

    /// Waits with the last proposal in flight, if there is one.
    pub(crate) fn join_last(&mut self) -> Option<oneshot::Receiver<Result<(), CommitError>>> {
        let last = self.pending.back_mut()?;
        let (waiter, done) = oneshot::channel();
        last.waiters.push(waiter);
        Some(done)
    }

    /// Notes a proposal in flight, and what the store is once it commits.
    pub(crate) fn push(&mut self, pending: Pending, version: u64) {
        self.speculative = pending.after.clone();
        self.pending.push_back(pending);
        self.last_version = version;
    }

    /// Commits a transaction of a store without raft.
    pub(crate) fn commit_direct(&mut self, mut view: View, version: u64, events: Vec<Event>) {
        metrics::count(&self.counters.committed);
        self.last_version = version;
        view.version = self.committed.version + 1;
        self.speculative = view.clone();
        self.committed = view.clone();
        self.watchers.publish(&Commit {
            events: events.into(),
            view,
        });
    }

    /// Takes writes from now on.
    pub(crate) fn lead(&mut self, proposer: Arc<dyn Proposer>) {
        self.speculative = self.committed.clone();
        self.access = Access::Leader(proposer);
    }

    /// Takes no more writes, and fails those in flight.
    pub(crate) fn refuse(&mut self, why: CommitError) {
        let lost = match &why {
            CommitError::NotLeader => CommitError::LeadershipLost,
            other => other.clone(),
        };
        self.access = Access::Refused(why);
        if let Some(first) = self.pending.front().map(|pending| pending.id) {
            self.fail_from(first, &lost);
        }
        self.failures += 1;
    }

    /// Fails the proposal of this id and all that came after it: they were built on it.
    pub(crate) fn fail_from(&mut self, id: u64, why: &CommitError) {
        let Some(place) = self.pending.iter().position(|pending| pending.id == id) else {
            return;
        };
        self.failures += 1;
        for pending in self.pending.drain(place..) {
            pending.finish(&Err(why.clone()), &self.counters);
        }
        let rest = self.pending.back().map(|pending| pending.after.clone());
        self.speculative = rest.unwrap_or_else(|| self.committed.clone());
    }

    /// Commits the oldest proposal in flight, if the entry is that one.
    pub(crate) fn commit_own(&mut self, index: u64, id: u64) -> bool {
        if self.pending.front().is_none_or(|pending| pending.id != id) {
            return false;
        }
        let Some(pending) = self.pending.pop_front() else {
            return false;
        };
        // The state after it was worked out when it was proposed, on top of those before it.
        self.committed = View {
            tables: pending.after.tables.clone(),
            version: index,
        };
        self.watchers.publish(&Commit {
            events: pending.events.clone(),
            view: self.committed.clone(),
        });
        pending.finish(&Ok(()), &self.counters);
        true
    }

    /// Commits an entry that another member proposed, or this one before it lost track of it.
    pub(crate) fn commit_foreign(&mut self, index: u64, data: &[u8]) -> Result<(), CodecError> {
        let events = decode_request(data, &self.committed.tables)?;
        let tables = Arc::make_mut(&mut self.committed.tables);
        events.iter().for_each(|event| event.apply(tables));
        self.committed.version = index;
        self.watchers.publish(&Commit {
            events: events.into(),
            view: self.committed.clone(),
        });
        Ok(())
    }

    /// Notes an entry that is nothing to the store.
    pub(crate) fn commit_nothing(&mut self, index: u64) {
        self.committed.version = index;
    }

    /// Puts another state in place of everything; watchers see the difference.
    pub(crate) fn restore(&mut self, view: View) {
        let events = self.committed.changes_to(&view);
        self.committed = view.clone();
        self.speculative = view.clone();
        self.watchers.publish(&Commit {
            events: events.into(),
            view,
        });
    }
}
