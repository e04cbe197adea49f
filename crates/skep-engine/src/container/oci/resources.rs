//! Limits of a container.

use std::os::unix::fs::MetadataExt;

use serde_json::{Map, Value, json};
use skep_objects::api::container::{HostConfig, ThrottleDevice};

use crate::error::{EngineError, Result};

/// `linux.resources` without devices. What is zero or absent is left as the kernel has it.
pub(crate) fn resources(host: &HostConfig) -> Result<Value> {
    let mut memory = Map::new();
    put(&mut memory, "limit", host.memory);
    put(&mut memory, "reservation", host.memory_reservation);
    put(&mut memory, "swap", host.memory_swap);
    if let Some(swappiness) = host.memory_swappiness {
        memory.insert("swappiness".to_owned(), json!(swappiness));
    }
    if host.oom_kill_disable == Some(true) {
        memory.insert("disableOOMKiller".to_owned(), json!(true));
    }
    let mut cpu = Map::new();
    let (period, quota) = cpu_limits(host);
    put(&mut cpu, "shares", host.cpu_shares);
    put(&mut cpu, "period", period);
    put(&mut cpu, "quota", quota);
    put(&mut cpu, "realtimePeriod", host.cpu_realtime_period);
    put(&mut cpu, "realtimeRuntime", host.cpu_realtime_runtime);
    if !host.cpuset_cpus.is_empty() {
        cpu.insert("cpus".to_owned(), json!(host.cpuset_cpus));
    }
    if !host.cpuset_mems.is_empty() {
        cpu.insert("mems".to_owned(), json!(host.cpuset_mems));
    }
    let mut resources = Map::new();
    if !memory.is_empty() {
        resources.insert("memory".to_owned(), Value::Object(memory));
    }
    if !cpu.is_empty() {
        resources.insert("cpu".to_owned(), Value::Object(cpu));
    }
    if let Some(limit) = host.pids_limit.filter(|limit| *limit != 0) {
        resources.insert("pids".to_owned(), json!({"limit": limit}));
    }
    let block = block_io(host)?;
    if !block.is_empty() {
        resources.insert("blockIO".to_owned(), Value::Object(block));
    }
    Ok(Value::Object(resources))
}

/// Period and quota in microseconds, whichever way they were given.
pub(crate) fn cpu_limits(host: &HostConfig) -> (i64, i64) {
    const PERIOD: i64 = 100_000;
    if host.nano_cpus == 0 {
        return (host.cpu_period, host.cpu_quota);
    }
    let quota = i128::from(host.nano_cpus) * i128::from(PERIOD) / 1_000_000_000;
    (PERIOD, i64::try_from(quota).unwrap_or(i64::MAX))
}

fn put(map: &mut Map<String, Value>, key: &str, value: i64) {
    if value != 0 {
        map.insert(key.to_owned(), json!(value));
    }
}

fn block_io(host: &HostConfig) -> Result<Map<String, Value>> {
    let mut block = Map::new();
    if host.blkio_weight != 0 {
        block.insert("weight".to_owned(), json!(host.blkio_weight));
    }
    let mut weights = Vec::new();
    for device in host.blkio_weight_device.iter().flatten() {
        let (major, minor) = numbers(&device.path)?;
        weights.push(json!({"major": major, "minor": minor, "weight": device.weight}));
    }
    if !weights.is_empty() {
        block.insert("weightDevice".to_owned(), Value::Array(weights));
    }
    let lists: [(&str, &Option<Vec<ThrottleDevice>>); 4] = [
        ("throttleReadBpsDevice", &host.blkio_device_read_bps),
        ("throttleWriteBpsDevice", &host.blkio_device_write_bps),
        ("throttleReadIOPSDevice", &host.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", &host.blkio_device_write_iops),
    ];
    for (key, list) in lists {
        let mut devices = Vec::new();
        for device in list.iter().flatten() {
            let (major, minor) = numbers(&device.path)?;
            devices.push(json!({"major": major, "minor": minor, "rate": device.rate}));
        }
        if !devices.is_empty() {
            block.insert(key.to_owned(), Value::Array(devices));
        }
    }
    Ok(block)
}

fn numbers(path: &str) -> Result<(u32, u32)> {
    let meta = std::fs::metadata(path)
        .map_err(|_| EngineError::invalid(format!("stat {path}: no such file or directory")))?;
    Ok((
        rustix::fs::major(meta.rdev()),
        rustix::fs::minor(meta.rdev()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cpu_is_half_a_period() {
        let host = HostConfig {
            nano_cpus: 500_000_000,
            memory: 1 << 20,
            ..HostConfig::default()
        };
        let got = resources(&host).unwrap();
        assert_eq!(
            got,
            json!({"memory": {"limit": 1 << 20}, "cpu": {"period": 100_000, "quota": 50_000}})
        );
    }
}
