//! What a request to make a container may not say, with Docker's texts. Nothing is touched here.

use skep_objects::api::container::{Config, HealthConfig, HostConfig};

use super::{oci, ports, restart, signal};
use crate::config::EngineConfig;
use crate::error::{EngineError, Result};

const MINIMUM_MEMORY: i64 = 6 << 20;

/// Checks `os/arch[/variant]`.
pub(crate) fn platform(platform: &str) -> Result<()> {
    let parts: Vec<&str> = platform.split('/').collect();
    if parts.len() > 3 {
        return Err(EngineError::invalid(format!(
            "\"{platform}\": cannot parse platform specifier: invalid argument"
        )));
    }
    if platform.is_empty() || parts[0] == "linux" {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "\"{platform}\": unknown operating system or architecture: invalid argument"
    )))
}

/// Before defaults are filled in. Returns warnings.
pub(crate) fn early(config: &Config, host: &mut HostConfig) -> Result<Vec<String>> {
    if config.image.is_empty() {
        return Err(EngineError::invalid("no image specified"));
    }
    if !config.stop_signal.is_empty() {
        signal::parse(&config.stop_signal)?;
    }
    if config.stop_timeout.is_some_and(|timeout| timeout < -1) {
        return Err(EngineError::invalid("stop timeout cannot be negative"));
    }
    for entry in config.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') {
            return Err(EngineError::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
    }
    if let Some(health) = &config.healthcheck {
        validate_health(health)?;
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    restart::validate(host)?;
    resources(host)
}

fn validate_health(health: &HealthConfig) -> Result<()> {
    let least = |value: i64, what: &str| {
        if value != 0 && value < 1_000_000 {
            return Err(EngineError::invalid(format!(
                "{what} in Healthcheck cannot be less than 1ms"
            )));
        }
        Ok(())
    };
    least(health.interval, "Interval")?;
    least(health.timeout, "Timeout")?;
    least(health.start_period, "StartPeriod")?;
    least(health.start_interval, "StartInterval")?;
    if health.retries < 0 {
        return Err(EngineError::invalid(
            "Retries in Healthcheck cannot be negative",
        ));
    }
    Ok(())
}

pub(crate) fn resources(host: &mut HostConfig) -> Result<Vec<String>> {
    let refuse = |text: &str| Err(EngineError::invalid(text));
    let mut warnings = Vec::new();
    if host.memory != 0 && host.memory < MINIMUM_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if host.memory_reservation != 0 && host.memory_reservation < MINIMUM_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if let Some(swappiness) = host.memory_swappiness.filter(|s| !(-1..=100).contains(s)) {
        return Err(EngineError::invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    if host.kernel_memory != 0 {
        warnings.push("Specifying a kernel memory limit is deprecated and will be removed in a future release.".to_owned());
        host.kernel_memory = 0;
    }
    if host.kernel_memory_tcp != 0 {
        warnings.push("Specifying a kernel TCP memory limit is deprecated and has no effect; it is discarded.".to_owned());
        host.kernel_memory_tcp = 0;
    }
    if host.oom_kill_disable == Some(true) && host.memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
    }
    cpu(host)?;
    elsewhere(host)?;
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(EngineError::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    if let Some(own) = super::oci::lowest_oom_score()
        .filter(|own| host.oom_score_adj < *own && host.oom_score_adj < 0)
    {
        return Err(EngineError::invalid(format!(
            "oom score adj {} cannot be set: the daemon has {own} itself and not the capability CAP_SYS_RESOURCE, which a lower one takes",
            host.oom_score_adj
        )));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    Ok(warnings)
}

/// Limits that only Windows has.
fn elsewhere(host: &HostConfig) -> Result<()> {
    let given = [
        (
            host.io_maximum_bandwidth != 0,
            "invalid QoS settings: Linux does not support configuration of maximum bandwidth",
        ),
        (
            host.io_maximum_iops != 0,
            "invalid QoS settings: Linux does not support configuration of maximum IOPs",
        ),
        (
            host.cpu_count != 0,
            "invalid option: Linux does not support configuration of the CPU count: use NanoCPUs",
        ),
        (
            host.cpu_percent != 0,
            "invalid option: Linux does not support configuration of the CPU percentage: use NanoCPUs",
        ),
        (
            !host.cgroup.is_empty(),
            "invalid option: the field Cgroup is not supported: use CgroupnsMode or CgroupParent",
        ),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, text)) => Err(EngineError::invalid(*text)),
        None => Ok(()),
    }
}

fn cpu(host: &HostConfig) -> Result<()> {
    let refuse = |text: String| Err(EngineError::invalid(text));
    shares(host.cpu_shares)?;
    let cpus = std::thread::available_parallelism()
        .map_or(1, |n| i64::try_from(n.get()).unwrap_or(i64::MAX));
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refuse(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned(),
        );
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refuse(
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned(),
        );
    }
    if host.nano_cpus < 0 || host.nano_cpus > cpus.saturating_mul(1_000_000_000) {
        #[allow(clippy::cast_precision_loss)] // a handful of CPUs
        let most = cpus as f64;
        return refuse(format!(
            "range of CPUs is from 0.01 to {most:.2}, as there are only {cpus} CPUs available"
        ));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .to_owned(),
        );
    }
    if host.cpu_quota != 0 && host.cpu_quota != -1 && host.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    for (what, set) in [
        ("cpuset.cpus", &host.cpuset_cpus),
        ("cpuset.mems", &host.cpuset_mems),
    ] {
        let bad = !set.is_empty()
            && !set
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, ',' | '-'));
        if bad {
            let name = if what.ends_with("cpus") {
                "cpuset cpus"
            } else {
                "cpuset mems"
            };
            return refuse(format!(
                "Invalid value {set} for {name}: invalid format: {set}"
            ));
        }
        let (path, words) = if what.ends_with("cpus") {
            ("/sys/devices/system/cpu/online", "CPUs")
        } else {
            ("/sys/devices/system/node/online", "memory nodes")
        };
        if let Ok(online) = std::fs::read_to_string(path)
            && !within(set, online.trim())
        {
            return refuse(format!(
                "Requested {words} are not available - requested {set}, available: {}",
                online.trim()
            ));
        }
    }
    Ok(())
}

