//! The engine's part of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use skep_engine::EngineConfig;
use skep_engine::image::{Proxies, RegistryConfig};

use super::ConfigError;
use super::network::{address_pool, networking};
use super::value::{number, pairs, wrong};
use crate::daemon::flags::Given;

pub(super) fn engine(given: &Given) -> Result<EngineConfig, ConfigError> {
    let mut config = EngineConfig::default();
    if let Some(path) = given.value("data-root") {
        config.data_root = PathBuf::from(path);
    }
    if let Some(path) = given.value("exec-root") {
        config.exec_root = PathBuf::from(path);
    }
    if let Some(parent) = given.value("cgroup-parent") {
        config.cgroup_parent = parent;
    }
    if let Ok(program) = std::env::current_exe() {
        config.shim_program = program;
    }
    networking(given, &mut config)?;
    config.dns = given.list("dns");
    for server in &config.dns {
        let address: Result<std::net::IpAddr, _> = server.parse();
        address.map_err(|_| wrong("dns", format!("{server} is not an ip address")))?;
    }
    config.dns_options = given.list("dns-opt");
    config.dns_search = given.list("dns-search");
    config.registries = registries(given)?;
    config.labels = labels(given)?;
    config.generic_resources = generic_resources(given)?;
    let runtimes = pairs(given, "add-runtime")?;
    config.runtimes = runtimes
        .into_iter()
        .map(|(name, path)| (name, path.into()))
        .collect();
    config.default_runtime = given
        .value("default-runtime")
        .unwrap_or(config.default_runtime);
    let cdi_dirs = given.list("cdi-spec-dir");
    if !cdi_dirs.is_empty() {
        // A single empty one turns devices by name off.
        config.cdi_spec_dirs = cdi_dirs
            .into_iter()
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
            .collect();
    }
    features(given, &mut config)?;
    config.log_driver = given.value("log-driver").unwrap_or(config.log_driver);
    config.log_opts = pairs(given, "log-opt")?;
    container_defaults(given, &mut config)?;
    config.shutdown_timeout_seconds =
        number(given, "shutdown-timeout")?.unwrap_or(config.shutdown_timeout_seconds);
    if let Some(size) = given.value("default-shm-size") {
        config.default_shm_size = bytes(&size)
            .ok_or_else(|| wrong("default-shm-size", format!("invalid size: '{size}'")))?;
    }
    for (name, limit) in pairs(given, "default-ulimit")? {
        config.default_ulimits.insert(name, ulimit(&limit)?);
    }
    for pool in given.list("default-address-pool") {
        config.default_address_pools.push(address_pool(&pool)?);
    }
    Ok(config)
}

/// What containers get that do not say otherwise.
fn container_defaults(given: &Given, config: &mut EngineConfig) -> Result<(), ConfigError> {
    config.init = given.flag("init").unwrap_or(false);
    config.no_new_privileges = given.flag("no-new-privileges").unwrap_or(false);
    if let Some(mode) = given.value("default-ipc-mode") {
        if !matches!(mode.as_str(), "private" | "shareable") {
            let reason = format!("IPC mode \"{mode}\" is not supported as default value");
            return Err(wrong("default-ipc-mode", reason));
        }
        config.default_ipc_mode = mode;
    }
    if let Some(mode) = given.value("default-cgroupns-mode") {
        if !matches!(mode.as_str(), "private" | "host") {
            let reason = format!("invalid cgroup namespace mode: {mode}");
            return Err(wrong("default-cgroupns-mode", reason));
        }
        config.default_cgroupns_mode = mode;
    }
    config.seccomp_profile = match given.value("seccomp-profile").as_deref() {
        None | Some("" | "builtin") => String::new(),
        Some("unconfined") => "unconfined".to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| wrong("seccomp-profile", format!("open {path}: {error}")))?,
    };
    Ok(())
}

/// Features that can be turned off; the others of dockerd's are on, or mean nothing here.
fn features(given: &Given, config: &mut EngineConfig) -> Result<(), ConfigError> {
    for feature in given.list("feature") {
        let (name, value) = feature.split_once('=').unwrap_or((&feature, "true"));
        let on: bool = value.parse().map_err(|_| {
            wrong(
                "feature",
                format!("{feature:?} is not name=true or name=false"),
            )
        })?;
        if name == "cdi" && !on {
            config.cdi_spec_dirs.clear();
        }
    }
    Ok(())
}

