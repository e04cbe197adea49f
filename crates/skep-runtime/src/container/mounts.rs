//! The mounts of `config.json`, made inside the container's mount namespace before its root is entered.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::error::{Context, CreateError};
use super::mount_options::MountOptions;
use super::paths::{Root, Want, by_fd, host_path, is_directory};
use crate::cgroup::CgroupPaths;
use crate::sys::mount::{attributes, mount, set_attributes};

/// What mounts depend on beside their own words.
#[derive(Debug)]
pub(crate) struct MountContext<'a> {
    /// Relative sources of binds count from here.
    pub bundle: &'a Path,
    /// The container's cgroups, for mounts of type `cgroup`.
    pub cgroup: &'a CgroupPaths,
    /// The container has a cgroup namespace of its own.
    pub has_cgroup_namespace: bool,
    /// SELinux label of what file systems in memory hold.
    pub label: Option<&'a str>,
}

/// A mount that becomes read-only once everything is in it.
pub(crate) type Deferred = PathBuf;

/// Makes one mount below `root`. A bind whose ids are mapped comes as the tree that was made of it.
pub(crate) fn make(
    root: &Root,
    entry: &Mount,
    mapped: Option<OwnedFd>,
    context: &MountContext<'_>,
) -> Result<Option<Deferred>, CreateError> {
    let mut options = MountOptions::parse(entry.options().iter().flatten().map(String::as_str));
    let fs_type = entry.typ().as_deref().unwrap_or("none");
    let done = match fs_type {
        _ if options.is_bind || fs_type == "bind" => {
            bind(root, entry, &options, mapped, context).map(|()| None)
        }
        "cgroup" | "cgroup2" => cgroup(root, entry, &options, context).map(|()| None),
        _ => {
            if let Some(label) = context.label
                && matches!(fs_type, "tmpfs" | "mqueue")
            {
                options.data.push(format!("context=\"{label}\""));
            }
            file_system(root, entry, fs_type, &options)
        }
    };
    done.map_err(|source| failed(entry, source))
}

/// Which mount, and why not.
pub(super) fn failed(entry: &Mount, source: io::Error) -> CreateError {
    let fs_type = entry.typ().as_deref().unwrap_or("none");
    match source.raw_os_error() {
        None => CreateError::Config(source.to_string()),
        Some(_) => CreateError::Mount {
            origin: entry
                .source()
                .as_deref()
                .map_or_else(|| fs_type.into(), |s| s.display().to_string()),
            target: entry.destination().display().to_string(),
            source,
        },
    }
}

/// The place of a mount point, made when missing.
fn place(root: &Root, target: &Path, want: Want) -> io::Result<OwnedFd> {
    root.ensure(target, want)
}

fn file_system(
    root: &Root,
    entry: &Mount,
    fs_type: &str,
    options: &MountOptions,
) -> io::Result<Option<Deferred>> {
    let target = entry.destination();
    let is_new = root.find(target).is_err();
    let at = place(root, target, Want::Directory)?;
    let at = match fs_type {
        // A link here would put the mount where masked paths do not look.
        "proc" | "sysfs" => root.find_plain(target)?,
        _ => at,
    };
    let mut data = options.data.clone();
    if fs_type == "tmpfs" && !is_new && !data.iter().any(|d| d.starts_with("mode=")) {
        // Shows the same permissions as the directory that it covers.
        data.push(format!(
            "mode={:o}",
            rustix::fs::fstat(&at)?.st_mode & 0o7777
        ));
    }
    let mut flags = options.flags;
    // Devices are made in /dev afterwards; and what is copied up needs to be written.
    let is_deferred = fs_type == "tmpfs"
        && flags & libc::MS_RDONLY != 0
        && (target == Path::new("/dev") || options.copies_up);
    if is_deferred {
        flags &= !libc::MS_RDONLY;
    }
    let source = entry.source().as_deref().unwrap_or(Path::new(fs_type));
    let covered = options
        .copies_up
        .then(|| by_fd(&at))
        .map(|p| super::copy_up::Tree::read(&p))
        .transpose()?;
    mount(source, &by_fd(&at), fs_type, flags, &data.join(","))?;
    if let Some(subpath) = &options.subpath {
        keep_part(root, target, &at, subpath)?;
    }
    if options.propagation.is_empty() && covered.is_none() {
        return Ok(is_deferred.then(|| target.clone()));
    }
    let mounted = root.find(target)?;
    if let Some(tree) = covered {
        tree.write(&by_fd(&mounted))?;
    }
    propagate(&mounted, &options.propagation)?;
    Ok(is_deferred.then(|| target.clone()))
}

