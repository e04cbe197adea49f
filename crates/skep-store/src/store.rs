//! The store: one writer, any number of readers and watchers, and what is between a proposal and
//! its commit.
//!
//! ```text
//!            update(f)                  raft                     apply
//!  committed --------> speculative ------------> log, fsync ------------> committed
//!  (readers)    f runs on the newest state,      many entries in          in the same order;
//!               proposed writes included         flight, in order         watchers are told
//! ```
//!
//! Invariant: `speculative` is `committed` with the changes of `pending` applied in their order.
//! When proposals fail, those after them fail too: they may have built on them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::clock::{Clock, SystemClock};
use crate::codec::MAX_ENTRY_BYTES;
use crate::event::Event;
use crate::metrics::{self, StoreMetrics};
use crate::state::{Access, Pending, Proposer, State};
use crate::tx::Tx;
use crate::update::{CommitError, UpdateError};
use crate::view::View;
use crate::watch::Watch;

/// Changes of one log entry written by [`Store::batch`], as SwarmKit's batches.
pub const MAX_CHANGES_PER_ENTRY: usize = 200;

/// Bytes of a log entry at which [`Store::batch`] begins the next one.
const BATCH_BYTES: usize = MAX_ENTRY_BYTES / 2;

/// Proposals that may wait for their commit; further writers wait.
const MAX_PENDING: usize = 4096;

/// The replicated store. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles share.
pub(crate) struct Shared {
    /// Held while a transaction runs, so that they run one after the other, in the order of arrival.
    writer: tokio::sync::Mutex<()>,
    room: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl Store {
    /// A store of its own, without raft: writes commit at once and are gone with it.
    pub fn in_memory() -> Self {
        Store::in_memory_with(Arc::new(SystemClock))
    }

    /// As [`Store::in_memory`], with a clock.
    pub fn in_memory_with(clock: Arc<dyn Clock>) -> Self {
        Store::new(View::default(), Access::Direct(usize::MAX), clock)
    }

    pub(crate) fn new(view: View, access: Access, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            writer: tokio::sync::Mutex::new(()),
            room: Arc::new(Semaphore::new(MAX_PENDING)),
            clock,
            state: Mutex::new(State::new(view, access)),
        };
        Store {
            shared: Arc::new(shared),
        }
    }

    /// What is committed, as far as this member knows.
    pub fn view(&self) -> View {
        self.shared.state().committed.clone()
    }

    /// What is committed, and everything that happens after it: no event missed, none doubled.
    pub fn watch(&self) -> (View, Watch) {
        let mut state = self.shared.state();
        let view = state.committed.clone();
        let watch = state.watchers.subscribe(view.clone());
        (view, watch)
    }

