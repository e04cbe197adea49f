//! Reading what a container consumes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{CgroupError, CgroupPaths, Stats};

/// What version 1 shows for "no limit": the largest page-aligned number.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;

pub(super) fn read(paths: &CgroupPaths) -> Result<Stats, CgroupError> {
    match paths.v2() {
        Some(dir) => Ok(v2(dir)),
        None => Ok(v1(paths)),
    }
}

pub(super) fn oom_kills(paths: &CgroupPaths) -> u64 {
    let file = match (paths.v2(), paths.controller("memory")) {
        (Some(dir), _) => dir.join("memory.events"),
        (None, Some(dir)) => dir.join("memory.oom_control"),
        (None, None) => return 0,
    };
    keyed(&file).get("oom_kill").copied().unwrap_or(0)
}

fn number(path: &Path) -> Option<u64> {
    super::read(path).ok()?.parse().ok()
}

/// `key value` lines.
fn keyed(path: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(k, v)| Some((k.into(), v.parse().ok()?)))
        .collect()
}

fn v1(paths: &CgroupPaths) -> Stats {
    let mut stats = Stats::default();
    if let Some(dir) = paths.controller("cpuacct") {
        stats.cpu_total_ns = number(&dir.join("cpuacct.usage")).unwrap_or(0);
        let per_cpu = super::read(&dir.join("cpuacct.usage_percpu")).unwrap_or_default();
        stats.cpu_per_cpu_ns = per_cpu
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        // In ticks of 1/100 s.
        let split = keyed(&dir.join("cpuacct.stat"));
        let ticks = |key: &str| split.get(key).copied().unwrap_or(0) * 10_000_000;
        stats.cpu_user_ns = ticks("user");
        stats.cpu_system_ns = ticks("system");
    }
    if let Some(dir) = paths.controller("cpu") {
        let stat = keyed(&dir.join("cpu.stat"));
        let get = |key: &str| stat.get(key).copied().unwrap_or(0);
        stats.cpu_throttling = (
            get("nr_periods"),
            get("nr_throttled"),
            get("throttled_time"),
        );
    }
    if let Some(dir) = paths.controller("memory") {
        stats.memory_usage_bytes = number(&dir.join("memory.usage_in_bytes")).unwrap_or(0);
        stats.memory_max_usage_bytes = number(&dir.join("memory.max_usage_in_bytes")).unwrap_or(0);
        stats.memory_limit_bytes =
            number(&dir.join("memory.limit_in_bytes")).filter(|limit| *limit < V1_UNLIMITED);
        stats.memory_failcnt = number(&dir.join("memory.failcnt")).unwrap_or(0);
        stats.memory_stat = keyed(&dir.join("memory.stat"));
    }
    if let Some(dir) = paths.controller("pids") {
        stats.pids_current = number(&dir.join("pids.current")).unwrap_or(0);
        stats.pids_limit = number(&dir.join("pids.max"));
    }
    if let Some(dir) = paths.controller("blkio") {
        stats.blkio_bytes = block_lines(dir, "blkio.throttle.io_service_bytes_recursive");
        stats.blkio_operations = block_lines(dir, "blkio.throttle.io_serviced_recursive");
    }
    stats
}

/// `8:0 Read 4096` lines; the last line is a total.
fn block_lines(dir: &Path, file: &str) -> Vec<(u64, u64, String, u64)> {
    let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let (major, minor) = parts.next()?.split_once(':')?;
            let operation = parts.next()?;
            Some((
                major.parse().ok()?,
                minor.parse().ok()?,
                operation.into(),
                parts.next()?.parse().ok()?,
            ))
        })
        .collect()
}

fn v2(dir: &Path) -> Stats {
    let cpu = keyed(&dir.join("cpu.stat"));
    let micro = |key: &str| cpu.get(key).copied().unwrap_or(0) * 1000;
    let (bytes, operations) = io_stat(dir);
    Stats {
        cpu_total_ns: micro("usage_usec"),
        cpu_user_ns: micro("user_usec"),
        cpu_system_ns: micro("system_usec"),
        cpu_per_cpu_ns: Vec::new(),
        cpu_throttling: (
            cpu.get("nr_periods").copied().unwrap_or(0),
            cpu.get("nr_throttled").copied().unwrap_or(0),
            micro("throttled_usec"),
        ),
        memory_usage_bytes: number(&dir.join("memory.current")).unwrap_or(0),
        memory_max_usage_bytes: number(&dir.join("memory.peak")).unwrap_or(0),
        memory_limit_bytes: number(&dir.join("memory.max")),
        memory_failcnt: keyed(&dir.join("memory.events"))
            .get("max")
            .copied()
            .unwrap_or(0),
        memory_stat: keyed(&dir.join("memory.stat")),
        pids_current: number(&dir.join("pids.current")).unwrap_or(0),
        pids_limit: number(&dir.join("pids.max")),
        blkio_bytes: bytes,
        blkio_operations: operations,
        is_v2: true,
    }
}

type BlockEntries = Vec<(u64, u64, String, u64)>;

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` lines.
fn io_stat(dir: &Path) -> (BlockEntries, BlockEntries) {
    let text = fs::read_to_string(dir.join("io.stat")).unwrap_or_default();
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut parts = line.split(' ');
        let Some((major, minor)) = parts.next().and_then(|d| d.split_once(':')) else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        for (key, value) in parts.filter_map(|p| p.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            match key {
                "rbytes" => bytes.push((major, minor, "read".into(), value)),
                "wbytes" => bytes.push((major, minor, "write".into(), value)),
                "rios" => operations.push((major, minor, "read".into(), value)),
                "wios" => operations.push((major, minor, "write".into(), value)),
                _ => {}
            }
        }
    }
    (bytes, operations)
}
