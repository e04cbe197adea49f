//! The JSON of the Docker Engine API: own types with Go's shapes, shared by server and command line.
//!
//! Keys, omitted fields and nulls are Docker's: a field is `skip_serializing_if` where Go has
//! `omitempty`, an `Option<Vec>` where Go prints `null` for a nil slice. Bodies are decoded with
//! [`decode::from_json`], which matches keys as Go does, and every struct has `#[serde(default)]`:
//! a missing field or a null is the zero value.

pub mod config;
pub mod container;
pub mod decode;
pub mod encode;
pub mod events;
pub mod exec;
pub mod image;
pub mod network;
pub mod node;
mod omit;
pub mod secret;
pub mod service;
pub mod stats;
pub mod swarm;
pub mod system;
pub mod task;
pub mod volume;
