//! The control plane: turns specs into running tasks by writing to the store.

pub mod allocator;
pub mod aside;
pub mod backup;
pub mod ca;
pub mod clock;
pub mod control;
pub mod defaults;
pub mod dispatcher;
pub mod endpoints;
pub mod founding;
pub mod leader;
pub mod logbroker;
pub mod loops;
pub mod manager;
pub mod metrics;
pub mod orchestrator;
pub mod pass;
pub mod probes;
pub mod raft;
pub mod resource;
pub mod retry;
pub mod scheduler;
pub mod slot;
pub mod transitions;
pub mod unlock;
pub mod usage;
pub mod watchapi;

pub use manager::{Manager, ManagerConfig, ManagerError, NewCluster};