/// Labels of one key must agree, and each must be `key=value`.
fn labels(given: &Given) -> Result<Vec<String>, ConfigError> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for label in given.list("label") {
        let Some((key, value)) = label
            .split_once('=')
            .filter(|(k, v)| !k.is_empty() && !v.is_empty())
        else {
            return Err(wrong("label", format!("bad attribute format: {label}")));
        };
        let before = seen.insert(key.to_owned(), value.to_owned());
        if let Some(before) = before.filter(|before| before != value) {
            let reason = format!("conflict labels for {key}={value} and {key}={before}");
            return Err(wrong("label", reason));
        }
    }
    Ok(given.list("label"))
}

/// `64m`, `1gib`, `1024`.
fn bytes(text: &str) -> Option<i64> {
    let text = text.to_lowercase();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// `1024` or `1024:2048`.
fn ulimit(text: &str) -> Result<(i64, i64), ConfigError> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    match (soft.parse(), hard.parse()) {
        (Ok(soft), Ok(hard)) => Ok((soft, hard)),
        _ => Err(wrong(
            "default-ulimit",
            format!("{text:?} is not soft[:hard]"),
        )),
    }
}

/// How registries are spoken to.
fn registries(given: &Given) -> Result<RegistryConfig, ConfigError> {
    let count = |flag: &'static str, what: &str, default: usize| match number::<i64>(given, flag)? {
        None | Some(0) => Ok(default),
        Some(given) => {
            usize::try_from(given).map_err(|_| wrong(flag, format!("invalid max {what}: {given}")))
        }
    };
    // As Go's programs: the flag, then the environment in capital and small letters.
    let proxy = |flag: &str| {
        let name = flag.replace('-', "_");
        let of = |name: String| std::env::var(name).ok();
        given
            .value(flag)
            .or_else(|| of(name.to_uppercase()))
            .or_else(|| of(name))
            .unwrap_or_default()
    };
    let default = RegistryConfig::default();
    Ok(RegistryConfig {
        insecure: given.list("insecure-registry"),
        mirrors: given.list("registry-mirror"),
        proxies: Proxies {
            http: proxy("http-proxy"),
            https: proxy("https-proxy"),
            none_for: proxy("no-proxy"),
        },
        concurrent_downloads: count(
            "max-concurrent-downloads",
            "concurrent downloads",
            default.concurrent_downloads,
        )?,
        concurrent_uploads: count(
            "max-concurrent-uploads",
            "concurrent uploads",
            default.concurrent_uploads,
        )?,
        download_attempts: count(
            "max-download-attempts",
            "download attempts",
            default.download_attempts,
        )?,
    })
}

/// `kind=value` pairs, several of them in one value separated by commas.
pub(super) fn generic_resources(given: &Given) -> Result<Vec<String>, ConfigError> {
    let resources = generic_pairs(given)?;
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, value) in resources.iter().filter_map(|pair| pair.split_once('=')) {
        by_kind.entry(kind).or_default().push(value);
    }
    for (kind, values) in by_kind {
        let counts: Vec<i64> = values
            .iter()
            .filter_map(|value| value.parse().ok())
            .collect();
        let reason = match (values.len(), counts.as_slice()) {
            (1, [count]) if *count < 0 => format!("cannot ask for negative resource {kind}"),
            (1, _) | (_, []) => continue,
            _ => format!(
                "mixed discrete and named resources in expression '{kind}=[{}]'",
                values.join(" ")
            ),
        };
        let reason = format!("could not parse GenericResource: {reason}");
        return Err(wrong("node-generic-resource", reason));
    }
    Ok(resources)
}

fn generic_pairs(given: &Given) -> Result<Vec<String>, ConfigError> {
    let mut resources = Vec::new();
    for value in given.list("node-generic-resource") {
        for pair in value.split(',') {
            match pair.split_once('=') {
                Some((kind, value)) if !kind.is_empty() && !value.is_empty() => {
                    resources.push(pair.to_owned());
                }
                _ => {
                    let reason = format!(
                        "could not parse GenericResource: incorrect term {pair}, missing '=' or malformed expression"
                    );
                    return Err(wrong("node-generic-resource", reason));
                }
            }
        }
    }
    Ok(resources)
}
