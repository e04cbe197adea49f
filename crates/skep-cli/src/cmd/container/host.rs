//! `HostConfig`: limits, devices, namespaces, security.

use serde_json::{Map, Value, json};

use super::body::or_null;
use crate::error::CliError;
use crate::grammar::{Matches, parse_bytes};
use crate::opts::{map_from, mount, ulimit};

const TEXTS: [(&str, &str); 12] = [
    ("cgroup-parent", "CgroupParent"),
    ("cgroupns", "CgroupnsMode"),
    ("cidfile", "ContainerIDFile"),
    ("cpuset-cpus", "CpusetCpus"),
    ("cpuset-mems", "CpusetMems"),
    ("ipc", "IpcMode"),
    ("pid", "PidMode"),
    ("runtime", "Runtime"),
    ("userns", "UsernsMode"),
    ("uts", "UTSMode"),
    ("volume-driver", "VolumeDriver"),
    ("isolation", "Isolation"),
];

const NUMBERS: [(&str, &str); 8] = [
    ("blkio-weight", "BlkioWeight"),
    ("cpu-period", "CpuPeriod"),
    ("cpu-quota", "CpuQuota"),
    ("cpu-rt-period", "CpuRealtimePeriod"),
    ("cpu-rt-runtime", "CpuRealtimeRuntime"),
    ("cpu-shares", "CpuShares"),
    ("oom-score-adj", "OomScoreAdj"),
    ("pids-limit", "PidsLimit"),
];

const SIZES: [(&str, &str); 4] = [
    ("memory", "Memory"),
    ("memory-reservation", "MemoryReservation"),
    ("memory-swap", "MemorySwap"),
    ("shm-size", "ShmSize"),
];

const SWITCHES: [(&str, &str); 5] = [
    ("oom-kill-disable", "OomKillDisable"),
    ("privileged", "Privileged"),
    ("publish-all", "PublishAllPorts"),
    ("read-only", "ReadonlyRootfs"),
    ("rm", "AutoRemove"),
];

/// Lists that go as they are; empty ones are null.
const LISTS: [(&str, &str); 7] = [
    ("add-host", "ExtraHosts"),
    ("cap-add", "CapAdd"),
    ("cap-drop", "CapDrop"),
    ("device-cgroup-rule", "DeviceCgroupRules"),
    ("group-add", "GroupAdd"),
    ("link", "Links"),
    ("volumes-from", "VolumesFrom"),
];

const DNS: [(&str, &str); 3] = [
    ("dns", "Dns"),
    ("dns-option", "DnsOptions"),
    ("dns-search", "DnsSearch"),
];

const RATES: [(&str, &str); 4] = [
    ("device-read-bps", "BlkioDeviceReadBps"),
    ("device-write-bps", "BlkioDeviceWriteBps"),
    ("device-read-iops", "BlkioDeviceReadIOps"),
    ("device-write-iops", "BlkioDeviceWriteIOps"),
];

