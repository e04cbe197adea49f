//! Mounts whose owners are shown as others: `uidMappings` and `gidMappings`, `idmap` and `ridmap`.
//!
//! The kernel takes a mapping in the form of a user namespace, and from nobody but who has rights
//! over the file system. So the creator makes these trees, before the init may go on, and passes
//! them to it as descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxIdMapping, Mount, Spec};
use rustix::fs::{Mode, OFlags};

use super::error::{Context, CreateError};
use super::mount_options::MountOptions;
use super::mounts::{failed, source_tree};
use super::namespaces::{UserNamespace, write_id_maps};
use crate::sys::clone::{self, Side};
use crate::sys::mount::{map_ids, set_attributes};

/// Whether a mount's ids are mapped.
pub(super) fn is_mapped(mount: &Mount) -> bool {
    let given = |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().is_some_and(|m| !m.is_empty());
    let mut words = mount.options().iter().flatten();
    given(mount.uid_mappings())
        || given(mount.gid_mappings())
        || words.any(|word| word == "idmap" || word == "ridmap")
}

/// Refuses what the specification has no meaning for.
pub(super) fn check(spec: &Spec) -> Result<(), CreateError> {
    let given = |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().is_some_and(|m| !m.is_empty());
    for mount in spec
        .mounts()
        .iter()
        .flatten()
        .filter(|mount| is_mapped(mount))
    {
        let refuse = |why: &str| {
            let at = mount.destination().display();
            Err(CreateError::Config(format!("idmapped mount {at}: {why}")))
        };
        let options = MountOptions::parse(mount.options().iter().flatten().map(String::as_str));
        if !options.is_bind && mount.typ().as_deref() != Some("bind") {
            return refuse("only binds can have id mappings");
        }
        if given(mount.uid_mappings()) != given(mount.gid_mappings()) {
            return refuse("uidMappings and gidMappings must be given together");
        }
        let linux = spec.linux().as_ref();
        let has_own = linux.is_some_and(|linux| given(linux.uid_mappings()));
        if !given(mount.uid_mappings()) && !has_own {
            return refuse("there are no mappings, neither its own nor the container's");
        }
    }
    Ok(())
}

/// The source of a mount as a detached tree with its ids mapped.
pub(super) fn tree(mount: &Mount, spec: &Spec, bundle: &Path) -> Result<OwnedFd, CreateError> {
    let linux = spec.linux().as_ref();
    let choose = |own: &Option<Vec<LinuxIdMapping>>, container: Option<&Vec<LinuxIdMapping>>| {
        let own = own.clone().filter(|maps| !maps.is_empty());
        own.or_else(|| container.cloned()).unwrap_or_default()
    };
    let user = UserNamespace::New {
        uids: choose(
            mount.uid_mappings(),
            linux.and_then(|linux| linux.uid_mappings().as_ref()),
        ),
        gids: choose(
            mount.gid_mappings(),
            linux.and_then(|linux| linux.gid_mappings().as_ref()),
        ),
    };
    let mapping = namespace_of(&user)?;
    let words = || mount.options().iter().flatten().map(String::as_str);
    let is_recursive = words().any(|word| word == "ridmap");
    let go = || -> io::Result<OwnedFd> {
        let tree = source_tree(mount, &MountOptions::parse(words()), bundle)?;
        set_attributes(tree.as_fd(), is_recursive, &map_ids(mapping.as_fd()))?;
        Ok(tree)
    };
    go().map_err(|source| failed(mount, source))
}

/// A user namespace that nobody is in, for the sake of its mappings.
fn namespace_of(user: &UserNamespace) -> Result<OwnedFd, CreateError> {
    let context = || "make a user namespace for id mappings".into();
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(io::Error::from)
        .context(context)?;
    // SAFETY: one thread, as all of the creation; nothing but a namespace is new.
    let pid = match unsafe { clone::clone3(libc::CLONE_NEWUSER as u64) }.context(context)? {
        Side::Child => {
            // SAFETY: the other end is the parent's; this process only waits for its end.
            unsafe { libc::close(theirs.as_raw_fd()) };
            let _ = rustix::io::read(&ours, &mut [0; 1]);
            clone::exit_now(0)
        }
        Side::Parent(pid) => pid,
    };
    let made = write_id_maps(pid, user).and_then(|()| {
        let path = format!("/proc/{pid}/ns/user");
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .context(context)
    });
    drop(theirs);
    let _ = clone::wait_for(pid);
    made
}
