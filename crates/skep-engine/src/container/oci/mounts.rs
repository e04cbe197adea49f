//! What is mounted in a container.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Inputs;
use crate::container::record::{MountRecord, Record};
use crate::container::subpath;
use crate::error::{EngineError, Result};
use crate::volume::{KernelMount, Volumes};

/// A file or directory of the host that skep itself puts in.
#[derive(Debug, Clone)]
pub(crate) struct BindFile {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// Where mounts come from.
pub(crate) struct Sources<'a> {
    pub volumes: &'a Volumes,
    /// `/etc/hosts` and its like, secrets, configs, the init.
    pub files: Vec<BindFile>,
}

/// All mounts, parents before children.
pub(super) fn list(inputs: &Inputs<'_>) -> Result<Vec<Value>> {
    let record = inputs.record;
    let mut list = basic(inputs);
    let taken = |target: &str| {
        record
            .mounts
            .iter()
            .any(|mount| mount.point.destination == target)
    };
    list.retain(|mount| !mount["destination"].as_str().is_some_and(taken));
    let mut own: Vec<(String, Value)> = Vec::new();
    for file in &inputs.sources.files {
        if !taken(&file.target) {
            let access = if file.read_only { "ro" } else { "rw" };
            let mount = json!({"destination": file.target, "type": "bind", "source": file.source, "options": ["rbind", "rprivate", access]});
            own.push((file.target.clone(), mount));
        }
    }
    for mount in &record.mounts {
        own.push((
            mount.point.destination.clone(),
            user_mount(mount, inputs.sources.volumes, inputs.is_external)?,
        ));
    }
    // A stable sort by depth: what is mounted at /a must be there before what goes to /a/b.
    own.sort_by_key(|(target, _)| Path::new(target).components().count());
    list.extend(own.into_iter().map(|(_, mount)| mount));
    Ok(list)
}

fn basic(inputs: &Inputs<'_>) -> Vec<Value> {
    let host = &inputs.record.host_config;
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let sys = if host.privileged { "rw" } else { "ro" };
    let writable =
        super::SecurityOptions::parse(host).is_ok_and(|options| options.writable_cgroups);
    let cgroup = if writable { "rw" } else { sys };
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", sys],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[cgroup, "nosuid", "noexec", "nodev"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
    ];
    if host.ipc_mode == "host" && Path::new("/dev/mqueue").exists() {
        list.pop();
        list.push(mount(
            "/dev/mqueue",
            "bind",
            "/dev/mqueue",
            &["rbind", "nosuid", "noexec", "nodev"],
        ));
    }
    let shm = match (host.ipc_mode.as_str(), &inputs.joined.shm) {
        ("none", _) => None,
        ("host", _) => Some(mount(
            "/dev/shm",
            "bind",
            "/dev/shm",
            &["rbind", "rprivate"],
        )),
        (_, Some(path)) => Some(
            json!({"destination": "/dev/shm", "type": "bind", "source": path, "options": ["rbind", "rprivate"]}),
        ),
        _ => {
            let size = format!("size={}", host.shm_size);
            Some(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &size],
            ))
        }
    };
    list.extend(shm);
    list
}

/// The mount behind one that a user asked for.
fn user_mount(mount: &MountRecord, volumes: &Volumes, is_external: bool) -> Result<Value> {
    let target = &mount.point.destination;
    match mount.point.kind.as_str() {
        "tmpfs" => {
            let mut options = mount.options.clone();
            if !mount.point.rw && !options.iter().any(|option| option == "ro") {
                options.push("ro".to_owned());
            }
            Ok(
                json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}),
            )
        }
        "image" => image_mount(mount, is_external),
        "volume" => match volumes.source(&mount.point.name)? {
            (_, Some(device)) => device_mount(mount, device, is_external),
            (data, None) => {
                let (source, option) = part_of(&data, &mount.subpath, is_external)?;
                Ok(bind_mount(mount, &source, option))
            }
        },
        _ => Ok(bind_mount(mount, &mount.source, None)),
    }
}

fn bind_mount(mount: &MountRecord, source: &Path, part: Option<String>) -> Value {
    let bind = if mount.non_recursive { "bind" } else { "rbind" };
    let access = match (mount.point.rw, mount.recursive_read_only) {
        (true, _) => "rw",
        (false, true) => "rro",
        (false, false) => "ro",
    };
    let propagation = if mount.point.propagation.is_empty() {
        "rprivate"
    } else {
        &mount.point.propagation
    };
    let mut options = vec![bind.to_owned(), propagation.to_owned(), access.to_owned()];
    options.extend(mount.options.iter().cloned());
    options.extend(part);
    json!({"destination": &mount.point.destination, "type": "bind", "source": source, "options": options})
}

/// An image is never written to.
fn image_mount(mount: &MountRecord, is_external: bool) -> Result<Value> {
    let target = &mount.point.destination;
    // A single layer needs no overlay; overlayfs refuses one lower directory without an upper.
    if let [one] = &mount.lower[..] {
        let (source, part) = part_of(one, &mount.subpath, is_external)?;
        // Older runtimes do not know the recursive word; a layer has no mounts below it in any case.
        let access = if is_external { "ro" } else { "rro" };
        let mut options = vec!["rbind".to_owned(), "rprivate".to_owned(), access.to_owned()];
        options.extend(part);
        return Ok(
            json!({"destination": target, "type": "bind", "source": source, "options": options}),
        );
    }
    let lower: Vec<String> = mount
        .lower
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    let mut options = vec![format!("lowerdir={}", lower.join(":")), "ro".to_owned()];
    if !mount.subpath.is_empty() {
        if is_external {
            return Err(EngineError::NotSupported(
                "a subpath of an image of several layers with another runtime".to_owned(),
            ));
        }
        options.push(subpath::option(&mount.subpath));
    }
    Ok(json!({"destination": target, "type": "overlay", "source": "overlay", "options": options}))
}

fn device_mount(mount: &MountRecord, device: KernelMount, is_external: bool) -> Result<Value> {
    let mut options = device.options;
    if !mount.point.rw {
        options.push("ro".to_owned());
    }
    if !mount.subpath.is_empty() {
        if is_external {
            return Err(EngineError::NotSupported(format!(
                "a subpath of volume {}, which has a device, with another runtime",
                mount.point.name
            )));
        }
        options.push(subpath::option(&mount.subpath));
    }
    Ok(
        json!({"destination": &mount.point.destination, "type": device.kind, "source": device.source, "options": options}),
    )
}

/// The source and the option of a bind of a part of `whole`. Our own runtime looks the part up itself, so
/// that what is checked is what is mounted; another gets a path.
fn part_of(whole: &Path, part: &str, is_external: bool) -> Result<(PathBuf, Option<String>)> {
    if part.is_empty() {
        return Ok((whole.to_owned(), None));
    }
    let found = subpath::resolve(whole, part)?;
    Ok(match is_external {
        true => (found, None),
        false => (whole.to_owned(), Some(subpath::option(part))),
    })
}

/// A mount that is to be seen on the host, or see the host's, needs a root that lets it through.
pub(super) fn rootfs_propagation(record: &Record) -> &'static str {
    let any = |suffix: &str| {
        record
            .mounts
            .iter()
            .any(|mount| mount.point.propagation.ends_with(suffix))
    };
    if any("shared") {
        "rshared"
    } else if any("slave") {
        "rslave"
    } else {
        "rprivate"
    }
}
