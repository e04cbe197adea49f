//! `features`: what this runtime can do, in the form that the specification gives it.

use std::process::ExitCode;

use serde_json::json;

use super::args::Args;
use super::{OciError, SPEC_VERSION};
use crate::container::{FLAG_WORDS, PROPAGATION_WORDS, available_capabilities};

const FILTER_FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// Mount options beyond flags and propagation.
const OTHER_WORDS: [&str; 7] = [
    "bind",
    "rbind",
    "defaults",
    "idmap",
    "remount",
    "ridmap",
    "tmpcopyup",
];

pub(super) fn features(args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &[], false)?;
    if let Some(word) = args.rest.first() {
        return Err(OciError::Usage(format!(
            "\"features\" takes no arguments, not {word:?}"
        )));
    }
    println!("{:#}", document());
    Ok(ExitCode::SUCCESS)
}

fn document() -> serde_json::Value {
    let mut mount_options: Vec<String> = OTHER_WORDS.map(str::to_owned).to_vec();
    for word in PROPAGATION_WORDS {
        mount_options.extend([word.to_owned(), format!("r{word}")]);
    }
    for word in FLAG_WORDS {
        mount_options.push((*word).to_owned());
    }
    mount_options.sort_unstable();
    let capabilities: Vec<String> = available_capabilities()
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": mount_options,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
                "archs": crate::seccomp::ARCHITECTURES,
                "knownFlags": FILTER_FLAGS,
                "supportedFlags": FILTER_FLAGS,
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": false},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    })
}