/// Everything but network mode, port bindings and binds.
pub(super) fn host_config(matches: &Matches) -> Result<Value, CliError> {
    let mut host = resources(matches)?;
    for (flag, field) in TEXTS {
        if !matches.text(flag).is_empty() || !matches!(flag, "runtime") {
            host[field] = matches.text(flag).into();
        }
    }
    for (flag, field) in SWITCHES {
        host[field] = matches.flag(flag).into();
    }
    for (flag, field) in LISTS {
        host[field] = or_null(matches.list(flag).to_vec());
    }
    for (flag, field) in DNS {
        host[field] = matches.list(flag).into();
    }
    let maps = [
        ("annotation", "Annotations"),
        ("storage-opt", "StorageOpt"),
        ("sysctl", "Sysctls"),
    ];
    for (flag, field) in maps {
        if matches.given(flag) {
            host[field] = Value::Object(map_from(matches.list(flag)));
        }
    }
    if matches.given("init") {
        host["Init"] = matches.flag("init").into();
    }
    if matches.given("tmpfs") {
        let pairs = matches.list("tmpfs").iter().map(|text| {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            (path.to_owned(), Value::from(options))
        });
        host["Tmpfs"] = Value::Object(pairs.collect());
    }
    if matches.given("mount") {
        let mounts: Result<Vec<_>, _> = matches
            .list("mount")
            .iter()
            .map(|text| mount(text))
            .collect();
        host["Mounts"] = mounts?.into();
    }
    host["LogConfig"] = json!({
        "Type": matches.text("log-driver"), "Config": map_from(matches.list("log-opt")),
    });
    host["RestartPolicy"] = restart_policy(matches.text("restart"))?;
    if matches.flag("rm") && !matches!(matches.text("restart"), "" | "no") {
        return Err(refused(
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    host["ConsoleSize"] = json!([0, 0]);
    security(matches, &mut host)?;
    Ok(host)
}

fn resources(matches: &Matches) -> Result<Value, CliError> {
    let mut host = json!({"MemorySwappiness": matches.number("memory-swappiness").unwrap_or(-1)});
    for (flag, field) in NUMBERS {
        host[field] = matches.number(flag).unwrap_or(0).into();
    }
    for (flag, field) in SIZES {
        let unlimited = matches.given_text(flag) == Some("-1");
        let bytes = if unlimited {
            Some(-1)
        } else {
            matches.bytes(flag)
        };
        host[field] = bytes.unwrap_or(0).into();
    }
    host["NanoCpus"] = matches.cpus("cpus").unwrap_or(0).into();
    let ulimits: Result<Vec<_>, _> = matches
        .list("ulimit")
        .iter()
        .map(|text| ulimit(text))
        .collect();
    host["Ulimits"] = ulimits?.into();
    let devices: Result<Vec<_>, _> = matches
        .list("device")
        .iter()
        .map(|text| device(text))
        .collect();
    host["Devices"] = devices?.into();
    for (flag, field) in RATES {
        let rates: Result<Vec<_>, _> = matches
            .list(flag)
            .iter()
            .map(|text| rate(flag, text))
            .collect();
        host[field] = rates?.into();
    }
    let weights: Result<Vec<Value>, CliError> = matches
        .list("blkio-weight-device")
        .iter()
        .map(|text| {
            let (path, weight) =
                path_and(text).ok_or_else(|| refused(&format!("bad format: {text}")))?;
            let weight: u16 = weight
                .parse()
                .map_err(|_| refused(&format!("invalid weight for device: {text}")))?;
            Ok(json!({"Path": path, "Weight": weight}))
        })
        .collect();
    host["BlkioWeightDevice"] = weights?.into();
    Ok(host)
}

fn refused(why: &str) -> CliError {
    CliError::new(why).with_code(125)
}

fn path_and(text: &str) -> Option<(&str, &str)> {
    text.split_once(':')
        .filter(|(path, _)| path.starts_with("/dev/"))
}

fn rate(flag: &str, text: &str) -> Result<Value, CliError> {
    let bad = || {
        refused(&format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]"
        ))
    };
    let (path, number) = path_and(text).ok_or_else(bad)?;
    let rate = if flag.ends_with("bps") {
        parse_bytes(number).map_err(|_| bad())?
    } else {
        number.parse().map_err(|_| bad())?
    };
    Ok(json!({"Path": path, "Rate": rate}))
}

/// `source[:target][:rwm]`.
fn device(text: &str) -> Result<Value, CliError> {
    let is_mode =
        |text: &str| !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter));
    let parts: Vec<_> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, mode] if is_mode(mode) => (*source, *source, *mode),
        [source, target] => (*source, *target, "rwm"),
        [source, target, mode] if is_mode(mode) => (*source, *target, *mode),
        _ => return Err(refused(&format!("invalid device specification: {text}"))),
    };
    Ok(json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}))
}

/// `no`, `always`, `unless-stopped`, `on-failure[:times]`.
pub(super) fn restart_policy(text: &str) -> Result<Value, CliError> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (
            name,
            count.parse::<i64>().map_err(|_| {
                refused("invalid restart policy format: maximum retry count must be an integer")
            })?,
        ),
        None => (text, 0),
    };
    let allowed = matches!(name, "" | "no" | "always" | "unless-stopped" | "on-failure");
    if !allowed {
        return Err(refused(&format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )));
    }
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

/// `--security-opt`: profiles of seccomp are files of ours, so their content goes to the daemon.
fn security(matches: &Matches, host: &mut Value) -> Result<(), CliError> {
    let mut options = Vec::new();
    for text in matches.list("security-opt") {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (name, value) {
            ("systempaths", "unconfined") => {
                host["MaskedPaths"] = json!([]);
                host["ReadonlyPaths"] = json!([]);
            }
            ("seccomp", file) if !matches!(file, "unconfined" | "builtin") => {
                let profile: Map<String, Value> = std::fs::read(file)
                    .map_err(|error| {
                        refused(&format!(
                            "opening seccomp profile ({file}) failed: {}",
                            crate::error::io_text(&error)
                        ))
                    })
                    .and_then(|bytes| {
                        serde_json::from_slice(&bytes).map_err(|error| {
                            refused(&format!(
                                "compacting json for seccomp profile ({file}) failed: {error}"
                            ))
                        })
                    })?;
                options.push(format!("seccomp={}", Value::Object(profile)));
            }
            _ => options.push(text.clone()),
        }
    }
    host["SecurityOpt"] = or_null(options);
    Ok(())
}
