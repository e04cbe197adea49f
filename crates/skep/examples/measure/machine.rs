//! Memory and CPU time, as the kernel counts them.

use std::fs;

use skep_testkit::Host;

/// The parents of a host's containers, skep's or containerd's: each names the host's exec root.
pub fn shims(host: &Host) -> Vec<u32> {
    let root = host.exec_root().to_string_lossy().into_owned();
    processes(|line| line.contains("shim") && line.contains(&root))
}

/// The daemon and the daemons that it started.
pub fn daemons(host: &Host) -> Vec<u32> {
    let root = host.exec_root().to_string_lossy().into_owned();
    let mut found = processes(|line| {
        let program = line.split(' ').next().unwrap_or_default();
        program.ends_with("containerd") && line.contains(&root)
    });
    found.extend(host.pid());
    found
}

fn processes(wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            wanted(&String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

/// Proportional set size of processes.
pub fn pss_mb(pids: &[u32]) -> f64 {
    let kilobytes: f64 = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .sum();
    kilobytes / 1024.0
}

/// CPU time of the whole machine since its start, idle time apart.
pub fn cpu_ms() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy: f64 = fields.iter().take(3).sum::<f64>()
        + fields.get(5..8).unwrap_or_default().iter().sum::<f64>();
    busy * 10.0
}
