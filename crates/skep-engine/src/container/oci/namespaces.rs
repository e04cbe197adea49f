//! Namespaces, own or shared, and the kernel parameters that live in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use skep_objects::api::container::HostConfig;

use super::Inputs;
use crate::error::{EngineError, Result};

/// Namespaces of other containers, as paths below `/proc`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    pub pid: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    /// `/dev/shm` of the container whose ipc namespace is joined.
    pub shm: Option<PathBuf>,
}

/// The container that a mode `container:x` names.
pub(crate) fn shared(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

pub(super) fn list(inputs: &Inputs<'_>) -> Vec<Value> {
    let host = &inputs.record.host_config;
    let mut list = vec![json!({"type": "mount"})];
    let mut add = |kind: &str, mode: &str, joined: Option<&PathBuf>| match (mode, joined) {
        ("host", _) => {}
        (_, Some(path)) => list.push(json!({"type": kind, "path": path})),
        _ => list.push(json!({"type": kind})),
    };
    let network = if inputs.netns.is_none() { "host" } else { "" };
    add("network", network, inputs.netns.as_ref());
    add("uts", &host.uts_mode, None);
    add("pid", &host.pid_mode, inputs.joined.pid.as_ref());
    add("ipc", &host.ipc_mode, inputs.joined.ipc.as_ref());
    add("cgroup", &host.cgroupns_mode, None);
    list
}

/// Kernel parameters: the user's over Docker's own.
pub(super) fn sysctls(inputs: &Inputs<'_>) -> Result<BTreeMap<String, String>> {
    let host = &inputs.record.host_config;
    let wanted = host.sysctls.clone().unwrap_or_default();
    validate(host, &wanted)?;
    let mut all = BTreeMap::new();
    // A container with a namespace of its own may use low ports and ping without privilege.
    if inputs.netns.is_some() && shared(&host.network_mode).is_none() {
        all.insert(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        );
        all.insert(
            "net.ipv4.ping_group_range".to_owned(),
            "0 2147483647".to_owned(),
        );
    }
    all.extend(wanted);
    Ok(all)
}

/// Refuses what is not of the container's own namespaces.
pub(crate) fn validate(host: &HostConfig, wanted: &BTreeMap<String, String>) -> Result<()> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    for key in wanted.keys() {
        let ipc = IPC.contains(&key.as_str()) || key.starts_with("fs.mqueue.");
        let net = key.starts_with("net.");
        let shares_host = (ipc && host.ipc_mode == "host") || (net && host.network_mode == "host");
        if shares_host {
            let what = if ipc { "ipc" } else { "network" };
            return Err(EngineError::invalid(format!(
                "sysctl '{key}' not allowed in host {what} namespace"
            )));
        }
        let uts = matches!(key.as_str(), "kernel.domainname") && host.uts_mode != "host";
        if !ipc && !net && !uts {
            return Err(EngineError::invalid(format!(
                "sysctl '{key}' is not allowed"
            )));
        }
    }
    Ok(())
}
