//! What Docker fills in where a request leaves `HostConfig` open.

use std::collections::BTreeMap;

use skep_objects::api::container::HostConfig;

use crate::config::EngineConfig;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Whether the host's cgroups are of version 2 only.
pub(crate) fn cgroup_v2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Fills in defaults, as `inspect` shows them.
pub(crate) fn fill(host: &mut HostConfig, config: &EngineConfig) {
    let set = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    if matches!(host.network_mode.as_str(), "" | "default") {
        host.network_mode = "bridge".to_owned();
    }
    set(&mut host.restart_policy.name, "no");
    let cgroupns = match config.default_cgroupns_mode.as_str() {
        _ if host.privileged => "host",
        "" if cgroup_v2() => "private",
        "" => "host",
        mode => mode,
    };
    set(&mut host.cgroupns_mode, cgroupns);
    set(&mut host.ipc_mode, &config.default_ipc_mode);
    fill_security(host, config);
    set(&mut host.runtime, &config.default_runtime);
    set(&mut host.log_config.driver, &config.log_driver);
    if host.log_config.driver == config.log_driver {
        let options = host.log_config.config.get_or_insert_default();
        for (key, value) in &config.log_opts {
            options.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    host.log_config.config.get_or_insert_default();
    host.port_bindings.get_or_insert_with(BTreeMap::new);
    if host.shm_size == 0 {
        host.shm_size = config.default_shm_size;
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.memory_swappiness == Some(-1) {
        host.memory_swappiness = None;
    }
    if host.pids_limit == Some(0) {
        host.pids_limit = None;
    }
    host.oom_kill_disable.get_or_insert(false);
    host.ulimits.get_or_insert_default();
    fill_paths(host);
}

/// What the daemon's flags say of security where the request says nothing.
fn fill_security(host: &mut HostConfig, config: &EngineConfig) {
    let says = |host: &HostConfig, name: &str| {
        let options = host.security_opt.iter().flatten();
        options
            .map(|option| option.split(['=', ':']).next().unwrap_or_default())
            .any(|given| given == name)
    };
    if config.no_new_privileges && !says(host, "no-new-privileges") {
        let options = host.security_opt.get_or_insert_default();
        options.push("no-new-privileges".to_owned());
    }
    if !config.seccomp_profile.is_empty() && !host.privileged && !says(host, "seccomp") {
        let options = host.security_opt.get_or_insert_default();
        options.push(format!("seccomp={}", config.seccomp_profile));
    }
}

/// A privileged container sees all; otherwise what the request does not say is Docker's list.
fn fill_paths(host: &mut HostConfig) {
    let unconfined = host
        .security_opt
        .iter()
        .flatten()
        .any(|option| option == "systempaths=unconfined");
    let list = |paths: &[&str]| {
        let open = unconfined || host.privileged;
        Some(if open {
            Vec::new()
        } else {
            paths.iter().map(|path| (*path).to_owned()).collect()
        })
    };
    if host.masked_paths.is_none() {
        host.masked_paths = list(&MASKED);
    }
    if host.readonly_paths.is_none() {
        host.readonly_paths = list(&READ_ONLY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_twice_the_memory_unless_said() {
        let mut host = HostConfig {
            memory: 64 << 20,
            ..HostConfig::default()
        };
        fill(&mut host, &EngineConfig::default());
        assert_eq!(host.memory_swap, 128 << 20);
        assert_eq!(
            (host.shm_size, host.network_mode.as_str()),
            (64 << 20, "bridge")
        );
    }

    #[test]
    fn a_privileged_container_has_no_masked_paths() {
        let mut host = HostConfig {
            privileged: true,
            ..HostConfig::default()
        };
        fill(&mut host, &EngineConfig::default());
        assert_eq!(host.masked_paths, Some(Vec::new()));
    }
}