/// Puts a directory of the file system that was mounted at `target` in its place.
fn keep_part(root: &Root, target: &Path, at: &OwnedFd, subpath: &Path) -> io::Result<()> {
    let whole = Root::at(root.find(target)?);
    let part = whole.find(subpath)?;
    if !is_directory(&part)? {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    let tree = clone_tree(part.as_fd(), true)?;
    drop(part);
    let top = whole.find(Path::new("/"))?;
    rustix::mount::unmount(by_fd(&top), UnmountFlags::DETACH)?;
    attach(&tree, at)
}

fn propagate(mounted: &OwnedFd, kinds: &[u64]) -> io::Result<()> {
    for kind in kinds {
        let attr = attributes(0, 0, kind & !libc::MS_REC);
        set_attributes(mounted.as_fd(), kind & libc::MS_REC != 0, &attr)?;
    }
    Ok(())
}

fn bind(
    root: &Root,
    entry: &Mount,
    options: &MountOptions,
    mapped: Option<OwnedFd>,
    context: &MountContext<'_>,
) -> io::Result<()> {
    let tree = match mapped {
        Some(tree) => tree,
        None => source_tree(entry, options, context.bundle)?,
    };
    let want = if is_directory(&tree)? {
        Want::Directory
    } else {
        Want::File
    };
    if let Some(attr) = options.tree_attributes() {
        set_attributes(tree.as_fd(), true, &attr)?;
    }
    if let Some(attr) = options.bind_attributes() {
        set_attributes(tree.as_fd(), false, &attr)?;
    }
    let at = place(root, entry.destination(), want)?;
    if is_directory(&at)? != (want == Want::Directory) {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    attach(&tree, &at)?;
    // Only an attached mount belongs to a peer group that can be left.
    propagate(&tree, &options.propagation)
}

/// A detached copy of a bind's source.
pub(super) fn source_tree(
    entry: &Mount,
    options: &MountOptions,
    bundle: &Path,
) -> io::Result<OwnedFd> {
    let source = entry.source().clone().unwrap_or_default();
    let mut from = host_path(&bundle.join(source))?;
    if let Some(subpath) = &options.subpath {
        from = Root::at(from).find(subpath)?;
    }
    clone_tree(from.as_fd(), options.is_recursive)
}

/// A detached copy of the mount (or the part of one) behind `from`.
pub(crate) fn clone_tree(from: BorrowedFd<'_>, is_recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if is_recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(from, "", flags)?)
}

/// Puts a detached mount at `at`.
pub(crate) fn attach(tree: &OwnedFd, at: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", at, "", flags)?)
}

/// The cgroup tree as the container may see it, read-only when asked.
fn cgroup(
    root: &Root,
    entry: &Mount,
    options: &MountOptions,
    context: &MountContext<'_>,
) -> io::Result<()> {
    let target = entry.destination();
    if context.cgroup.v1.is_empty() {
        let at = place(root, target, Want::Directory)?;
        return match (&context.cgroup.unified, context.has_cgroup_namespace) {
            (Some(dir), false) => attach_own(dir, &at, options),
            _ => mount(
                Path::new("cgroup"),
                &by_fd(&at),
                "cgroup2",
                options.flags,
                "",
            ),
        };
    }
    let at = place(root, target, Want::Directory)?;
    let flags = options.flags & !libc::MS_RDONLY;
    mount(Path::new("tmpfs"), &by_fd(&at), "tmpfs", flags, "mode=755")?;
    drop(at);
    let mut links = Vec::new();
    for (name, dir) in &context.cgroup.v1 {
        let mount_name = mount_name_of(dir, name, context);
        if *mount_name != *name.trim_start_matches("name=") {
            links.push((name.clone(), mount_name.clone()));
        }
        let path = target.join(&mount_name);
        if root.find(&path).is_ok() {
            continue; // mounted together with one before
        }
        let at = place(root, &path, Want::Directory)?;
        if context.has_cgroup_namespace {
            let data = if name.starts_with("name=") {
                name.clone()
            } else {
                mount_name.clone()
            };
            mount(Path::new("cgroup"), &by_fd(&at), "cgroup", flags, &data)?;
        } else {
            attach_own(dir, &at, &MountOptions::default())?;
        }
    }
    let top = root.find(target)?;
    for (name, mount_name) in links {
        rustix::fs::symlinkat(mount_name, &top, name)?;
    }
    if options.flags & libc::MS_RDONLY != 0 {
        // In one go: every controller below, and the tmpfs itself. A mount that stays writable lets
        // the container lift its own limits.
        set_attributes(
            top.as_fd(),
            true,
            &attributes(libc::MOUNT_ATTR_RDONLY, 0, 0),
        )?;
    }
    Ok(())
}

/// The directory name under `/sys/fs/cgroup`: that of the mount, `cpu,cpuacct` for example.
fn mount_name_of(dir: &Path, name: &str, context: &MountContext<'_>) -> String {
    let together: Vec<&str> = context
        .cgroup
        .v1
        .iter()
        .filter(|(_, d)| d.as_path() == dir)
        .map(|(n, _)| n.as_str())
        .collect();
    match together.as_slice() {
        [_] | [] => name.trim_start_matches("name=").into(),
        several => several.join(","),
    }
}

fn attach_own(dir: &Path, at: &OwnedFd, options: &MountOptions) -> io::Result<()> {
    let tree = clone_tree(host_path(dir)?.as_fd(), false)?;
    let set =
        libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC | options.set;
    set_attributes(tree.as_fd(), false, &attributes(set, 0, 0))?;
    attach(&tree, at)
}

/// Makes deferred mounts read-only; called with the container's root as `/`.
pub(crate) fn finish(deferred: &[Deferred]) -> Result<(), CreateError> {
    for path in deferred {
        let go = || {
            let fd = host_path(path)?;
            set_attributes(
                fd.as_fd(),
                false,
                &attributes(libc::MOUNT_ATTR_RDONLY, 0, 0),
            )
        };
        go().context(|| format!("make {} read-only", path.display()))?;
    }
    Ok(())
}
