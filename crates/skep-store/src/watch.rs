//! Watching the store without gaps, and without letting a slow watcher fill the memory.
//!
//! Each watcher has a queue of commits. When it falls [`BACKLOG`] commits behind, the queue is
//! dropped and replaced by one: the difference between the view that the watcher saw last and the
//! newest. It then sees each object's net change instead of every step, and still misses nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::event::{Commit, Event};
use crate::view::View;

/// Commits that a watcher may be behind before they are merged into one.
pub const BACKLOG: usize = 1024;

/// The store's end of the watchers.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    queues: Vec<Weak<Queue>>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    commits: VecDeque<Commit>,
    /// The watcher fell behind: between what it saw last and the first commit here, some are missing.
    merged: bool,
    closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchers {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let live = self.queues.iter().filter(|queue| queue.strong_count() > 0);
        live.count()
    }

    /// A watcher of everything after `view`. The caller holds the lock under which commits happen.
    pub(crate) fn subscribe(&mut self, view: View) -> Watch {
        let queue = Arc::new(Queue::default());
        queue.state().closed = self.closed;
        self.queues.push(Arc::downgrade(&queue));
        Watch {
            queue,
            seen: view,
            told: VecDeque::new(),
        }
    }

    pub(crate) fn publish(&mut self, commit: &Commit) {
        self.queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut state = queue.state();
            if state.commits.len() >= BACKLOG {
                state.commits.clear();
                state.merged = true;
            }
            state.commits.push_back(commit.clone());
            drop(state);
            queue.changed.notify_one();
            true
        });
    }

    /// Ends every watch once it has told what is queued.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for queue in self.queues.drain(..).filter_map(|queue| queue.upgrade()) {
            queue.state().closed = true;
            queue.changed.notify_one();
        }
    }
}

/// A stream of what happens to the store after a [`View`].
#[derive(Debug)]
pub struct Watch {
    queue: Arc<Queue>,
    seen: View,
    told: VecDeque<Event>,
}

impl Watch {
    /// The next change; after the last one of each transaction comes [`Event::Committed`].
    /// None when the store has been closed. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(event);
            }
            let commit = self.recv_commit().await?;
            self.queue_events(&commit);
        }
    }

    /// The next transaction as a whole. Do not mix with [`Watch::recv`] in the middle of one.
    pub async fn recv_commit(&mut self) -> Option<Commit> {
        loop {
            match self.take() {
                Taken::Commit(commit) => return Some(commit),
                Taken::Closed => return None,
                Taken::Nothing => self.queue.changed.notified().await,
            }
        }
    }

    /// The next change, if one is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        if self.told.is_empty()
            && let Taken::Commit(commit) = self.take()
        {
            self.queue_events(&commit);
        }
        self.told.pop_front()
    }

    /// The store right after the last transaction that this watch took from its queue.
    pub fn view(&self) -> &View {
        &self.seen
    }

    fn queue_events(&mut self, commit: &Commit) {
        self.told.extend(commit.events.iter().cloned());
        self.told.push_back(Event::Committed(commit.view.version()));
    }

    fn take(&mut self) -> Taken {
        let mut state = self.queue.state();
        if state.merged {
            state.merged = false;
            let newest = state.commits.pop_back();
            state.commits.clear();
            drop(state);
            if let Some(newest) = newest {
                let events = self.seen.changes_to(&newest.view).into();
                self.seen = newest.view.clone();
                return Taken::Commit(Commit {
                    events,
                    view: newest.view,
                });
            }
            return Taken::Nothing;
        }
        match state.commits.pop_front() {
            Some(commit) => {
                self.seen = commit.view.clone();
                Taken::Commit(commit)
            }
            None if state.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }
}

enum Taken {
    Commit(Commit),
    Nothing,
    Closed,
}
