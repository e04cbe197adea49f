//! `--security-opt`.

use std::path::{Path, PathBuf};

use skep_objects::api::container::HostConfig;

use super::CapabilitySet;
use crate::error::{EngineError, Result};

/// What the options say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// The container may change its own cgroup.
    pub writable_cgroups: bool,
}

/// Which system calls are open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// Docker's own profile.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A profile in Docker's JSON form, which the client has read from its file.
    Profile(String),
}

impl SecurityOptions {
    pub(crate) fn parse(host: &HostConfig) -> Result<Self> {
        let mut parsed = Self::default();
        if host.privileged {
            parsed.seccomp = Seccomp::Unconfined;
        }
        for option in host.security_opt.iter().flatten() {
            let bad =
                |n: u8| EngineError::invalid(format!("invalid --security-opt {n}: \"{option}\""));
            if matches!(option.as_str(), "no-new-privileges" | "disable") {
                parsed.no_new_privileges |= option == "no-new-privileges";
                continue;
            }
            let (key, value) = option
                .split_once('=')
                .or_else(|| option.split_once(':'))
                .ok_or_else(|| bad(1))?;
            match key {
                "no-new-privileges" => {
                    parsed.no_new_privileges = value.parse().map_err(|_| bad(2))?
                }
                "seccomp" => {
                    parsed.seccomp = match value {
                        "unconfined" => Seccomp::Unconfined,
                        "builtin" | "default" => Seccomp::Default,
                        profile => Seccomp::Profile(profile.to_owned()),
                    }
                }
                "writable-cgroups" => {
                    parsed.writable_cgroups = value.parse().map_err(|_| bad(2))?
                }
                // On a kernel without them a profile or a label has nothing to say, as in Docker.
                "apparmor" if value != "unconfined" && is_there(APPARMOR) => {
                    return Err(EngineError::NotSupported(format!(
                        "security option {option:?}: AppArmor profiles"
                    )));
                }
                "label" if value != "disable" && is_there(SELINUX) => {
                    return Err(EngineError::NotSupported(format!(
                        "security option {option:?}: SELinux labels"
                    )));
                }
                "apparmor" | "label" => {}
                "systempaths" if value == "unconfined" => {}
                _ => return Err(bad(2)),
            }
        }
        Ok(parsed)
    }
}

/// What options ask for that this kernel has not. dockerd takes them in silence.
pub(crate) fn warnings(host: &HostConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    for option in host.security_opt.iter().flatten() {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        let missing = match (key, value) {
            ("apparmor", "unconfined") | ("label", "disable") => continue,
            ("apparmor", _) => "AppArmor",
            ("label", _) => "SELinux",
            _ => continue,
        };
        warnings.push(format!(
            "security option {option} has no effect: this kernel has no {missing}"
        ));
    }
    warnings
}

const APPARMOR: &str = "/sys/kernel/security/apparmor/profiles";
const SELINUX: &str = "/sys/fs/selinux/enforce";

fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}

/// The compiled filter of a container; none when it is unconfined.
pub(crate) fn seccomp_filter(
    host: &HostConfig,
    capabilities: &CapabilitySet,
    cache: &Path,
) -> Result<Option<PathBuf>> {
    let names = capabilities.iter().copied();
    let filter = match SecurityOptions::parse(host)?.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => skep_runtime::seccomp::default_filter(names, cache),
        Seccomp::Profile(json) => {
            skep_runtime::seccomp::profile_filter(json.as_bytes(), names, cache)
        }
    };
    filter
        .map(Some)
        .map_err(|error| EngineError::invalid(error.to_string()))
}

/// The profile as `config.json` has it: for a runtime that compiles it by itself, and where it says
/// more than which calls are open.
pub(crate) fn seccomp_profile(
    host: &HostConfig,
    capabilities: &CapabilitySet,
    is_external: bool,
) -> Result<Option<serde_json::Value>> {
    let seccomp = SecurityOptions::parse(host)?.seccomp;
    let says_more = |json: &str| json.contains("\"listenerPath\"") || json.contains("\"flags\"");
    let profile = match &seccomp {
        Seccomp::Default if is_external => None,
        Seccomp::Profile(json) if is_external || says_more(json) => Some(json.as_bytes()),
        Seccomp::Unconfined | Seccomp::Default | Seccomp::Profile(_) => return Ok(None),
    };
    let names = capabilities.iter().copied();
    let profile = skep_runtime::seccomp::oci_profile(profile, names);
    let profile = profile.map_err(|error| EngineError::invalid(error.to_string()))?;
    let json = serde_json::to_value(profile);
    json.map(Some)
        .map_err(|error| EngineError::invalid(error.to_string()))
}
