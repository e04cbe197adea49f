//! Making a container from an OCI configuration, and further processes in it.
//!
//! Three processes take part:
//!
//! ```text
//!  asker (shim, or skep oci)    waits for reports; for the shim it is the parent of the init
//!    └─ creator                 reads config.json, makes cgroups, joins namespaces, clones; short-lived
//!         └─ init               mounts, pivots, drops rights, reports Ready, waits, executes
//! ```
//!
//! The shim keeps nothing of what the creator needs: neither memory nor namespaces. The init is
//! cloned with `CLONE_PARENT`, so that the shim is the one to wait for it.

mod attributes;
mod console;
mod copy_up;
mod create;
mod credentials;
mod devices;
mod error;
mod exec;
mod hooks;
mod idmap;
mod init;
mod listener;
mod mount_options;
mod mounts;
mod namespaces;
mod paths;
mod program;
pub(crate) mod report;
mod rootfs;

pub(crate) use console::resize;
pub(crate) use create::{Creation, create, state_of};
pub use credentials::available_capabilities;
pub use error::CreateError;
pub(crate) use exec::{Entry, enter};
pub(crate) use hooks::run_all as run_all_hooks;
pub(crate) use mount_options::{FLAG_WORDS, MountOptions, PROPAGATION_WORDS};

/// Mounts a root file system in this process's mount namespace, which must be its own.
pub(crate) fn prepare_rootfs(
    rootfs: &std::path::Path,
    overlay: Option<&crate::shim::OverlaySpec>,
) -> Result<(), CreateError> {
    rootfs::prepare(rootfs, overlay, None)
}