/// The kernel would take the nearest share that it has without a word.
fn shares(shares: i64) -> Result<()> {
    const LEAST: i64 = 2;
    const MOST: i64 = 262_144;
    let text = match shares {
        0 => return Ok(()),
        ..0 => "shares: invalid argument".to_owned(),
        // Weights, which version 2 has in their place, are reckoned from any share.
        1 if !super::defaults::cgroup_v2() => {
            format!("the minimum allowed cpu-shares is {LEAST}")
        }
        262_145.. => format!("the maximum allowed cpu-shares is {MOST}"),
        _ => return Ok(()),
    };
    Err(EngineError::invalid(text))
}

/// Whether all numbers of one list (`0-3,7`) are in another.
fn within(list: &str, other: &str) -> bool {
    let ranges = |text: &str| -> Vec<(u32, u32)> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        text.split(',').filter_map(range).collect()
    };
    let have = ranges(other);
    ranges(list)
        .iter()
        .all(|(first, last)| have.iter().any(|(low, high)| low <= first && last <= high))
}

/// After defaults are filled in. Returns warnings.
pub(crate) fn late(
    config: &Config,
    host: &HostConfig,
    engine: &EngineConfig,
) -> Result<Vec<String>> {
    let refuse = |text: String| Err(EngineError::invalid(text));
    ports::validate(config, host)?;
    oci::for_exec(host, false)?;
    oci::SecurityOptions::parse(host)?;
    modes(host)?;
    if host.network_mode == "host" && !host.links.as_deref().unwrap_or_default().is_empty() {
        return refuse("conflicting options: host type networking can't be used with links. This would result in undefined behavior".to_owned());
    }
    if host.runtime != engine.default_runtime
        && host.runtime != "runc"
        && !engine.runtimes.contains_key(&host.runtime)
    {
        return refuse(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    crate::logs::validate(&host.log_config)?;
    super::cdi::validate(host, &engine.cdi_spec_dirs)?;
    if host
        .storage_opt
        .as_ref()
        .is_some_and(|options| !options.is_empty())
    {
        return refuse(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
                .to_owned(),
        );
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return refuse(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        ));
    }
    for text in host.extra_hosts.iter().flatten() {
        super::etc_files::extra_host(text)?;
    }
    for ip in host.dns.iter().flatten() {
        if ip.parse::<std::net::IpAddr>().is_err() {
            return refuse(format!("invalid DNS address: {ip}"));
        }
    }
    let mut warnings = oci::security_warnings(host);
    let published = host.publish_all_ports
        || host
            .port_bindings
            .as_ref()
            .is_some_and(|ports| !ports.is_empty());
    if published && host.network_mode == "host" {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

fn modes(host: &HostConfig) -> Result<()> {
    let joins = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let check = |ok: bool, what: &str, mode: &str| {
        if ok {
            Ok(())
        } else {
            Err(EngineError::invalid(format!("invalid {what} mode: {mode}")))
        }
    };
    let ipc = &host.ipc_mode;
    check(
        matches!(ipc.as_str(), "none" | "private" | "shareable" | "host") || joins(ipc),
        "IPC",
        ipc,
    )?;
    check(
        matches!(host.pid_mode.as_str(), "" | "host") || joins(&host.pid_mode),
        "PID",
        &host.pid_mode,
    )?;
    check(
        matches!(host.uts_mode.as_str(), "" | "host"),
        "UTS",
        &host.uts_mode,
    )?;
    check(
        matches!(host.cgroupns_mode.as_str(), "host" | "private"),
        "cgroup namespace",
        &host.cgroupns_mode,
    )?;
    check(
        matches!(host.userns_mode.as_str(), "" | "host"),
        "user namespace",
        &host.userns_mode,
    )?;
    if host.network_mode.starts_with("container:") && !joins(&host.network_mode) {
        return Err(EngineError::invalid(
            "Invalid network mode: invalid container format container:<name|id>",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_compared_by_number() {
        assert!(within("", "0-1") && within("0,1", "0-1") && within("2-3", "0-7"));
        assert!(!within("99", "0-1") && !within("1-2", "0-1"));
    }
}
