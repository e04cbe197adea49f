//! Keys that are read and not used. Each is named to the user; nothing is dropped in silence, but for
//! what Docker itself drops so, where its rules are wanted to the letter.
//!
//! A key below others is written with dots; `*` stands for every entry of a map or list.

use serde_json::{Map, Value};

use super::dialect::Dialect;

/// Keys that Docker reads and does not use. Those of the second list skep does use.
const UNSUPPORTED: [&str; 10] = [
    "build",
    "cgroup_parent",
    "cgroupns_mode",
    "domainname",
    "external_links",
    "links",
    "mac_address",
    "network_mode",
    "restart",
    "userns_mode",
];
const EXTRAS: [&str; 6] = [
    "devices",
    "ipc",
    "pid",
    "privileged",
    "security_opt",
    "shm_size",
];
/// Keys that Docker reads in silence and does not use.
const SILENT: [&str; 4] = [
    "depends_on",
    "networks.*.ipv4_address",
    "networks.*.ipv6_address",
    "tmpfs",
];
/// Keys of the Compose Specification that no service of a swarm can have.
const COMPOSE: [&str; 46] = [
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cgroup",
    "cgroup_parent",
    "cgroupns_mode",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpuset",
    "depends_on.*.restart",
    "deploy.resources.reservations.devices.*.options",
    "develop",
    "device_cgroup_rules",
    "domainname",
    "driver_opts",
    "external_links",
    "links",
    "mac_address",
    "models",
    "networks.*.gw_priority",
    "networks.*.interface_name",
    "networks.*.ipv4_address",
    "networks.*.ipv6_address",
    "networks.*.link_local_ips",
    "networks.*.mac_address",
    "networks.*.priority",
    "oom_kill_disable",
    "ports.*.app_protocol",
    "ports.*.name",
    "post_start",
    "pre_stop",
    "pull_policy",
    "pull_refresh_after",
    "runtime",
    "storage_opt",
    "use_api_socket",
    "userns_mode",
    "uts",
    "volumes.*.bind.selinux",
    "volumes_from",
];
/// Keys at the top of a file that nothing comes of.
const TOP: [&str; 2] = ["models", "volumes.*.x-cluster-spec"];

/// What is told of.
fn told(dialect: Dialect) -> Vec<&'static str> {
    match dialect {
        Dialect::Compose => COMPOSE.to_vec(),
        Dialect::Docker { exact: false } => [&UNSUPPORTED[..], &SILENT[..]].concat(),
        Dialect::Docker { exact: true } => [&UNSUPPORTED[..], &EXTRAS[..]].concat(),
    }
}

/// The keys of a file that are not used, in their order, without the names of the user's.
pub(super) fn named(dialect: Dialect, file: &Value) -> Vec<String> {
    let services = || {
        file["services"]
            .as_object()
            .into_iter()
            .flat_map(Map::values)
    };
    let mut found: Vec<String> = told(dialect)
        .into_iter()
        .filter(|key| services().any(|service| has(service, key)))
        .map(|key| key.replace(".*", ""))
        .collect();
    if !matches!(dialect, Dialect::Docker { exact: true }) {
        let tops = TOP.into_iter().filter(|key| has(file, key));
        found.extend(tops.map(|key| key.replace(".*", "")));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Takes them away.
pub(super) fn take(dialect: Dialect, file: &mut Value) {
    let silent = match dialect {
        Dialect::Compose => &[][..],
        Dialect::Docker { .. } => &SILENT[..],
    };
    let services = file.get_mut("services").and_then(Value::as_object_mut);
    for service in services.into_iter().flat_map(Map::values_mut) {
        for key in told(dialect).iter().chain(silent) {
            // Docker says that it ignores `restart`, and applies it all the same.
            if *key != "restart" {
                remove(service, key);
            }
        }
    }
}

/// Whether something stands at a place. Right below a service, an empty value counts, as with Docker.
fn has(value: &Value, place: &str) -> bool {
    let Some((first, rest)) = place.split_once('.') else {
        return value.get(place).is_some();
    };
    has_below(&value[first], rest)
}

fn has_below(value: &Value, place: &str) -> bool {
    let (first, rest) = place.split_once('.').unwrap_or((place, ""));
    match (first, value) {
        ("*", Value::Object(map)) => map.values().any(|value| has_below(value, rest)),
        ("*", Value::Array(list)) => list.iter().any(|value| has_below(value, rest)),
        (key, value) if rest.is_empty() => !matches!(
            value.get(key),
            None | Some(Value::Null | Value::Bool(false))
        ),
        (key, value) => has_below(&value[key], rest),
    }
}

pub(super) fn remove(value: &mut Value, place: &str) {
    let Some((first, rest)) = place.split_once('.') else {
        if let Value::Object(map) = value {
            map.shift_remove(place);
        }
        return;
    };
    match (first, value) {
        ("*", Value::Object(map)) => map.values_mut().for_each(|value| remove(value, rest)),
        ("*", Value::Array(list)) => list.iter_mut().for_each(|value| remove(value, rest)),
        (key, value) => {
            if let Some(inner) = value.get_mut(key) {
                remove(inner, rest);
            }
        }
    }
}

/// Addresses of the host that a port was to be published at: taken away, a text for each, as Docker's
/// command line has it. A swarm publishes on every address of every node.
pub(super) fn host_addresses(services: &mut Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    let services = services.values_mut();
    for port in services
        .filter_map(|service| service.get_mut("ports")?.as_array_mut())
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        let Some(Value::String(ip)) = port.shift_remove("host_ip") else {
            continue;
        };
        let address = ip.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let Ok(address) = address else {
            lines.push(format!("ignoring IP-address ({ip}): it is none"));
            continue;
        };
        if address.is_unspecified() {
            continue;
        }
        let host = match address {
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            std::net::IpAddr::V4(ip) => ip.to_string(),
        };
        let text = |key: &str| port.get(key).map(super::normal::plain).unwrap_or_default();
        let protocol = match text("protocol") {
            empty if empty.is_empty() => "tcp".to_owned(),
            protocol => protocol,
        };
        lines.push(crate::output::warning(&format!(
            "ignoring IP-address ({host}:{}:{}/{protocol}) service will listen on '0.0.0.0'",
            text("published"),
            text("target"),
        )));
    }
    lines
}
