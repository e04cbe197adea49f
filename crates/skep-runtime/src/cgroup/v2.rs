//! Limits on version 2: one directory for all.

use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{CgroupError, device_rules, fail, read, write};

/// Hands every controller down from `root` to `dir`.
pub(super) fn enable_controllers(dir: &Path, root: &Path) -> Result<(), CgroupError> {
    let Some(parent) = dir.parent().filter(|_| dir != root) else {
        return Ok(());
    };
    enable_controllers(parent, root)?;
    let has = read(&parent.join("cgroup.subtree_control")).unwrap_or_default();
    for controller in read(&parent.join("cgroup.controllers"))?
        .split(' ')
        .filter(|c| !c.is_empty())
    {
        if !has.split(' ').any(|c| c == controller) {
            // Some cannot be handed down (cpu beside realtime threads); a limit will then say so.
            let _ = write(
                &parent.join("cgroup.subtree_control"),
                &format!("+{controller}"),
            );
        }
    }
    Ok(())
}

pub(super) fn apply(dir: &Path, resources: &LinuxResources) -> Result<(), CgroupError> {
    if let Some(memory) = resources.memory() {
        apply_memory(dir, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        apply_cpu(dir, cpu)?;
    }
    if let Some(pids) = resources.pids() {
        let limit = if pids.limit() > 0 {
            pids.limit().to_string()
        } else {
            "max".into()
        };
        let file = dir.join("pids.max");
        if pids.limit() > 0 || file.exists() {
            write(&file, &limit)?;
        }
    }
    if let Some(io) = resources.block_io() {
        apply_io(dir, io)?;
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        write(
            &dir.join(format!("hugetlb.{}.max", limit.page_size())),
            &limit.limit().to_string(),
        )?;
    }
    if let Some(rules) = resources
        .devices()
        .as_ref()
        .filter(|rules| !rules.is_empty())
    {
        device_rules::attach_v2(dir, rules)?;
    }
    for (file, value) in resources.unified().iter().flatten() {
        if file.contains('/') {
            return Err(CgroupError::Invalid(format!(
                "unified resource {file:?} is not a file name"
            )));
        }
        write(&dir.join(file), value)?;
    }
    Ok(())
}

fn set(dir: &Path, file: &str, value: Option<String>) -> Result<(), CgroupError> {
    value.map_or(Ok(()), |value| write(&dir.join(file), &value))
}

fn bytes(value: i64) -> String {
    if value < 0 {
        "max".into()
    } else {
        value.to_string()
    }
}

fn apply_memory(dir: &Path, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = memory.limit().filter(|v| *v != 0);
    set(
        dir,
        "memory.swap.max",
        swap_max(limit, memory.swap().filter(|v| *v != 0))?,
    )?;
    set(dir, "memory.max", limit.map(bytes))?;
    set(
        dir,
        "memory.low",
        memory.reservation().filter(|v| *v != 0).map(bytes),
    )
}

/// OCI counts memory and swap together, the kernel swap alone.
fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>, CgroupError> {
    match (limit, swap) {
        (_, Some(-1)) => Ok(Some("max".into())),
        (Some(-1), None) => Ok(Some("max".into())),
        (_, None) => Ok(None),
        (Some(limit), Some(swap)) if limit >= 0 && swap >= limit => {
            Ok(Some((swap - limit).to_string()))
        }
        (Some(_), Some(_)) => Err(CgroupError::Invalid(
            "memory+swap limit should be >= memory limit".into(),
        )),
        (None, Some(_)) => Err(CgroupError::Invalid(
            "unable to set swap limit without memory limit".into(),
        )),
    }
}

fn apply_cpu(dir: &Path, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    set(
        dir,
        "cpu.weight",
        cpu.shares()
            .filter(|v| *v != 0)
            .map(|v| weight_of(v).to_string()),
    )?;
    let quota = cpu.quota().filter(|v| *v != 0);
    let period = cpu.period().filter(|v| *v != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or("max".into(), bytes);
        set(
            dir,
            "cpu.max",
            Some(format!("{quota} {}", period.unwrap_or(100_000))),
        )?;
    }
    set(dir, "cpu.max.burst", cpu.burst().map(|v| v.to_string()))?;
    set(dir, "cpu.idle", cpu.idle().map(|v| v.to_string()))?;
    set(
        dir,
        "cpuset.cpus",
        cpu.cpus().clone().filter(|t| !t.is_empty()),
    )?;
    set(
        dir,
        "cpuset.mems",
        cpu.mems().clone().filter(|t| !t.is_empty()),
    )
}

/// Shares 2 to 262144 onto weights 1 to 10000, as every runtime maps them.
fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn apply_io(dir: &Path, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    if let Some(weight) = io.weight().filter(|v| *v != 0) {
        let bfq = dir.join("io.bfq.weight");
        if bfq.exists() {
            write(&bfq, &weight.to_string())?;
        } else {
            let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990;
            write(&dir.join("io.weight"), &weight.to_string())?;
        }
    }
    let throttle = |key: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        devices.iter().flatten().try_for_each(|d| {
            let rate = if d.rate() == 0 {
                "max".into()
            } else {
                d.rate().to_string()
            };
            write(
                &dir.join("io.max"),
                &format!("{}:{} {key}={rate}", d.major(), d.minor()),
            )
        })
    };
    throttle("rbps", io.throttle_read_bps_device())?;
    throttle("wbps", io.throttle_write_bps_device())?;
    throttle("riops", io.throttle_read_iops_device())?;
    throttle("wiops", io.throttle_write_iops_device())
}

/// Waits until the kernel reports the wanted state in `cgroup.events`.
pub(super) fn is_frozen(dir: &Path) -> Result<bool, CgroupError> {
    let path = dir.join("cgroup.events");
    let text = std::fs::read_to_string(&path).map_err(fail("read", &path))?;
    Ok(text.lines().any(|line| line == "frozen 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_onto_weights() {
        assert_eq!(weight_of(0), 1);
        assert_eq!(weight_of(2), 1);
        assert_eq!(weight_of(1024), 39);
        assert_eq!(weight_of(262_144), 10_000);
    }

    #[test]
    fn swap_is_told_apart_from_memory() {
        assert_eq!(swap_max(Some(100), Some(150)).unwrap(), Some("50".into()));
        assert_eq!(swap_max(Some(100), Some(-1)).unwrap(), Some("max".into()));
        assert_eq!(swap_max(Some(100), None).unwrap(), None);
        assert!(swap_max(Some(100), Some(50)).is_err());
        assert!(swap_max(None, Some(50)).is_err());
    }
}
