//! Containers' output: how it is kept, and how it is read back.
//!
//! The shim writes, whether or not a daemon is there; this side only reads files, so a slow reader
//! holds up nobody.

mod follow;
mod options;
mod read;
mod remote;
mod rotated;
mod tag;

pub(crate) use options::{DRIVERS, spec, validate};
pub(crate) use read::parse;
