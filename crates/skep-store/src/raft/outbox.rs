//! From the store's writers to raft: proposals of one term of leadership, in order.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::{MAX_ENTRY_BYTES, encode_request};
use crate::event::Event;
use crate::state::{Encoded, Proposer};
use crate::update::CommitError;

/// Called when there is something to do for the thread that drives raft.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Proposals that raft has not seen yet.
pub(crate) struct Outbox {
    queue: Mutex<Vec<Encoded>>,
    last_id: std::sync::atomic::AtomicU64,
    wake: Wake,
}

impl Outbox {
    /// An outbox whose proposals get ids from `first_id` on.
    pub(crate) fn new(first_id: u64, wake: Wake) -> Self {
        Outbox {
            queue: Mutex::default(),
            last_id: first_id.into(),
            wake,
        }
    }

    /// An id that no other proposal of this member has.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// How many proposals wait.
    pub(crate) fn len(&self) -> usize {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// All proposals so far.
    pub(crate) fn take(&self) -> Vec<Encoded> {
        std::mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Proposer for Outbox {
    fn encode(&self, events: &[Event]) -> Result<Encoded, CommitError> {
        let id = self.next_id();
        let data = encode_request(id, events);
        if data.len() > MAX_ENTRY_BYTES {
            return Err(CommitError::TooLarge {
                bytes: data.len(),
                limit: MAX_ENTRY_BYTES,
            });
        }
        Ok(Encoded { id, data })
    }

    fn propose(&self, proposal: Encoded) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(proposal);
        (self.wake)();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}
