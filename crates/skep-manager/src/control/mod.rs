//! The control API: what users, through a manager's HTTP server or another manager, ask of the
//! swarm. Each request is one transaction or one look at the store; nothing here waits for effects.

pub mod cluster;
pub mod config;
pub mod error;
pub mod extension;
mod filter;
mod in_use;
pub mod members;
pub mod network;
pub mod node;
pub mod secret;
pub mod server;
pub mod service;
pub mod task;
pub mod validate;
pub mod volume;

#[cfg(test)]
mod tests;

pub use error::ControlError;
pub use members::{Member, Members};
pub use server::ControlServer;
