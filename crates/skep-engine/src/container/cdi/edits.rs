//! What a specification changes in a container.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{EngineError, Result};

/// `containerEdits`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Edits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    net_devices: Vec<Value>,
    hooks: Vec<Hook>,
    mounts: Vec<Mount>,
    #[serde(rename = "additionalGids", alias = "additionalGIDs")]
    additional_gids: Vec<u32>,
    intel_rdt: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeviceNode {
    path: String,
    host_path: String,
    #[serde(rename = "type")]
    kind: String,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hook {
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Mount {
    host_path: String,
    container_path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Vec<String>,
}

fn refuse(text: String) -> EngineError {
    EngineError::Start(format!("CDI device injection failed: {text}"))
}

/// A list within the configuration, made where it is missing.
fn list<'a>(spec: &'a mut Value, path: &[&str]) -> &'a mut Vec<Value> {
    let mut at = spec;
    for key in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[*key];
    }
    if !at.is_array() {
        *at = json!([]);
    }
    at.as_array_mut().expect("made as an array above")
}

/// Applies edits to an OCI configuration.
pub(super) fn apply(spec: &mut Value, edits: &Edits) -> Result<()> {
    if !edits.net_devices.is_empty() {
        return Err(refuse("netDevices are not supported".to_owned()));
    }
    if edits.intel_rdt.is_some() {
        return Err(refuse("intelRdt is not supported".to_owned()));
    }
    let env = list(spec, &["process", "env"]);
    for entry in &edits.env {
        let key = entry.split('=').next().unwrap_or_default();
        env.retain(|have| have.as_str().and_then(|have| have.split('=').next()) != Some(key));
        env.push(json!(entry));
    }
    for device in &edits.device_nodes {
        let (node, rule) = node(device)?;
        list(spec, &["linux", "devices"]).push(node);
        list(spec, &["linux", "resources", "devices"]).push(rule);
    }
    for mount in &edits.mounts {
        let kind = if mount.kind.is_empty() {
            "bind"
        } else {
            &mount.kind
        };
        let mut options = mount.options.clone();
        if kind == "bind" && !options.iter().any(|option| option.ends_with("bind")) {
            options.push("rbind".to_owned());
        }
        list(spec, &["mounts"]).push(json!({
            "destination": mount.container_path, "source": mount.host_path, "type": kind, "options": options,
        }));
    }
    for hook in &edits.hooks {
        let known = [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ];
        if !known.contains(&hook.hook_name.as_str()) {
            return Err(refuse(format!("invalid hook name {:?}", hook.hook_name)));
        }
        let mut entry = json!({"path": hook.path});
        if !hook.args.is_empty() {
            entry["args"] = json!(hook.args);
        }
        if !hook.env.is_empty() {
            entry["env"] = json!(hook.env);
        }
        if let Some(timeout) = hook.timeout {
            entry["timeout"] = json!(timeout);
        }
        list(spec, &["hooks", &hook.hook_name]).push(entry);
    }
    let gids = list(spec, &["process", "user", "additionalGids"]);
    for gid in &edits.additional_gids {
        if !gids.contains(&json!(gid)) {
            gids.push(json!(gid));
        }
    }
    Ok(())
}

/// A node to make and the rule that opens it; what the specification leaves open is the host's.
fn node(device: &DeviceNode) -> Result<(Value, Value)> {
    let host_path = if device.host_path.is_empty() {
        &device.path
    } else {
        &device.host_path
    };
    let (mut kind, mut major, mut minor) = (device.kind.clone(), device.major, device.minor);
    let meta = std::fs::metadata(Path::new(host_path));
    if kind.is_empty() || major.is_none() || minor.is_none() {
        let meta = meta
            .as_ref()
            .map_err(|error| refuse(format!("device node {host_path}: {error}")))?;
        kind = match meta.file_type() {
            kind if kind.is_char_device() => "c".to_owned(),
            kind if kind.is_block_device() => "b".to_owned(),
            _ => return Err(refuse(format!("{host_path} is not a device node"))),
        };
        major = Some(rustix::fs::major(meta.rdev()).into());
        minor = Some(rustix::fs::minor(meta.rdev()).into());
    }
    let mut node = json!({"path": device.path, "type": kind, "major": major, "minor": minor});
    let meta = meta.ok();
    let mode = device
        .file_mode
        .or(meta.as_ref().map(|meta| meta.mode() & 0o7777));
    let uid = device.uid.or(meta.as_ref().map(MetadataExt::uid));
    let gid = device.gid.or(meta.as_ref().map(MetadataExt::gid));
    for (key, value) in [("fileMode", mode), ("uid", uid), ("gid", gid)] {
        if let Some(value) = value {
            node[key] = json!(value);
        }
    }
    let access = if device.permissions.is_empty() {
        "rwm"
    } else {
        &device.permissions
    };
    let rule =
        json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access});
    Ok((node, rule))
}
