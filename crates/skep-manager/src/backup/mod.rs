//! A backup of a swarm: every object of the store at one moment, sealed with a key.
//!
//! It is taken from a manager's own replica, with or without a quorum, while everything goes on.
//! Restored on a node outside any swarm it makes a swarm of one manager that has the same objects,
//! tokens and CA, so that workers find their swarm again. See docs/design/backup.md.

mod capture;
mod file;
mod restore;

pub use capture::capture;
pub use file::{BackupError, Header, open, seal};
pub use restore::{Restoration, RestoreError};
