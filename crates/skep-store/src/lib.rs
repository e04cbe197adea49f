//! The replicated store: every object of the swarm, on every manager, agreed on by raft.
//!
//! - [`Store`] is what the rest of a manager sees: [`Store::view`] to read, [`Store::update`] and
//!   [`Store::batch`] to write, [`Store::watch`] to follow.
//! - [`View`] is an immutable snapshot with all lookups; [`Tx`] is a transaction: a view that can
//!   also write.
//! - [`Event`] is a change, [`Commit`] a transaction's changes as a whole.
//! - [`raft::RaftNode`] is the member of the quorum below it; [`disk`] and [`seal`] are what its log
//!   lies on and is encrypted with.
//!
//! ```no_run
//! use skep_objects::swarmkit::Node;
//! use skep_store::{Event, Store, Tx, TxError};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Store::in_memory();
//! let (_view, mut watch) = store.watch();
//! let node = Node { id: "n1".into(), ..Node::default() };
//! store.update(|tx: &mut Tx| tx.create_node(node)).await?;
//! store.update(|tx| tx.edit_node("n1", |node| node.role = 1)).await?;
//! assert_eq!(store.view().node("n1").map(|node| node.role), Some(1));
//! assert!(matches!(watch.recv().await, Some(Event::Created(_))));
//! assert!(matches!(watch.recv().await, Some(Event::Committed(_))));
//! # Ok::<(), skep_store::UpdateError<TxError>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants: objects are written only by transactions; versions grow with every write; a view
//! never changes; a watch misses nothing. The crate asks neither clock nor random source except
//! through [`Clock`] and arguments, and opens no socket.

mod clock;
mod codec;
pub mod disk;
mod event;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod log;
mod metrics;
mod object;
mod places;
pub mod raft;
pub mod seal;
mod share;
mod state;
mod store;
mod table;
mod tx;
mod update;
mod view;
mod watch;

#[cfg(feature = "testing")]
pub use clock::ManualClock;
pub use clock::{Clock, SystemClock};
pub use codec::{CodecError, MAX_ENTRY_BYTES};
pub use event::{Commit, Event};
pub use log::LogError;
pub use metrics::{BUCKETS, Histogram, RaftMetrics, StoreMetrics};
pub use object::{Kind, Object, StoreObject};
pub use store::{MAX_CHANGES_PER_ENTRY, Store};
pub use tx::{Tx, TxError};
pub use update::{CommitError, UpdateError};
pub use view::View;
pub use watch::{BACKLOG, Watch};
