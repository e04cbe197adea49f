//! Which capabilities a container gets.

use skep_objects::api::container::HostConfig;

use crate::error::{EngineError, Result};

/// Linux's, in the order of their numbers.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container has unless told otherwise.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Capabilities by their `CAP_` names.
pub(crate) type CapabilitySet = Vec<&'static str>;

/// The capabilities of a container's processes. What the daemon itself cannot give is left out.
pub(crate) fn for_container(host: &HostConfig) -> Result<CapabilitySet> {
    let add = names("CapAdd", host.cap_add.as_deref().unwrap_or_default())?;
    let drop = names("CapDrop", host.cap_drop.as_deref().unwrap_or_default())?;
    if host.privileged {
        return Ok(bounded(ALL.to_vec()));
    }
    let base = match (add.all, drop.all) {
        (true, _) => ALL.to_vec(),
        (false, true) => Vec::new(),
        (false, false) => DEFAULT.to_vec(),
    };
    let mut set: CapabilitySet = base
        .into_iter()
        .filter(|name| !drop.named.contains(name))
        .collect();
    for name in add.named {
        let dropped = add.all && drop.named.contains(&name);
        if !dropped && !set.contains(&name) {
            set.push(name);
        }
    }
    Ok(bounded(set))
}

/// The same for an exec, which may be privileged in a container that is not.
pub(crate) fn for_exec(host: &HostConfig, privileged: bool) -> Result<CapabilitySet> {
    if privileged {
        Ok(bounded(ALL.to_vec()))
    } else {
        for_container(host)
    }
}

struct Named {
    all: bool,
    named: CapabilitySet,
}

fn names(field: &str, list: &[String]) -> Result<Named> {
    let mut result = Named {
        all: false,
        named: Vec::new(),
    };
    for text in list {
        let upper = text.to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") {
            upper.clone()
        } else {
            format!("CAP_{upper}")
        };
        if upper == "ALL" || full == "CAP_ALL" {
            result.all = true;
        } else if let Some(known) = ALL.iter().find(|name| **name == full) {
            result.named.push(known);
        } else {
            return Err(EngineError::invalid(format!(
                "invalid {field}: unknown capability: \"{full}\""
            )));
        }
    }
    Ok(result)
}

/// Without those that the daemon's own bounding set lacks: asking for one would fail the start.
fn bounded(mut set: CapabilitySet) -> CapabilitySet {
    static BOUNDING: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let mask = *BOUNDING.get_or_init(|| bounding_mask().unwrap_or(u64::MAX));
    set.retain(|name| {
        ALL.iter()
            .position(|known| known == name)
            .is_some_and(|bit| mask & (1 << bit) != 0)
    });
    set
}

fn bounding_mask() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether the daemon may raise limits.
pub(super) fn daemon_has(name: &str) -> bool {
    ALL.iter()
        .find(|known| **known == name)
        .is_some_and(|known| !bounded(vec![known]).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(add: &[&str], drop: &[&str]) -> HostConfig {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        HostConfig {
            cap_add: list(add),
            cap_drop: list(drop),
            ..HostConfig::default()
        }
    }

    #[test]
    fn added_and_dropped_capabilities_change_the_default() {
        let set = for_container(&host(&["net_admin"], &["CAP_CHOWN"])).unwrap();
        assert!(!set.contains(&"CAP_CHOWN"));
        assert!(set.contains(&"CAP_KILL"));
        let set = for_container(&host(&["CHOWN"], &["ALL"])).unwrap();
        assert_eq!(set, ["CAP_CHOWN"]);
    }

    #[test]
    fn an_unknown_capability_is_refused_by_name() {
        let error = for_container(&host(&["FLY"], &[])).unwrap_err().to_string();
        assert_eq!(error, "invalid CapAdd: unknown capability: \"CAP_FLY\"");
        let error = for_container(&host(&[], &["fly"])).unwrap_err().to_string();
        assert_eq!(error, "invalid CapDrop: unknown capability: \"CAP_FLY\"");
    }
}
