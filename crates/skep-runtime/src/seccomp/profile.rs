//! What a profile says: Docker's JSON form, the OCI form, and Docker's default.

use serde::Deserialize;

use super::SeccompError;

/// A profile with everything decided: nothing depends on capabilities or the machine any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub default: Action,
    pub rules: Vec<Rule>,
    /// 32-bit programs may run too.
    pub allows_compat: bool,
}

/// Some system calls, under conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub conditions: Vec<Condition>,
}

/// What the kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Errno(u16),
    KillThread,
    KillProcess,
    Trap,
    Trace(u16),
    Log,
    /// Somebody outside is asked.
    Notify,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub argument: u32,
    pub compare: Compare,
    pub value: u64,
    /// For `MaskedEqual`: `value` is the mask, this the rest.
    pub value_two: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Compare {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// The JSON of Docker's `--security-opt seccomp=` and of `linux.seccomp`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    default_action: String,
    default_errno_ret: Option<u16>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Option<Vec<JsonRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRule {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<JsonArg>>,
    includes: Option<JsonScope>,
    excludes: Option<JsonScope>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonArg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: Option<u64>,
    op: Compare,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScope {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    /// Kernels old enough to matter cannot run this program.
    #[serde(rename = "minKernel")]
    _min_kernel: Option<String>,
}

#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: (&str, &str, &str) = ("amd64", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86");
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: (&str, &str, &str) = ("arm64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");

impl Profile {
    pub(super) fn parse(bytes: &[u8], capabilities: &[&str]) -> Result<Self, SeccompError> {
        let json: Json =
            serde_json::from_slice(bytes).map_err(|e| SeccompError::Profile(e.to_string()))?;
        let default = action(&json.default_action, json.default_errno_ret)?;
        if default == Action::Notify {
            return Err(SeccompError::Profile(
                "SCMP_ACT_NOTIFY cannot be used as default action".into(),
            ));
        }
        let mut arches = json.architectures.unwrap_or_default();
        for map in json
            .arch_map
            .into_iter()
            .flatten()
            .filter(|m| m.architecture == NATIVE.1)
        {
            arches.extend(map.sub_architectures.unwrap_or_default());
        }
        let mut rules = Vec::new();
        for rule in json
            .syscalls
            .into_iter()
            .flatten()
            .filter(|r| r.applies(capabilities))
        {
            let rule = rule.decide()?;
            // The listener is handed over by it.
            if rule.action == Action::Notify && rule.names.iter().any(|name| name == "write") {
                return Err(SeccompError::Profile(
                    "SCMP_ACT_NOTIFY cannot be used for the write syscall".into(),
                ));
            }
            rules.push(rule);
        }
        Ok(Self {
            default,
            rules,
            allows_compat: arches.iter().any(|a| a == NATIVE.2),
        })
    }

    /// Docker's default: everything that ordinary programs need, nothing that reaches the host.
    pub(super) fn docker_default(capabilities: &[&str]) -> Self {
        let allow = |names: &str| Rule {
            names: names.split_whitespace().map(str::to_owned).collect(),
            action: Action::Allow,
            conditions: Vec::new(),
        };
        let when = |names: &str, compare, value| Rule {
            conditions: vec![Condition {
                argument: 0,
                compare,
                value,
                value_two: 0,
            }],
            ..allow(names)
        };
        let mut rules = vec![allow(include_str!("default_allow.txt"))];
        // Sockets of the hypervisor (AF_VSOCK) bypass network namespaces.
        rules.push(when("socket", Compare::NotEqual, 40));
        for persona in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
            rules.push(when("personality", Compare::Equal, persona));
        }
        let has = |cap: &str| capabilities.contains(&cap);
        for (cap, names) in BY_CAPABILITY {
            if has(cap) {
                rules.push(allow(names));
            }
        }
        if !has("CAP_SYS_ADMIN") {
            // No new namespaces.
            rules.push(when("clone", Compare::MaskedEqual, 0x7e02_0000));
            // Its flags are behind a pointer, out of a filter's sight; programs then fall back to clone.
            rules.push(Rule {
                action: Action::Errno(ENOSYS),
                ..allow("clone3")
            });
        }
        Self {
            default: Action::Errno(EPERM),
            rules,
            allows_compat: true,
        }
    }
}

impl Profile {
    /// As `linux.seccomp` of a `config.json`.
    pub(super) fn to_oci(&self) -> serde_json::Value {
        let rule = |rule: &Rule| {
            let (action, errno) = words(rule.action);
            let mut json = serde_json::json!({ "names": rule.names, "action": action });
            if let Some(errno) = errno {
                json["errnoRet"] = errno.into();
            }
            if !rule.conditions.is_empty() {
                json["args"] = rule
                    .conditions
                    .iter()
                    .copied()
                    .map(Condition::to_oci)
                    .collect();
            }
            json
        };
        let (action, errno) = words(self.default);
        serde_json::json!({
            "defaultAction": action,
            "defaultErrnoRet": errno,
            "architectures": if self.allows_compat { vec![NATIVE.1, NATIVE.2] } else { vec![NATIVE.1] },
            "syscalls": self.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    }
}

impl Condition {
    fn to_oci(self) -> serde_json::Value {
        let op = match self.compare {
            Compare::NotEqual => "SCMP_CMP_NE",
            Compare::Less => "SCMP_CMP_LT",
            Compare::LessOrEqual => "SCMP_CMP_LE",
            Compare::Equal => "SCMP_CMP_EQ",
            Compare::GreaterOrEqual => "SCMP_CMP_GE",
            Compare::Greater => "SCMP_CMP_GT",
            Compare::MaskedEqual => "SCMP_CMP_MASKED_EQ",
        };
        serde_json::json!({ "index": self.argument, "value": self.value, "valueTwo": self.value_two, "op": op })
    }
}

fn words(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Errno(n) => ("SCMP_ACT_ERRNO", Some(n)),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::Trace(n) => ("SCMP_ACT_TRACE", Some(n)),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Notify => ("SCMP_ACT_NOTIFY", None),
    }
}

pub(super) const EPERM: u16 = 1;
pub(super) const ENOSYS: u16 = 38;

/// What comes with a capability.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_set_self_attr lsm_list_modules mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    (
        "CAP_SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    (
        "CAP_SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

impl JsonRule {
    fn applies(&self, capabilities: &[&str]) -> bool {
        let has_cap = |cap: &String| capabilities.contains(&cap.as_str());
        let is_native = |arch: &String| arch == NATIVE.0;
        let none = JsonScope::default();
        let (includes, excludes) = (
            self.includes.as_ref().unwrap_or(&none),
            self.excludes.as_ref().unwrap_or(&none),
        );
        let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
        let wanted_arches = list(&includes.arches);
        (wanted_arches.is_empty() || wanted_arches.iter().any(is_native))
            && list(&includes.caps).iter().all(has_cap)
            && !list(&excludes.arches).iter().any(is_native)
            && !list(&excludes.caps).iter().any(has_cap)
    }

    fn decide(self) -> Result<Rule, SeccompError> {
        let action = action(&self.action, self.errno_ret)?;
        let mut names = self.names;
        names.extend(self.name);
        let mut conditions = Vec::new();
        for arg in self.args.into_iter().flatten() {
            if arg.index > 5 {
                return Err(SeccompError::Profile(format!(
                    "argument index {} is out of range",
                    arg.index
                )));
            }
            conditions.push(Condition {
                argument: arg.index,
                compare: arg.op,
                value: arg.value,
                value_two: arg.value_two.unwrap_or(0),
            });
        }
        Ok(Rule {
            names,
            action,
            conditions,
        })
    }
}

fn action(name: &str, value: Option<u16>) -> Result<Action, SeccompError> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(value.unwrap_or(EPERM)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(value.unwrap_or(EPERM)),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        other => {
            return Err(SeccompError::Profile(format!(
                "invalid seccomp action {other}"
            )));
        }
    })
}
