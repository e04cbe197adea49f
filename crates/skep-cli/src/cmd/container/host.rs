//! `HostConfig`: limits, devices, namespaces, security.

use serde_json::{Map, Value, json};

use super::body::or_null;
use super::checks;
use crate::error::CliError;
use crate::grammar::{Matches, parse_bytes};
use crate::opts::{gpus, map_from, mount, ulimit};

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
const LISTS: [(&str, &str); 4] = [
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
    checks::flags(matches)?;
    host["ExtraHosts"] = or_null(checks::extra_hosts(matches.list("add-host"))?);
    for (flag, field) in [("cap-add", "CapAdd"), ("cap-drop", "CapDrop")] {
        host[field] = or_null(checks::capabilities(matches.list(flag)));
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
    // Fields of Windows, and of older callers.
    for (field, value) in [
        ("Cgroup", json!("")),
        ("CpuCount", json!(0)),
        ("CpuPercent", json!(0)),
        ("IOMaximumBandwidth", json!(0)),
        ("IOMaximumIOps", json!(0)),
    ] {
        host[field] = value;
    }
    for (flag, field) in [
        ("cpu-count", "CpuCount"),
        ("cpu-percent", "CpuPercent"),
        ("io-maxiops", "IOMaximumIOps"),
    ] {
        host[field] = matches.number(flag).unwrap_or(0).into();
    }
    host["IOMaximumBandwidth"] = matches.bytes("io-maxbandwidth").unwrap_or(0).into();
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
    let mut ulimits = ulimits?;
    ulimits.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    host["Ulimits"] = ulimits.into();
    // A device is a file, or a name that a CDI specification knows.
    let (files, names): (Vec<_>, Vec<_>) = matches
        .list("device")
        .iter()
        .partition(|text| !is_cdi_name(text));
    let devices: Result<Vec<_>, _> = files.into_iter().map(|text| device(text)).collect();
    host["Devices"] = devices?.into();
    let mut requests = Vec::new();
    if !names.is_empty() {
        requests.push(json!({
            "Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": null, "Options": null,
        }));
    }
    for text in matches.list("gpus") {
        requests.push(gpus(text)?);
    }
    host["DeviceRequests"] = if requests.is_empty() {
        Value::Null
    } else {
        requests.into()
    };
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
            let bad = |why: String| CliError::bad_flag(text, "--blkio-weight-device", why);
            let (path, weight) =
                path_and(text).ok_or_else(|| bad(format!("bad format for device path: {text}")))?;
            let weight: u16 = weight
                .parse()
                .ok()
                .filter(|weight| *weight == 0 || (10..=1000).contains(weight))
                .ok_or_else(|| bad(format!("invalid weight for device: {text}")))?;
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
    let of_bytes = flag.ends_with("bps");
    let form = match of_bytes {
        true => {
            "<device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        }
        false => "<device-path>:<number>. Number must be a positive integer",
    };
    let name = format!("--{flag}");
    let bad = || {
        let why = format!("invalid rate for device: {text}. The correct format is {form}");
        CliError::bad_flag(text, &name, why)
    };
    let (path, number) = path_and(text).ok_or_else(|| {
        CliError::bad_flag(text, &name, format!("bad format for device path: {text}"))
    })?;
    let rate = if of_bytes {
        parse_bytes(number).map_err(|_| bad())?
    } else {
        number.parse().map_err(|_| bad())?
    };
    Ok(json!({"Path": path, "Rate": rate}))
}

/// `vendor.com/class=name`.
fn is_cdi_name(text: &str) -> bool {
    let parts = text
        .split_once('=')
        .and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
    parts.is_some_and(|((vendor, class), name)| {
        let is_word = |word: &str| word.starts_with(|c: char| c.is_ascii_alphanumeric());
        is_word(vendor) && is_word(class) && !name.is_empty() && !class.contains('/')
    })
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
        [_, _, mode] => return Err(refused(&format!("bad mode specified: {mode}"))),
        _ => return Err(refused(&format!("bad format for path: {text}"))),
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
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

/// `--security-opt`: profiles of seccomp are files of ours, so their content goes to the daemon.
fn security(matches: &Matches, host: &mut Value) -> Result<(), CliError> {
    host["MaskedPaths"] = Value::Null;
    host["ReadonlyPaths"] = Value::Null;
    let mut options = Vec::new();
    for text in matches.list("security-opt") {
        let (name, value) = match text.split_once(['=', ':']) {
            Some(pair) => pair,
            None if text == "no-new-privileges" => (text.as_str(), ""),
            None => return Err(refused(&format!("Invalid --security-opt: {text:?}"))),
        };
        match (name, value) {
            ("systempaths", "unconfined") => {
                host["MaskedPaths"] = json!([]);
                host["ReadonlyPaths"] = json!([]);
            }
            ("seccomp", file) if !matches!(file, "unconfined" | "builtin") => {
                let profile: Map<String, Value> = std::fs::read(file)
                    .map_err(|error| {
                        refused(&format!(
                            "opening seccomp profile ({file}) failed: open {file}: {}",
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
    host["SecurityOpt"] = match matches.given("security-opt") {
        true => options.into(),
        false => Value::Null,
    };
    Ok(())
}
