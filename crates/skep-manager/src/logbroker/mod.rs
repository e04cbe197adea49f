//! Logs of services and tasks: somebody subscribes, the nodes concerned are asked, and what they
//! publish goes to the one who asked. Nothing is kept.
//!
//! - [`selection`]: which nodes have what is asked for.
//! - [`broker`]: subscriptions, and the nodes that listen for them.
//! - [`server`]: SwarmKit's Logs and LogBroker services.

mod broker;
mod selection;
mod server;

#[cfg(test)]
mod tests;

pub use broker::LogBroker;
pub use server::{LogBrokerServer, LogsServer};
