//! The OCI configuration of a container. Everything is decided here: the runtime only obeys.
//!
//! Written as JSON, which is what the bundle holds; the runtime reads it back with its types.

mod capabilities;
mod devices;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod security;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub(crate) use capabilities::{CapabilitySet, for_container, for_exec};
pub(crate) use mounts::{BindFile, Sources};
pub(crate) use namespaces::{Joined, shared};
pub(crate) use process::{environment, exec_process, lowest_oom_score};
pub(crate) use resources::resources;
pub(crate) use security::{
    SecurityOptions, seccomp_filter, seccomp_profile, warnings as security_warnings,
};

use super::record::Record;
use crate::error::Result;

/// What the specification is made from besides the record.
pub(crate) struct Inputs<'a> {
    pub record: &'a Record,
    pub rootfs: &'a Path,
    /// Path of the network namespace; none is the host's.
    pub netns: Option<PathBuf>,
    /// Namespaces of other containers that are joined.
    pub joined: Joined,
    pub hostname: &'a str,
    pub user: &'a skep_runtime::user::ResolvedUser,
    pub cgroup: String,
    pub sources: Sources<'a>,
    pub default_ulimits: &'a std::collections::BTreeMap<String, (i64, i64)>,
    pub init: bool,
    /// Where specifications of devices are.
    pub cdi_dirs: &'a [PathBuf],
    /// Variables of linked containers.
    pub link_env: Vec<String>,
    /// It runs on a runtime other than our own.
    pub is_external: bool,
}

/// The whole `config.json`.
pub(crate) fn specification(inputs: &Inputs<'_>) -> Result<Value> {
    let record = inputs.record;
    let host = &record.host_config;
    let security = SecurityOptions::parse(host)?;
    let capabilities = for_container(host)?;
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "hostname": inputs.hostname,
        "domainname": record.config.domainname,
        "root": { "path": inputs.rootfs, "readonly": host.readonly_rootfs },
        "process": process::init_process(inputs, &capabilities, &security)?,
        "mounts": mounts::list(inputs)?,
        "annotations": host.annotations.clone().unwrap_or_default(),
        "linux": {
            "cgroupsPath": inputs.cgroup,
            "namespaces": namespaces::list(inputs),
            "resources": resources(host)?,
            "sysctl": namespaces::sysctls(inputs)?,
            "maskedPaths": host.masked_paths.clone().unwrap_or_default(),
            "readonlyPaths": host.readonly_paths.clone().unwrap_or_default(),
            "rootfsPropagation": mounts::rootfs_propagation(record),
        },
    });
    if let Some(profile) = seccomp_profile(host, &capabilities, inputs.is_external)? {
        spec["linux"]["seccomp"] = profile;
    }
    let (nodes, rules) = devices::devices(host)?;
    spec["linux"]["devices"] = Value::Array(nodes);
    spec["linux"]["resources"]["devices"] = Value::Array(rules);
    crate::container::cdi::inject(&mut spec, host, inputs.cdi_dirs)?;
    if host.uts_mode == "host" {
        let object = spec.as_object_mut().expect("made as an object above");
        object.remove("hostname");
        object.remove("domainname");
    }
    Ok(spec)
}
