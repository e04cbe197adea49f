//! Logs of services and tasks: somebody subscribes, the nodes concerned are asked, and what they
//! publish goes to the one who asked. Nothing is kept.
//!
//! - [`selection`]: which nodes have what is asked for.
//! - [`broker`]: subscriptions, and the nodes that listen for them.
//! - [`subscription`]: one of them, with what was [`delivered`] of each node's logs already.
//! - [`departed`]: tasks that were deleted, whose nodes may still tell what they wrote.
//! - [`server`]: SwarmKit's Logs and LogBroker services.

mod broker;
mod delivered;
mod departed;
mod selection;
mod server;
mod subscription;

#[cfg(test)]
mod tests;

pub use broker::LogBroker;
pub use server::{LogBrokerServer, LogsServer};
