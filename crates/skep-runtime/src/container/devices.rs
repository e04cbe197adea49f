//! `/dev`: the nodes and links that every container has, and those that `config.json` adds.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::error::{Context, CreateError};
use super::mounts::{attach, clone_tree};
use super::paths::{Root, Want, host_path};

/// Name, major, minor: what the OCI specification gives every container.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

struct Node<'a> {
    path: &'a Path,
    kind: FileType,
    numbers: (u32, u32),
    mode: u32,
    owner: (u32, u32),
}

/// Fills `/dev`. With `binds` (in a user namespace, where nodes cannot be made) the host's nodes are
/// bound instead.
pub(crate) fn make(root: &Root, devices: &[LinuxDevice], binds: bool) -> Result<(), CreateError> {
    let listed: Vec<PathBuf> = devices.iter().map(|d| d.path().clone()).collect();
    for (name, major, minor) in DEFAULTS {
        let path = Path::new("/dev").join(name);
        if !listed.contains(&path) {
            let node = Node {
                path: &path,
                kind: FileType::CharacterDevice,
                numbers: (major, minor),
                mode: 0o666,
                owner: (0, 0),
            };
            make_node(root, &node, binds)?;
        }
    }
    for device in devices {
        make_node(root, &node_of(device)?, binds)?;
    }
    let dev = root
        .find(Path::new("/dev"))
        .context(|| "open /dev".into())?;
    for (path, target) in LINKS {
        // Not every kernel has it.
        if target == "/proc/kcore" && !Path::new(target).exists() {
            continue;
        }
        let name = &path["/dev/".len()..];
        ignore_existing(rustix::fs::symlinkat(target, &dev, name))
            .context(|| format!("link {path}"))?;
    }
    // The container's own devpts, whatever the image had here.
    if root.find(Path::new("/dev/pts/ptmx")).is_ok() {
        let _ = rustix::fs::unlinkat(&dev, "ptmx", AtFlags::empty());
        ignore_existing(rustix::fs::symlinkat("pts/ptmx", &dev, "ptmx"))
            .context(|| "link /dev/ptmx".into())?;
    }
    Ok(())
}

fn ignore_existing(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

fn node_of(device: &LinuxDevice) -> Result<Node<'_>, CreateError> {
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            return Err(CreateError::Config(format!(
                "device {} has no type",
                device.path().display()
            )));
        }
    };
    let number = |n: i64| {
        u32::try_from(n).map_err(|_| {
            CreateError::Config(format!(
                "device {}: number {n} is out of range",
                device.path().display()
            ))
        })
    };
    Ok(Node {
        path: device.path(),
        kind,
        numbers: (number(device.major())?, number(device.minor())?),
        mode: device.file_mode().unwrap_or(0o666),
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    })
}

fn make_node(root: &Root, node: &Node<'_>, binds: bool) -> Result<(), CreateError> {
    let go = || -> io::Result<()> {
        if binds {
            let tree = clone_tree(host_path(node.path)?.as_fd(), false)?;
            return attach(&tree, &root.ensure(node.path, Want::File)?);
        }
        let parent = root.ensure(
            node.path.parent().unwrap_or(Path::new("/")),
            Want::Directory,
        )?;
        let name = node
            .path
            .file_name()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let device = rustix::fs::makedev(node.numbers.0, node.numbers.1);
        // The process's umask is 0 while the container is built.
        match rustix::fs::mknodat(
            &parent,
            name,
            node.kind,
            Mode::from_raw_mode(node.mode & 0o7777),
            device,
        ) {
            Err(Errno::EXIST) => return check_existing(&parent, name, node, device),
            other => other?,
        }
        if node.owner != (0, 0) {
            let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
            rustix::fs::chownat(
                &parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(())
    };
    go().context(|| format!("create device {}", node.path.display()))
}

/// The image may bring the very node; anything else in its place is refused.
fn check_existing(
    dir: &impl AsFd,
    name: &std::ffi::OsStr,
    node: &Node<'_>,
    device: u64,
) -> io::Result<()> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == node.kind
        && (node.kind == FileType::Fifo || stat.st_rdev == device)
    {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

/// `/dev/console` of a container with a terminal: the terminal itself, over a file made for it or the
/// console device of the image. Nothing else is covered, and what was looked at is what is covered: the
/// name may have been given to something else meanwhile.
pub(crate) fn bind_console(slave: &impl AsFd) -> io::Result<()> {
    let root = Root::open(Path::new("/"))?;
    let made = rustix::fs::open(
        "/dev/console",
        OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    );
    match made {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let at = root.find_plain(Path::new("/dev/console"))?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&at)?.st_mode);
    if !kind.is_file() && !kind.is_char_device() {
        return Err(Errno::EXIST.into());
    }
    attach(&clone_tree(slave.as_fd(), false)?, &at)
}
