//! One pass of the leader's loops over one transaction.
//!
//! Each [`Stage`] is told what changed, then plans on the transaction, which reads its own writes:
//! what one stage writes the next one sees in the same pass, so that a new service becomes
//! assigned tasks in one commit.

use skep_store::{Event, Tx, TxError, View};

use crate::clock::{Monotonic, Now};

/// Changes after which a pass stops; the rest goes into the next transaction.
pub const CAPACITY: usize = 800;

/// A transaction being filled.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The store as the pass leaves it so far.
    pub tx: &'a mut Tx,
    /// This moment.
    pub now: Now,
    capacity: usize,
    wake: Option<Monotonic>,
    unfinished: bool,
}

impl<'a> Pass<'a> {
    /// An empty pass that ends after about so many changes.
    pub fn new(tx: &'a mut Tx, now: Now, capacity: usize) -> Self {
        Self {
            tx,
            now,
            capacity,
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
        let full = self.tx.changes().len() >= self.capacity;
        self.unfinished |= full;
        full
    }

    /// As [`Self::is_full`], for those who create tasks: each will be changed twice more.
    pub fn is_full_for_tasks(&mut self) -> bool {
        let full = self.tx.changes().len() >= self.capacity / 3;
        self.unfinished |= full;
        full
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
