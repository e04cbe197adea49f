//! What is mounted in a container.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Inputs;
use crate::container::record::{MountRecord, Record};
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
    let mut own: Vec<(String, Vec<Value>)> = Vec::new();
    for file in &inputs.sources.files {
        if !taken(&file.target) {
            let access = if file.read_only { "ro" } else { "rw" };
            let mount = json!({"destination": file.target, "type": "bind", "source": file.source, "options": ["rbind", "rprivate", access]});
            own.push((file.target.clone(), vec![mount]));
        }
    }
    for mount in &record.mounts {
        own.push((
            mount.point.destination.clone(),
            user_mount(mount, inputs.sources.volumes)?,
        ));
    }
    // A stable sort by depth: what is mounted at /a must be there before what goes to /a/b.
    own.sort_by_key(|(target, _)| Path::new(target).components().count());
    list.extend(own.into_iter().flat_map(|(_, mounts)| mounts));
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

/// The mounts behind one that a user asked for: more than one when a volume has a device.
fn user_mount(mount: &MountRecord, volumes: &Volumes) -> Result<Vec<Value>> {
    let target = &mount.point.destination;
    if mount.point.kind == "tmpfs" {
        let mut options = mount.options.clone();
        if !mount.point.rw && !options.iter().any(|option| option == "ro") {
            options.push("ro".to_owned());
        }
        return Ok(vec![
            json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}),
        ]);
    }
    if mount.point.kind == "image" {
        let lower: Vec<String> = mount
            .lower
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        // A single layer needs no overlay; overlayfs refuses one lower directory without an upper.
        if let [one] = &lower[..] {
            let source = format!("{one}/{}", mount.subpath.trim_start_matches('/'));
            return Ok(vec![
                json!({"destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate", "ro"]}),
            ]);
        }
        if !mount.subpath.is_empty() {
            return Err(EngineError::NotSupported(
                "a subpath of an image of several layers".to_owned(),
            ));
        }
        let options = [format!("lowerdir={}", lower.join(":")), "ro".to_owned()];
        return Ok(vec![
            json!({"destination": target, "type": "overlay", "source": "overlay", "options": options}),
        ]);
    }
    let mut source = mount.source.clone();
    if mount.point.kind == "volume" {
        let (data, device) = volumes.source(&mount.point.name)?;
        if let Some(device) = device {
            if !mount.subpath.is_empty() {
                return Err(EngineError::NotSupported(format!(
                    "a subpath of volume {}, which has a device",
                    mount.point.name
                )));
            }
            return Ok(vec![device_mount(target, device, mount.point.rw)]);
        }
        source = within_volume(&data, &mount.subpath)?;
    }
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
    Ok(vec![
        json!({"destination": target, "type": "bind", "source": source, "options": options}),
    ])
}

fn device_mount(target: &str, device: KernelMount, rw: bool) -> Value {
    let mut options = device.options;
    if !rw {
        options.push("ro".to_owned());
    }
    json!({"destination": target, "type": device.kind, "source": device.source, "options": options})
}

/// A directory within a volume, which may not lead out of it.
pub(crate) fn within_volume(data: &Path, subpath: &str) -> Result<PathBuf> {
    if subpath.is_empty() {
        return Ok(data.to_owned());
    }
    let path = data.join(subpath);
    let outside = || {
        EngineError::invalid(format!(
            "subpath must be a relative path within the volume: {subpath}"
        ))
    };
    let found = std::fs::canonicalize(&path).map_err(|_| {
        EngineError::invalid(format!(
            "cannot access path {}: lstat {}: no such file or directory",
            path.display(),
            path.display()
        ))
    })?;
    let root = std::fs::canonicalize(data).map_err(EngineError::io("read", data))?;
    if found.starts_with(root) {
        Ok(found)
    } else {
        Err(outside())
    }
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
