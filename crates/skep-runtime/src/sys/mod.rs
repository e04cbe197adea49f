//! Thin wrappers over system calls that no crate of ours offers.

pub(crate) mod clone;
pub(crate) mod mount;
pub(crate) mod names;
pub(crate) mod privilege;
pub(crate) mod proc;
pub(crate) mod socket;

use std::io;

/// The result of a raw system call as `io::Result`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
