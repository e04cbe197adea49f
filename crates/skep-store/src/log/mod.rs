//! The raft log and snapshots on disk. The format is drawn in `docs/design/raft-on-disk.md`.
//!
//! - [`frame`]: what one fsync acknowledges, sealed and checksummed.
//! - [`segment`]: a file of frames; where a torn tail ends and damage begins.
//! - [`record`]: what a frame of the log holds.
//! - [`Log`]: the segments as one log.
//! - [`snapshot_file`]: a whole store in one file.

pub(crate) mod frame;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod snapshot_file;
mod wal;

pub(crate) use record::Identity;
pub(crate) use wal::{AppendError, Base, Log, Recovered, is_full};

use std::io;

/// Why what is on disk cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk does not work.
    #[error("{action} {file}: {source}")]
    Disk {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        file: String,
        /// What happened.
        source: io::Error,
    },
    /// Bytes that were acknowledged are damaged.
    #[error(
        "{file} is damaged at byte {offset}: {what}; if the swarm has a quorum without this \
         manager, remove the directory that holds the file and join again, else restore it from a \
         backup"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where the damaged frame begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The file is sealed with a key that was not given.
    #[error("{file} is sealed with another key than the one given")]
    WrongKey {
        /// The file.
        file: String,
    },
    /// The file was written by a later version of the format.
    #[error("{file} has format version {version}, this program knows version {known}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
        /// The latest known.
        known: u32,
    },
    /// A file that must be there is not.
    #[error("{file} is missing, though {needed_by} needs it; restore it from a backup")]
    Missing {
        /// The file.
        file: String,
        /// What refers to it.
        needed_by: String,
    },
}
