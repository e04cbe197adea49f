//! Limits on version 1: one directory a controller.

use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{CgroupError, CgroupPaths, device_rules, read, write};

pub(super) fn apply(paths: &CgroupPaths, resources: &LinuxResources) -> Result<(), CgroupError> {
    let dir = |name: &'static str| {
        paths
            .controller(name)
            .ok_or(CgroupError::NoController(name))
    };
    if let Some(memory) = resources.memory()
        && let Some(dir) = wanted(dir("memory"), *memory != LinuxMemory::default())?
    {
        apply_memory(dir, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        apply_cpu(paths, cpu)?;
    }
    if let Some(pids) = resources.pids()
        && let Some(dir) = wanted(dir("pids"), pids.limit() > 0)?
    {
        let limit = if pids.limit() > 0 {
            pids.limit().to_string()
        } else {
            "max".into()
        };
        write(&dir.join("pids.max"), &limit)?;
    }
    if let Some(block_io) = resources.block_io()
        && let Some(dir) = wanted(dir("blkio"), *block_io != LinuxBlockIo::default())?
    {
        apply_block_io(dir, block_io)?;
    }
    if let Some(rules) = resources.devices()
        && let Some(dir) = wanted(dir("devices"), !rules.is_empty())?
    {
        for (file, line) in device_rules::v1_lines(rules)? {
            write(&dir.join(file), &line)?;
        }
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", limit.page_size());
        write(&dir("hugetlb")?.join(file), &limit.limit().to_string())?;
    }
    if let Some(network) = resources.network() {
        if let Some(class) = network.class_id() {
            write(&dir("net_cls")?.join("net_cls.classid"), &class.to_string())?;
        }
        for p in network.priorities().iter().flatten() {
            write(
                &dir("net_prio")?.join("net_prio.ifpriomap"),
                &format!("{} {}", p.name(), p.priority()),
            )?;
        }
    }
    Ok(())
}

/// A missing controller is an error only when something is wanted of it.
fn wanted<T>(dir: Result<T, CgroupError>, is_wanted: bool) -> Result<Option<T>, CgroupError> {
    match dir {
        Ok(dir) => Ok(Some(dir)),
        Err(e) if is_wanted => Err(e),
        Err(_) => Ok(None),
    }
}

fn set(dir: &Path, file: &str, value: Option<impl ToString>) -> Result<(), CgroupError> {
    match value {
        Some(value) => write(&dir.join(file), &value.to_string()),
        None => Ok(()),
    }
}

fn apply_memory(dir: &Path, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = memory.limit().filter(|v| *v != 0);
    let swap = memory.swap().filter(|v| *v != 0);
    // The kernel keeps memory <= memory+swap at every moment, so the order depends on the direction.
    let current = read(&dir.join("memory.memsw.limit_in_bytes"))
        .ok()
        .and_then(|t| t.parse::<i64>().ok());
    let has_swap_file = current.is_some();
    let grows = match (swap, current) {
        (Some(new), Some(current)) => new == -1 || new > current,
        // Lifting the memory limit needs the other out of the way.
        (None, Some(_)) => limit == Some(-1),
        _ => false,
    };
    let swap = if swap.is_none() && limit == Some(-1) && has_swap_file {
        Some(-1)
    } else {
        swap
    };
    let set_swap = || match (swap, has_swap_file) {
        (Some(value), true) => set(dir, "memory.memsw.limit_in_bytes", Some(value)),
        // Without swap accounting the kernel has nothing to limit, as Docker warns.
        _ => Ok(()),
    };
    if grows {
        set_swap()?;
        set(dir, "memory.limit_in_bytes", limit)?;
    } else {
        set(dir, "memory.limit_in_bytes", limit)?;
        set_swap()?;
    }
    set(
        dir,
        "memory.soft_limit_in_bytes",
        memory.reservation().filter(|v| *v != 0),
    )?;
    set(dir, "memory.swappiness", memory.swappiness())?;
    if let Some(disable) = memory.disable_oom_killer() {
        // 0 is the default, and a kernel without the file has it too.
        if disable {
            set(dir, "memory.oom_control", Some(1))?;
        }
    }
    Ok(())
}

