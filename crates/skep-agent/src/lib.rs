//! The worker: session with a dispatcher, assignments on disk, task state machine, executor.
//!
//! - [`Agent`] keeps a session with a manager and hands its assignments to the worker, which keeps
//!   one actor for each task (`task.rs`; its choices are the pure functions of [`step`]).
//! - [`executor`] is what tasks are run with; `engine` runs them as containers.
//! - Statuses, log subscriptions, endpoint tables and examinations go through modules of their own.
//!
//! Invariants: a task's state only grows; a restart of the daemon touches no running task; secrets
//! are never on disk.

mod agent;
mod dependencies;
pub mod disk;
mod drain;
mod endpoints;
pub mod engine;
pub mod executor;
mod logs;
pub mod meter;
mod prober;
mod reporter;
mod session;
pub mod step;
mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod worker;

pub use agent::{Agent, AgentConfig, DRAIN_DEADLINE, SessionState};
pub use dependencies::Dependencies;

pub use engine::{EngineExecutor, EngineExecutorConfig};
pub use executor::{Controller, Executor, TaskError};
pub use prober::Prober;
