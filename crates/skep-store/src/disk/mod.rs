//! The disk as the log sees it: a flat directory of files, and when things are really there.

use std::fmt;
use std::io;

mod dir;
#[cfg(feature = "testing")]
mod sim;
mod timed;

pub use dir::DirDisk;
#[cfg(feature = "testing")]
pub use sim::{SimDisk, Tear};
pub(crate) use timed::TimedDisk;

/// A directory of files that belongs to one raft member alone.
///
/// Nothing is durable before it is synced: a file's bytes by [`DiskFile::sync`], a file's name
/// (made, renamed, removed) by [`Disk::sync_names`].
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file's bytes.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A new, empty file for writing; one of that name is replaced.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Cuts a file to a length, durably.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;
    /// Gives a file another name; one that has that name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; it is no error when there is none.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// What to call the file in an error message: its path.
    fn describe(&self, name: &str) -> String;
}

/// A file open for writing.
pub trait DiskFile: Send + fmt::Debug {
    /// Writes all bytes at an offset.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the bytes durable.
    fn sync(&mut self) -> io::Result<()>;
}
