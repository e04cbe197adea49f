//! The nouns of skep: messages, specs, objects, ids, API JSON, validation. Pure: no I/O, no clock.
//!
//! - [`swarmkit`]: SwarmKit's messages (`docker.swarmkit.v1`), which are skep's domain objects too.
//! - [`raftpb`]: raft's messages, as etcd sends them.
//! - [`skep_v1`]: what skep nodes say to each other beyond SwarmKit's protocol.
//! - [`Shared`], [`Text`]: parts of messages and texts that many objects hold alike.
//! - [`ids`], [`timestamp`], [`task_state`]: small facts about those messages.
//! - [`template`]: placeholders in specs and configs.
//! - [`ErrorKind`]: what sort of failure an error is.
//! - [`api`]: the JSON of the Docker Engine API.
//! - [`extras`], [`autoscale`]: what services have beyond that API, by labels.

pub mod api;
pub mod autoscale;
pub mod error_kind;
pub mod extras;
pub mod go_duration;
pub mod ids;
mod secrecy;
mod shared;
mod task;
pub mod task_state;
pub mod template;
mod text;
pub mod timestamp;

pub use error_kind::ErrorKind;
pub use shared::Shared;
pub use text::Text;

pub mod reference;

/// Engine label by which a node tells the address of its data path where it is not the one that it
/// calls its managers from.
pub const DATA_PATH_LABEL: &str = "skep.data-path-addr";
/// Engine label with the base64 of a node's WireGuard public key.
pub const WIREGUARD_LABEL: &str = "skep.wireguard-key";

/// Label, on a service or on the swarm, that names how nodes are chosen for tasks.
pub const STRATEGY_LABEL: &str = "skep.placement.strategy";
/// What the label may say.
pub const STRATEGIES: [&str; 3] = ["spread", "binpack", "random"];

/// The version of Docker Engine whose API and behaviour skep answers with; clients decide by it what
/// they may ask.
pub const ENGINE_VERSION: &str = "28.2.2";

/// SwarmKit's messages, generated from `proto/docker/swarmkit/v1`.
#[allow(missing_docs, missing_debug_implementations, clippy::all)]
pub mod swarmkit {
    pub use crate::task::{Task, TaskStatus, task_status};

    include!(concat!(env!("OUT_DIR"), "/swarmkit/docker.swarmkit.v1.rs"));
}

/// Raft's messages, generated from `proto/raftpb`.
#[allow(missing_docs, clippy::all)]
pub mod raftpb {
    include!(concat!(env!("OUT_DIR"), "/raftpb/raftpb.rs"));
}

/// skep's own messages, generated from `proto/skep/v1`.
#[allow(missing_docs, clippy::all)]
pub mod skep_v1 {
    include!(concat!(env!("OUT_DIR"), "/skep_v1/skep.v1.rs"));
}