    /// Runs a transaction and waits until it is committed and can be read from [`Store::view`].
    ///
    /// The closure sees writes that are proposed and not yet committed, and runs under the write
    /// lock: it should compute, not wait. When it returns an error, nothing is written. Many
    /// updates may be in flight; they commit in the order in which their closures ran. Dropping
    /// the future after the closure ran does not take the write back.
    pub async fn update<T, E>(
        &self,
        f: impl FnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, UpdateError<E>> {
        let room = self.room().await.map_err(UpdateError::Commit)?;
        let turn = self.shared.writer.lock().await;
        let mut begun = self.begin().map_err(UpdateError::Commit)?;
        let value = f(&mut begun.tx).map_err(UpdateError::Refused)?;
        let done = self.submit(begun, room).map_err(UpdateError::Commit)?;
        drop(turn);
        done.wait().await.map_err(UpdateError::Commit)?;
        Ok(value)
    }

    /// Runs many small transactions, packed into log entries of up to
    /// [`MAX_CHANGES_PER_ENTRY`] changes and so many bytes that one of half an entry's size always
    /// fits, and waits until all are committed.
    ///
    /// Each closure succeeds or fails alone; its result is in the answer at its place. Other
    /// writers get their turn between the entries. On an error some entries may be committed: with
    /// [`CommitError::TooLarge`] those before the one that holds a change too large for any entry.
    pub async fn batch<T, E, F>(
        &self,
        updates: impl IntoIterator<Item = F>,
    ) -> Result<Vec<Result<T, E>>, CommitError>
    where
        F: FnOnce(&mut Tx) -> Result<T, E>,
    {
        let mut updates = updates.into_iter().peekable();
        let mut results = Vec::new();
        let mut last = None;
        while updates.peek().is_some() {
            let room = self.room().await?;
            let _turn = self.shared.writer.lock().await;
            let mut begun = self.begin()?;
            let tx = &mut begun.tx;
            while tx.changes().len() < MAX_CHANGES_PER_ENTRY
                && tx.encoded_len() < BATCH_BYTES
                && let Some(update) = updates.next()
            {
                let savepoint = tx.savepoint();
                let result = update(tx);
                if result.is_err() {
                    tx.roll_back(savepoint);
                }
                results.push(result);
            }
            // Entries commit in order: when the last one is in, all are; when one fails, the later do.
            last = Some(self.submit(begun, room)?);
        }
        if let Some(last) = last {
            last.wait().await?;
        }
        Ok(results)
    }

    /// What it has counted.
    pub fn metrics(&self) -> StoreMetrics {
        let state = self.shared.state();
        let counters = &state.counters;
        StoreMetrics {
            committed: metrics::read(&counters.committed),
            failed: metrics::read(&counters.failed),
            commit_seconds: counters.commit.read(),
            pending: state.pending() as u64,
            watchers: state.watchers.len() as u64,
        }
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, CommitError> {
        let room = self.shared.room.clone().acquire_owned().await;
        room.map_err(|_| CommitError::Stopped)
    }

    /// Begins a transaction; the caller has the write lock.
    fn begin(&self) -> Result<Begun, CommitError> {
        let state = self.shared.state();
        let below = match &state.access {
            Access::Refused(why) => return Err(why.clone()),
            Access::Direct(limit) => Below::Nothing(*limit),
            Access::Leader(proposer) => Below::Raft(proposer.clone()),
        };
        let version = state.next_version();
        let tx = Tx::new(state.speculative.clone(), version, self.shared.clock.now());
        Ok(Begun {
            tx,
            failures: state.failures,
            below,
        })
    }

    /// Sends a transaction on its way; the caller has the write lock since [`Store::begin`].
    fn submit(&self, begun: Begun, room: OwnedSemaphorePermit) -> Result<Submitted, CommitError> {
        let Begun {
            tx,
            failures,
            below,
        } = begun;
        let (view, events, version) = tx.into_parts();
        let proposal = match below {
            _ if events.is_empty() => None,
            Below::Raft(proposer) => Some((proposer.encode(&events)?, proposer)),
            Below::Nothing(limit) => {
                check_size(&events, limit)?;
                None
            }
        };
        let mut state = self.shared.state();
        if state.failures != failures {
            // What it was built on is gone. Nothing of it was proposed.
            return Err(state.refusal());
        }
        if events.is_empty() {
            // What it read may still be on its way: its answer must not be ahead of that.
            return Ok(Submitted(state.join_last()));
        }
        let Some((encoded, proposer)) = proposal else {
            state.commit_direct(view, version, events);
            return Ok(Submitted(None));
        };
        let (waiter, done) = oneshot::channel();
        let id = encoded.id;
        proposer.propose(encoded);
        let waiters = vec![waiter];
        state.push(
            Pending {
                id,
                events: events.into(),
                after: view,
                waiters,
                since: metrics::now(),
                _room: room,
            },
            version,
        );
        Ok(Submitted(Some(done)))
    }
}

#[cfg(feature = "testing")]
impl Store {
    /// Takes no transaction from now on, as a member that does not lead.
    pub fn refuse(&self, why: CommitError) {
        self.shared.state().refuse(why);
    }

    /// Takes transactions of up to so many bytes, in memory.
    pub fn accept_up_to(&self, limit_bytes: usize) {
        self.shared.state().access = Access::Direct(limit_bytes);
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction under way, and what it was built on.
struct Begun {
    tx: Tx,
    failures: u64,
    below: Below,
}

/// What takes a transaction.
enum Below {
    /// A leader's log.
    Raft(Arc<dyn Proposer>),
    /// Memory, up to this size.
    Nothing(usize),
}

fn check_size(events: &[Event], limit: usize) -> Result<(), CommitError> {
    if limit == usize::MAX {
        return Ok(());
    }
    let bytes = events.iter().map(Event::encoded_len).sum();
    if bytes > limit {
        return Err(CommitError::TooLarge { bytes, limit });
    }
    Ok(())
}

/// A transaction that is in, or in flight.
struct Submitted(Option<oneshot::Receiver<Result<(), CommitError>>>);

impl Submitted {
    async fn wait(self) -> Result<(), CommitError> {
        match self.0 {
            None => Ok(()),
            // The sender is only dropped with the store itself.
            Some(done) => done.await.unwrap_or(Err(CommitError::Stopped)),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("Store")
            .field("version", &state.committed.version())
            .field("pending", &state.pending())
            .finish_non_exhaustive()
    }
}
