//! Endpoint tables: what each node must know to reach services and tasks, taken from the store and
//! streamed to the nodes that need it. No gossip, so nothing stale: a node that was away gets the
//! whole of its tables again.
//!
//! - [`table`]: the tables, kept up to date by the store's events.
//! - [`hub`]: who follows which network, what each stream has yet to be told, and which tasks have
//!   left rotation everywhere. A state machine without clock or sockets.
//! - [`server`]: the loop around it, and the gRPC service.
//!
//! Invariant: a task that is to stop is told so (`drained_tasks`) only after every node that could
//! send it traffic has said that it does not any more, or had time to.

mod hub;
mod server;
mod table;

pub use server::{EndpointTables, EndpointsServer};
pub(crate) use table::data_path_address;
