//! How many files may be open. The daemon and its shims want as many as they may have; containers have
//! what the daemon was started with, as with dockerd, whose language does this to every program.

use std::sync::OnceLock;

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What was in force when the process began.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises this process's limit to the most it may set itself, which needs no privilege. What it
/// starts by [`shim::spawn`](crate::shim::spawn) has the limit from before.
///
/// # Errors
/// The kernel refuses; the limit is as it was.
pub fn raise() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let Some(before) = limit.current else {
        return Ok(());
    };
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    let _ = BEFORE.set(before);
    Ok(())
}

/// The limit from before, where it was raised.
pub(crate) fn before() -> Option<u64> {
    BEFORE.get().copied()
}

/// Undoes [`raise`], in a fork that becomes or starts something else.
pub(crate) fn put_back() -> io::Result<()> {
    before().map_or(Ok(()), restore)
}

/// Does `start` with the limit from before.
pub(crate) fn put_back_while<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let limit = getrlimit(Resource::Nofile);
    put_back()?;
    let started = start();
    setrlimit(Resource::Nofile, limit)?;
    Ok(started)
}

/// Sets the limit that is told to a shim.
pub(crate) fn restore(before: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let restored = Rlimit {
        current: Some(before),
        ..limit
    };
    setrlimit(Resource::Nofile, restored)
}
