//! User, groups, capabilities and resource limits of a process.

use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxCapabilities, PosixRlimit, PosixRlimitType, Process};

use super::error::{Context, CreateError};
use crate::sys::privilege::{self, CapSets};

/// Capability sets as bits, cut down to what this process may give away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    bounding: u64,
    sets: CapSets,
    ambient: u64,
}

impl Capabilities {
    /// A privilege that the host withholds from us is withheld from the container, silently, as asking
    /// for it would fail the start.
    pub(crate) fn resolve(asked: Option<&LinuxCapabilities>) -> Self {
        let Some(asked) = asked else {
            return Self::default();
        };
        let own = (0..=privilege::last_capability())
            .filter(|cap| privilege::bounding_has(*cap) == Some(true))
            .fold(0, |bits, cap| bits | 1 << cap);
        let bits = |set: &Option<HashSet<Capability>>| {
            set.iter()
                .flatten()
                .fold(0, |bits: u64, cap| bits | 1 << number(*cap))
                & own
        };
        let permitted = bits(asked.permitted());
        let inheritable = bits(asked.inheritable());
        Self {
            bounding: bits(asked.bounding()),
            sets: CapSets {
                effective: bits(asked.effective()) & permitted,
                permitted,
                inheritable,
            },
            // The kernel lets a capability be ambient only when it is in both of these.
            ambient: bits(asked.ambient()) & permitted & inheritable,
        }
    }

    /// Drops from the bounding set, while the right to do so is still there.
    pub(crate) fn limit_bounding(&self) -> Result<(), CreateError> {
        for cap in 0..=privilege::last_capability() {
            if self.bounding & 1 << cap == 0 && privilege::bounding_has(cap) == Some(true) {
                privilege::bounding_drop(cap).context(|| format!("drop capability {cap}"))?;
            }
        }
        Ok(())
    }

    /// The final sets. Afterwards nothing privileged can be done.
    pub(crate) fn take_effect(&self) -> Result<(), CreateError> {
        privilege::set_capabilities(self.sets).context(|| "set capabilities".into())?;
        privilege::ambient_clear().context(|| "clear ambient capabilities".into())?;
        for cap in (0..64).filter(|cap| self.ambient & 1 << cap != 0) {
            privilege::ambient_raise(cap).context(|| format!("raise ambient capability {cap}"))?;
        }
        Ok(())
    }

    /// Everything, effective again after the change of user. Needed for what comes before
    /// [`Capabilities::take_effect`].
    pub(crate) fn raise_own() -> Result<(), CreateError> {
        let all = privilege::permitted().context(|| "read capabilities".into())?;
        privilege::set_capabilities(CapSets {
            effective: all,
            permitted: all,
            inheritable: 0,
        })
        .context(|| "raise capabilities".into())
    }
}

/// The kernel's numbers.
fn number(cap: Capability) -> u32 {
    use Capability as C;
    match cap {
        C::Chown => 0,
        C::DacOverride => 1,
        C::DacReadSearch => 2,
        C::Fowner => 3,
        C::Fsetid => 4,
        C::Kill => 5,
        C::Setgid => 6,
        C::Setuid => 7,
        C::Setpcap => 8,
        C::LinuxImmutable => 9,
        C::NetBindService => 10,
        C::NetBroadcast => 11,
        C::NetAdmin => 12,
        C::NetRaw => 13,
        C::IpcLock => 14,
        C::IpcOwner => 15,
        C::SysModule => 16,
        C::SysRawio => 17,
        C::SysChroot => 18,
        C::SysPtrace => 19,
        C::SysPacct => 20,
        C::SysAdmin => 21,
        C::SysBoot => 22,
        C::SysNice => 23,
        C::SysResource => 24,
        C::SysTime => 25,
        C::SysTtyConfig => 26,
        C::Mknod => 27,
        C::Lease => 28,
        C::AuditWrite => 29,
        C::AuditControl => 30,
        C::Setfcap => 31,
        C::MacOverride => 32,
        C::MacAdmin => 33,
        C::Syslog => 34,
        C::WakeAlarm => 35,
        C::BlockSuspend => 36,
        C::AuditRead => 37,
        C::Perfmon => 38,
        C::Bpf => 39,
        C::CheckpointRestore => 40,
    }
}

/// Capabilities that this process may hand out, by name: what the engine shows and intersects with.
pub fn available_capabilities() -> Vec<String> {
    ALL.iter()
        .filter(|cap| privilege::bounding_has(number(**cap)) == Some(true))
        .map(|cap| format!("CAP_{cap}"))
        .collect()
}

