//! One container process: namespaces, cgroups, mounts, seccomp, shim. Sync, no async runtime.
//!
//! - [`shim`]: the parent of one container, and the daemon's way to talk to it;
//! - [`oci`]: the same runtime behind the OCI command line;
//! - [`cgroup`]: limits, freezer and statistics, usable from the daemon while the shim runs;
//! - [`seccomp`]: Docker's default profile and any other, compiled to a filter;
//! - [`init`]: the reaper behind `--init`;
//! - [`open_files`]: the limit of the daemon, and that of its containers;
//! - [`user`]: names of users and groups looked up in a root file system.
//!
//! Invariants: containers and execs are started from single-threaded processes only; nothing is
//! mounted in the host's mount namespace; this is the only crate with `unsafe`.
#![allow(unsafe_code)] // the one crate that forks, mounts and enters namespaces
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod cgroup;
mod container;
#[doc(hidden)]
pub mod fuzz;
pub mod init;
pub mod oci;
pub mod open_files;
pub mod seccomp;
pub mod shim;
mod sys;
pub mod user;

pub use sys::names::use_built_in_name_sources;

pub use container::{CreateError, available_capabilities};

pub use sys::socket::unread_by_peer;