fn apply_cpu(paths: &CgroupPaths, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    if let Some(dir) = paths.controller("cpu") {
        set(dir, "cpu.shares", cpu.shares().filter(|v| *v != 0))?;
        apply_bandwidth(dir, cpu)?;
        set(dir, "cpu.cfs_burst_us", cpu.burst())?;
        set(
            dir,
            "cpu.rt_period_us",
            cpu.realtime_period().filter(|v| *v != 0),
        )?;
        set(
            dir,
            "cpu.rt_runtime_us",
            cpu.realtime_runtime().filter(|v| *v != 0),
        )?;
        set(dir, "cpu.idle", cpu.idle())?;
    } else if cpu.shares().is_some_and(|v| v != 0) || cpu.quota().is_some_and(|v| v > 0) {
        return Err(CgroupError::NoController("cpu"));
    }
    let text = |t: &Option<String>| t.clone().filter(|t| !t.is_empty());
    let (cpus, mems) = (text(cpu.cpus()), text(cpu.mems()));
    if cpus.is_some() || mems.is_some() {
        let dir = paths
            .controller("cpuset")
            .ok_or(CgroupError::NoController("cpuset"))?;
        set(dir, "cpuset.cpus", cpus)?;
        set(dir, "cpuset.mems", mems)?;
    }
    Ok(())
}

/// Quota and period bound each other: when the new period is refused beside the old quota, the quota
/// goes first.
fn apply_bandwidth(dir: &Path, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    let quota = cpu.quota().filter(|v| *v != 0);
    let period = cpu.period().filter(|v| *v != 0);
    if set(dir, "cpu.cfs_period_us", period).is_ok() {
        return set(dir, "cpu.cfs_quota_us", quota);
    }
    set(dir, "cpu.cfs_quota_us", quota)?;
    set(dir, "cpu.cfs_period_us", period)
}

fn apply_block_io(dir: &Path, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    let weight = io.weight().filter(|v| *v != 0);
    if weight.is_some() && set(dir, "blkio.weight", weight).is_err() {
        set(dir, "blkio.bfq.weight", weight)?;
    }
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let line = format!("{}:{} {weight}", device.major(), device.minor());
            write(&dir.join("blkio.weight_device"), &line)
                .or_else(|_| write(&dir.join("blkio.bfq.weight_device"), &line))?;
        }
    }
    let throttle = |file: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        devices.iter().flatten().try_for_each(|d| {
            write(
                &dir.join(file),
                &format!("{}:{} {}", d.major(), d.minor(), d.rate()),
            )
        })
    };
    throttle(
        "blkio.throttle.read_bps_device",
        io.throttle_read_bps_device(),
    )?;
    throttle(
        "blkio.throttle.write_bps_device",
        io.throttle_write_bps_device(),
    )?;
    throttle(
        "blkio.throttle.read_iops_device",
        io.throttle_read_iops_device(),
    )?;
    throttle(
        "blkio.throttle.write_iops_device",
        io.throttle_write_iops_device(),
    )
}

/// A new cpuset is empty and takes no process: copy what the parent has, from the root down.
pub(super) fn fill_cpuset(dir: &Path, root: &Path) -> Result<(), CgroupError> {
    let missing = |file: &str| read(&dir.join(file)).map(|text| text.is_empty());
    if dir == root || !(missing("cpuset.cpus")? || missing("cpuset.mems")?) {
        return Ok(());
    }
    let Some(parent) = dir.parent() else {
        return Ok(());
    };
    fill_cpuset(parent, root)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if missing(file)? {
            write(&dir.join(file), &read(&parent.join(file))?)?;
        }
    }
    Ok(())
}