use Capability as Cap;
const ALL: [Cap; 41] = [
    Cap::Chown,
    Cap::DacOverride,
    Cap::DacReadSearch,
    Cap::Fowner,
    Cap::Fsetid,
    Cap::Kill,
    Cap::Setgid,
    Cap::Setuid,
    Cap::Setpcap,
    Cap::LinuxImmutable,
    Cap::NetBindService,
    Cap::NetBroadcast,
    Cap::NetAdmin,
    Cap::NetRaw,
    Cap::IpcLock,
    Cap::IpcOwner,
    Cap::SysModule,
    Cap::SysRawio,
    Cap::SysChroot,
    Cap::SysPtrace,
    Cap::SysPacct,
    Cap::SysAdmin,
    Cap::SysBoot,
    Cap::SysNice,
    Cap::SysResource,
    Cap::SysTime,
    Cap::SysTtyConfig,
    Cap::Mknod,
    Cap::Lease,
    Cap::AuditWrite,
    Cap::AuditControl,
    Cap::Setfcap,
    Cap::MacOverride,
    Cap::MacAdmin,
    Cap::Syslog,
    Cap::WakeAlarm,
    Cap::BlockSuspend,
    Cap::AuditRead,
    Cap::Perfmon,
    Cap::Bpf,
    Cap::CheckpointRestore,
];

/// Sets the limits, each as far as the right to raise it goes.
pub(crate) fn set_rlimits(limits: &[PosixRlimit]) -> Result<(), CreateError> {
    let mut seen = Vec::new();
    for limit in limits {
        if seen.contains(&limit.typ()) {
            return Err(CreateError::Config(format!(
                "rlimit {} is given twice",
                limit.typ()
            )));
        }
        seen.push(limit.typ());
        if limit.soft() > limit.hard() {
            return Err(CreateError::Config(format!(
                "rlimit {}: soft exceeds hard",
                limit.typ()
            )));
        }
        set_rlimit(*limit).context(|| format!("set rlimit {}", limit.typ()))?;
    }
    Ok(())
}

fn set_rlimit(limit: PosixRlimit) -> std::io::Result<()> {
    let resource = resource(limit.typ());
    let set = |soft: u64, hard: u64| {
        let value = libc::rlimit {
            rlim_cur: soft,
            rlim_max: hard,
        };
        // SAFETY: a valid resource number and a valid struct.
        match unsafe { libc::setrlimit(resource, &raw const value) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    match set(limit.soft(), limit.hard()) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            let mut own = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: a valid place for the answer.
            if unsafe { libc::getrlimit(resource, &raw mut own) } != 0 {
                return Err(e);
            }
            let hard = limit.hard().min(own.rlim_max);
            set(limit.soft().min(hard), hard)
        }
        other => other,
    }
}

fn resource(kind: PosixRlimitType) -> libc::__rlimit_resource_t {
    use PosixRlimitType as R;
    match kind {
        R::RlimitCpu => libc::RLIMIT_CPU,
        R::RlimitFsize => libc::RLIMIT_FSIZE,
        R::RlimitData => libc::RLIMIT_DATA,
        R::RlimitStack => libc::RLIMIT_STACK,
        R::RlimitCore => libc::RLIMIT_CORE,
        R::RlimitRss => libc::RLIMIT_RSS,
        R::RlimitNproc => libc::RLIMIT_NPROC,
        R::RlimitNofile => libc::RLIMIT_NOFILE,
        R::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        R::RlimitAs => libc::RLIMIT_AS,
        R::RlimitLocks => libc::RLIMIT_LOCKS,
        R::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        R::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        R::RlimitNice => libc::RLIMIT_NICE,
        R::RlimitRtprio => libc::RLIMIT_RTPRIO,
        R::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

/// How eager the out-of-memory killer is to take this process. Below what we have ourselves needs a
/// right that we may lack; then it stays.
pub(crate) fn set_oom_score(score: i32) -> Result<(), CreateError> {
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => Ok(()),
        other => other.context(|| "write /proc/self/oom_score_adj".into()),
    }
}

/// Becomes the process's user, keeping capabilities for what remains to be done.
pub(crate) fn become_user(process: &Process, may_set_groups: bool) -> Result<(), CreateError> {
    let user = process.user();
    privilege::prctl(libc::PR_SET_KEEPCAPS, 1).context(|| "keep capabilities".into())?;
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    privilege::set_ids(user.uid(), user.gid(), may_set_groups.then_some(groups))
        .context(|| format!("become user {}:{}", user.uid(), user.gid()))?;
    privilege::prctl(libc::PR_SET_KEEPCAPS, 0).context(|| "keep capabilities".into())
}
