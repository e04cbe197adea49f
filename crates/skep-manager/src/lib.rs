//! The control plane: turns specs into running tasks by writing to the store.

pub mod ca;
pub mod control;
pub mod defaults;
pub mod unlock;
