//! One pass of the leader's loops over one transaction.
//!
//! Each [`Stage`] is told what changed, then plans on the transaction, which reads its own writes:
//! what one stage writes the next one sees in the same pass, so that a new service becomes
//! assigned tasks in one commit.

use skep_store::{Event, MAX_ENTRY_BYTES, Tx, TxError, View};

use crate::aside::Aside;
use crate::clock::{Monotonic, Now};

/// Changes after which a pass stops; the rest goes into the next transaction.
pub const CAPACITY: usize = 800;
/// What a pass may take in the log for each change of its capacity; half an entry in all, so that
/// the last step it takes may be a large one.
const BYTES_EACH: usize = MAX_ENTRY_BYTES / 2 / CAPACITY;

/// A transaction being filled.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The store as the pass leaves it so far.
    pub tx: &'a mut Tx,
    /// This moment.
    pub now: Now,
    capacity: usize,
    capacity_bytes: usize,
    aside: &'a Aside,
    wake: Option<Monotonic>,
    unfinished: bool,
}

impl<'a> Pass<'a> {
    /// An empty pass that ends after about so many changes, or when they become large.
    pub fn new(tx: &'a mut Tx, now: Now, capacity: usize, aside: &'a Aside) -> Self {
        Self {
            tx,
            now,
            capacity,
            capacity_bytes: capacity.saturating_mul(BYTES_EACH),
            aside,
            wake: None,
            unfinished: false,
        }
    }

    /// Asks for another pass at this time, if nothing happens before.
    pub fn wake_at(&mut self, at: Monotonic) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Whether a stage should leave the rest of its work for the next pass. Answering yes makes
    /// sure that there is one.
    pub fn is_full(&mut self) -> bool {
        self.is_full_at(self.capacity, self.capacity_bytes)
    }

    /// As [`Self::is_full`], for those who create tasks: each will be changed twice more, and grow.
    pub fn is_full_for_tasks(&mut self) -> bool {
        self.is_full_at((self.capacity / 3).max(1), self.capacity_bytes / 2)
    }

    fn is_full_at(&mut self, changes: usize, bytes: usize) -> bool {
        let full = self.tx.changes().len() >= changes || self.bytes() >= bytes.max(1);
        self.unfinished |= full;
        full
    }

    /// How many of `wanted` changes of so many bytes there is room for, one at least. When it is
    /// fewer there will be a next pass.
    pub fn room(&mut self, wanted: usize, bytes_each: usize) -> usize {
        let changes = self.capacity.saturating_sub(self.tx.changes().len());
        let bytes = self.capacity_bytes.saturating_sub(self.bytes());
        let room = changes.min(bytes / bytes_each.max(1)).max(1);
        self.unfinished |= room < wanted;
        room.min(wanted)
    }

    fn bytes(&mut self) -> usize {
        // Who sets no limit need not measure.
        if self.capacity_bytes == usize::MAX {
            return 0;
        }
        self.tx.encoded_len()
    }

    /// Whether a service, or an object without one, is to be left alone: it is too large.
    #[must_use]
    pub fn is_aside(&self, owner: &str) -> bool {
        self.aside.has(owner)
    }

    /// When the next pass is due without further events.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        if self.unfinished {
            Some(self.now.monotonic)
        } else {
            self.wake
        }
    }
}

/// One of the leader's loops: remembers nothing that it could not read off the store, but for the
/// autoscaler, which hears of the load.
pub trait Stage: Send {
    /// For logs.
    fn name(&self) -> &'static str;

    /// Forgets everything and starts from this view.
    fn load(&mut self, view: &View, now: Now);

    /// Notes that something changed. `view` may be ahead of the event.
    fn observe(&mut self, event: &Event, view: &View, now: Now);

    /// Does what is to be done by now.
    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError>;
}
