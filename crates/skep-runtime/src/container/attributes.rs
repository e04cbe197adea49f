//! The rarer properties of a process, and the refusal of what this runtime cannot give.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    Process,
};

use super::error::{Context, CreateError, on};

/// Asked for and silently not given would be a lie.
pub(super) fn refuse_unsupported(process: &Process, linux: &Linux) -> Result<(), CreateError> {
    let refuse = |what: &str| Err(CreateError::Config(format!("{what} is not supported")));
    if linux.intel_rdt().is_some() {
        return refuse("linux.intelRdt");
    }
    if linux.memory_policy().is_some() {
        return refuse("linux.memoryPolicy");
    }
    if linux.net_devices().as_ref().is_some_and(|d| !d.is_empty()) {
        return refuse("linux.netDevices");
    }
    let labelled = linux.mount_label().as_ref().is_some_and(|l| !l.is_empty());
    if labelled && !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return refuse("linux.mountLabel on a kernel without SELinux");
    }
    // Of no concern to a container's init, but not to be kept for later when it makes no sense.
    let affinity = process.exec_cpu_affinity().as_ref();
    for cpus in affinity
        .iter()
        .flat_map(|affinity| [affinity.initial(), affinity.cpu_affinity_final()])
        .flatten()
    {
        cpu_set(cpus)?;
    }
    Ok(())
}

/// Which processors a process may run on; `None` is this one.
pub(super) fn set_affinity(pid: Option<i32>, cpus: &str) -> Result<(), CreateError> {
    let set = cpu_set(cpus)?;
    let pid = pid.and_then(rustix::process::Pid::from_raw);
    rustix::thread::sched_setaffinity(pid, &set).context(|| format!("set execCPUAffinity {cpus:?}"))
}

/// `0-3,7`.
fn cpu_set(text: &str) -> Result<rustix::thread::CpuSet, CreateError> {
    let bad = || CreateError::Config(format!("process.execCPUAffinity: bad CPU list {text:?}"));
    let mut set = rustix::thread::CpuSet::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| bad());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= rustix::thread::CpuSet::MAX_CPU {
            return Err(bad());
        }
        (first..=last).for_each(|cpu| set.set(cpu));
    }
    Ok(set)
}

/// Labels take effect as the program is executed. `/proc` must be the container's or the host's.
pub(super) fn set_labels(process: &Process) -> Result<(), CreateError> {
    let write = |path: &str, text: &str| {
        let path = std::path::Path::new(path);
        std::fs::write(path, text).context(on("write", path))
    };
    if let Some(profile) = process
        .apparmor_profile()
        .as_ref()
        .filter(|p| !p.is_empty() && *p != "unconfined")
    {
        let path = "/proc/self/attr/apparmor/exec";
        // Before Linux 5.8 there was one place for all security modules.
        let path = if std::path::Path::new(path).exists() {
            path
        } else {
            "/proc/self/attr/exec"
        };
        write(path, &format!("exec {profile}"))?;
    }
    if let Some(label) = process.selinux_label().as_ref().filter(|l| !l.is_empty()) {
        write("/proc/self/attr/exec", label)?;
    }
    Ok(())
}

/// The class and priority for the disk.
pub(super) fn set_io_priority(process: &Process) -> Result<(), CreateError> {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_SHIFT: u32 = 13;
    let Some(asked) = process.io_priority() else {
        return Ok(());
    };
    let class: i64 = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let value = class << CLASS_SHIFT | (asked.priority() & 7);
    // SAFETY: plain numbers.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context(|| "set the I/O priority".into()),
    }
}

/// How the kernel gives the process its turns: `sched_setattr(2)`.
pub(super) fn set_scheduler(process: &Process) -> Result<(), CreateError> {
    /// The kernel's `struct sched_attr`.
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let Some(asked) = process.scheduler() else {
        return Ok(());
    };
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = asked.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 1,
        LinuxSchedulerFlag::SchedFlagReclaim => 2,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 4,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 8,
        LinuxSchedulerFlag::SchedFlagKeepParams => 16,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 32,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 64,
    });
    let attr = Attr {
        size: u32::try_from(size_of::<Attr>()).unwrap_or(0),
        policy,
        flags: flags.fold(0, |all, flag: u64| all | flag),
        nice: asked.nice().unwrap_or(0),
        priority: u32::try_from(asked.priority().unwrap_or(0)).unwrap_or(0),
        runtime: asked.runtime().unwrap_or(0),
        deadline: asked.deadline().unwrap_or(0),
        period: asked.period().unwrap_or(0),
    };
    // SAFETY: attr is as long as it says, and of this process (0).
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context(|| "set the scheduler".into()),
    }
}

/// Linux or its 32-bit face.
pub(super) fn set_personality(linux: &Linux) -> Result<(), CreateError> {
    const PER_LINUX: libc::c_ulong = 0;
    const PER_LINUX32: libc::c_ulong = 8;
    let Some(asked) = linux.personality() else {
        return Ok(());
    };
    let persona = match asked.domain() {
        LinuxPersonalityDomain::PerLinux => PER_LINUX,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    };
    // SAFETY: a plain number.
    match unsafe { libc::personality(persona) } {
        -1 => Err(std::io::Error::last_os_error()).context(|| "set the personality".into()),
        _ => Ok(()),
    }
}
