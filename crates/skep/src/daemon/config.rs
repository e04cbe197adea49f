//! The daemon's configuration: flags over daemon.json over defaults, validated once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use skep_engine::image::{Proxies, RegistryConfig};
use skep_engine::{AddressPool, DefaultBridge, EngineConfig};
use skep_objects::extras::AllowedExtras;

use super::file::{self, FileError};
use super::flags::{Effect, FLAGS, Given};

/// Where daemon.json is looked for when no flag says so.
const DEFAULT_FILE: &str = "/etc/skep/daemon.json";

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value.
    #[error("invalid value for --{flag}: {reason}")]
    Value {
        /// The flag, also where the value came from the file.
        flag: &'static str,
        /// Why.
        reason: String,
    },
}

/// How TLS is to be used on tcp sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// `--tls` or `--tlsverify`, when either was given.
    pub enabled: Option<bool>,
    /// Whether clients must show a certificate.
    pub verify: bool,
    /// CA of the clients' certificates.
    pub ca: PathBuf,
    /// The server's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; empty for the default sockets.
    pub hosts: Vec<String>,
    /// Group of unix sockets, when asked for.
    pub group: Option<String>,
    /// File with the process id.
    pub pidfile: PathBuf,
    /// TLS on tcp.
    pub tls: TlsConfig,
    /// Where to serve metrics.
    pub metrics_addr: Option<String>,
    /// Address or interface that `swarm init` and `join` advertise when not told.
    pub swarm_default_advertise_addr: Option<String>,
    /// Whether services take an image that is here without asking its registry
    /// (`DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1`).
    pub prefer_local_images: bool,
    /// Which features beyond Docker's API services may use on this node.
    pub service_extras: AllowedExtras,
    /// `kind=value` that this node offers to the scheduler.
    pub node_generic_resources: Vec<String>,
    /// `debug`, `info`, `warn`, `error` or `fatal`.
    pub log_level: String,
    /// Whether the daemon logs JSON.
    pub log_json: bool,
    /// Whether debug mode is on.
    pub debug: bool,
    /// Whether containers end with the daemon.
    pub stop_containers: bool,
    /// Whether it says of itself that experimental features are on.
    pub experimental: bool,
    /// The daemon's own `oom_score_adj`, when it is to have one.
    pub oom_score_adjust: Option<i32>,
    /// `name=true` or `name=false`.
    pub features: Vec<String>,
    /// The engine's part.
    pub engine: EngineConfig,
    /// Flags that were given and mean nothing here.
    pub idle: Vec<&'static str>,
}

impl Config {
    /// Reads daemon.json, lays it under the flags and checks every value.
    pub fn load(flags: &Given) -> Result<Self, ConfigError> {
        let path = flags.value("config-file");
        let file = PathBuf::from(path.as_deref().unwrap_or(DEFAULT_FILE));
        Self::build(&file::merge(flags, &file, path.is_some())?)
    }

    fn build(given: &Given) -> Result<Self, ConfigError> {
        refuse_unsafe(given)?;
        check_drivers(given)?;
        let path = |flag: &str, default: &str| {
            PathBuf::from(given.value(flag).unwrap_or_else(|| default.to_owned()))
        };
        let debug = given.flag("debug").unwrap_or(false);
        let engine = engine(given)?;
        let pidfile = match given.value("pidfile") {
            Some(path) => PathBuf::from(path),
            None => engine.exec_root.join("skep.pid"),
        };
        let home = std::env::var("DOCKER_CERT_PATH").unwrap_or_else(|_| "/root/.docker".to_owned());
        let verify = given.flag("tlsverify").unwrap_or(false);
        let enabled = match (given.flag("tls"), given.flag("tlsverify")) {
            (None, None) => None,
            (tls, _) => Some(verify || tls.unwrap_or(false)),
        };
        let is_moot = |name: &&str| {
            let mut flags = FLAGS.iter();
            flags.any(|flag| flag.name == *name && flag.effect == Effect::Moot)
        };
        let idle = given.names().filter(is_moot);
        Ok(Self {
            hosts: given.list("host"),
            group: given.value("group"),
            pidfile,
            tls: TlsConfig {
                enabled,
                verify,
                ca: path("tlscacert", &format!("{home}/ca.pem")),
                cert: path("tlscert", &format!("{home}/cert.pem")),
                key: path("tlskey", &format!("{home}/key.pem")),
            },
            metrics_addr: given.value("metrics-addr"),
            swarm_default_advertise_addr: given.value("swarm-default-advertise-addr"),
            prefer_local_images: std::env::var("DOCKER_SERVICE_PREFER_OFFLINE_IMAGE")
                .is_ok_and(|value| value == "1"),
            service_extras: service_extras(given)?,
            node_generic_resources: generic_resources(given)?,
            log_level: log_level(given, debug)?,
            log_json: log_json(given)?,
            debug,
            stop_containers: stop_containers(given)?,
            experimental: given.flag("experimental").unwrap_or(false),
            oom_score_adjust: oom_score(given)?,
            features: given.list("feature"),
            engine,
            idle: idle.collect(),
        })
    }
}

fn wrong(flag: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        flag,
        reason: reason.into(),
    }
}

fn log_level(given: &Given, debug: bool) -> Result<String, ConfigError> {
    let level = given
        .value("log-level")
        .unwrap_or_else(|| "info".to_owned());
    match level.as_str() {
        _ if debug => Ok("debug".to_owned()),
        "trace" | "debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic" => Ok(level),
        _ => Err(wrong(
            "log-level",
            format!("not a valid logging level: {level:?}"),
        )),
    }
}

fn log_json(given: &Given) -> Result<bool, ConfigError> {
    match given.value("log-format").as_deref() {
        None | Some("text" | "") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(wrong("log-format", format!("invalid log format: {other}"))),
    }
}

fn service_extras(given: &Given) -> Result<AllowedExtras, ConfigError> {
    match given.value("service-extras") {
        Some(text) => AllowedExtras::parse(&text).map_err(|reason| wrong("service-extras", reason)),
        None => Ok(AllowedExtras::default()),
    }
}

/// `kind=value` pairs, several of them in one value separated by commas.
fn generic_resources(given: &Given) -> Result<Vec<String>, ConfigError> {
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

/// Flags that would be dangerous to ignore: who gives them counts on what they do.
fn refuse_unsafe(given: &Given) -> Result<(), ConfigError> {
    for flag in FLAGS {
        let Effect::Refused(harmless, reason) = flag.effect else {
            continue;
        };
        let values = given.list(flag.name);
        if let Some(value) = values
            .iter()
            .find(|value| !harmless.contains(&value.as_str()))
        {
            return Err(wrong(flag.name, format!("{value}: {reason}")));
        }
    }
    Ok(())
}

/// The drivers that there are, and what was asked for.
fn check_drivers(given: &Given) -> Result<(), ConfigError> {
    if let Some(driver) = given.value("storage-driver")
        && !matches!(driver.as_str(), "" | "overlay2" | "overlay" | "overlayfs")
    {
        let reason = format!("driver not supported: {driver}; images lie in overlay2");
        return Err(wrong("storage-driver", reason));
    }
    for option in given.list("exec-opt") {
        match option.split_once('=') {
            Some(("native.cgroupdriver", "cgroupfs")) => {}
            Some(("native.cgroupdriver", other)) => {
                let reason = format!("cgroup driver {other} is not supported: want cgroupfs");
                return Err(wrong("exec-opt", reason));
            }
            _ => return Err(wrong("exec-opt", format!("invalid option: {option}"))),
        }
    }
    Ok(())
}

/// Containers outlive the daemon unless somebody says otherwise, by either flag.
fn stop_containers(given: &Given) -> Result<bool, ConfigError> {
    match (given.flag("stop-containers"), given.flag("live-restore")) {
        (Some(true), Some(true)) => Err(wrong(
            "live-restore",
            "it is the opposite of --stop-containers",
        )),
        (Some(stop), _) => Ok(stop),
        (None, Some(live)) => Ok(!live),
        (None, None) => Ok(false),
    }
}

fn oom_score(given: &Given) -> Result<Option<i32>, ConfigError> {
    let score: Option<i32> = number(given, "oom-score-adjust")?;
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => Err(wrong(
            "oom-score-adjust",
            format!("{score} is not from -1000 to 1000"),
        )),
        score => Ok(score),
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

fn parsed<T: std::str::FromStr>(
    given: &Given,
    flag: &'static str,
    what: &str,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = given.value(flag).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(wrong(flag, format!("{text} is not {what}"))),
    }
}

/// The network of containers that name none.
fn default_bridge(given: &Given) -> Result<DefaultBridge, ConfigError> {
    // Kept as text: the engine tells by it whether something has changed.
    let subnet = |flag: &'static str| {
        let text = given.value(flag).filter(|text| !text.is_empty());
        let good = |text: &String| {
            let (ip, prefix) = text.split_once('/')?;
            let ip: IpAddr = ip.parse().ok()?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let prefix: u8 = prefix.parse().ok()?;
            (prefix <= most && ip.is_ipv6() == flag.ends_with('6')).then_some(())
        };
        match &text {
            Some(given) if good(given).is_none() => {
                Err(wrong(flag, format!("invalid CIDR address: {given}")))
            }
            _ => Ok(text),
        }
    };
    let address: Option<Ipv4Addr> = parsed(given, "ip", "an IPv4 address")?;
    let gateway: Option<Ipv4Addr> = parsed(given, "default-gateway", "an IPv4 address")?;
    let gateway_v6: Option<Ipv6Addr> = parsed(given, "default-gateway-v6", "an IPv6 address")?;
    let default = DefaultBridge::default();
    Ok(DefaultBridge {
        name: given
            .value("bridge")
            .filter(|bridge| !bridge.is_empty())
            .unwrap_or(default.name),
        address: subnet("bip")?,
        address_v6: subnet("bip6")?,
        ipv6: given.flag("ipv6").unwrap_or(false),
        range: subnet("fixed-cidr")?,
        range_v6: subnet("fixed-cidr-v6")?,
        gateway: gateway.map(IpAddr::V4),
        gateway_v6: gateway_v6.map(IpAddr::V6),
        mtu: number(given, "mtu")?.unwrap_or(default.mtu),
        icc: given.flag("icc").unwrap_or(true),
        masquerade: given.flag("ip-masq").unwrap_or(true),
        publish_address: address.filter(|address| !address.is_unspecified()),
    })
}

/// What networks and containers get of addresses.
fn networking(given: &Given, config: &mut EngineConfig) -> Result<(), ConfigError> {
    config.default_bridge = default_bridge(given)?;
    config.ip_forward = given.flag("ip-forward").unwrap_or(true);
    config.allow_direct_routing = given.flag("allow-direct-routing").unwrap_or(false);
    for ip in given.list("host-gateway-ip") {
        let ip = ip
            .parse()
            .map_err(|_| wrong("host-gateway-ip", format!("{ip} is not an ip address")))?;
        config.host_gateway_ips.push(ip);
    }
    for option in given.list("default-network-opt") {
        let mut words = option.splitn(3, '=');
        let (Some(driver), Some(key), Some(value)) = (words.next(), words.next(), words.next())
        else {
            let reason = format!("{option:?} is not driver=key=value");
            return Err(wrong("default-network-opt", reason));
        };
        let options = config.default_network_opts.entry(driver.to_owned());
        options
            .or_default()
            .insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

fn number<T: std::str::FromStr>(
    given: &Given,
    flag: &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = given.value(flag) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| wrong(flag, format!("{text:?} is not a number")))
}

fn pairs(given: &Given, flag: &'static str) -> Result<BTreeMap<String, String>, ConfigError> {
    let pair = |text: String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(wrong(flag, format!("{text:?} is not name=value"))),
    };
    given.list(flag).into_iter().map(pair).collect()
}

fn engine(given: &Given) -> Result<EngineConfig, ConfigError> {
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

/// `base=10.10.0.0/16,size=24`.
fn address_pool(text: &str) -> Result<AddressPool, ConfigError> {
    let mut pool = AddressPool {
        base: String::new(),
        size: 0,
    };
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", base)) => pool.base = base.to_owned(),
            Some(("size", size)) => {
                let bad = |_| {
                    wrong(
                        "default-address-pool",
                        format!("invalid size value: {size}"),
                    )
                };
                pool.size = size.parse().map_err(bad)?;
            }
            _ => {
                let reason = format!("invalid option for address pool: {part}");
                return Err(wrong("default-address-pool", reason));
            }
        }
    }
    if pool.base.is_empty() || pool.size == 0 {
        return Err(wrong(
            "default-address-pool",
            format!("{text:?} lacks base or size"),
        ));
    }
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(line: &str) -> Result<Config, ConfigError> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Config::build(&Given::parse(&args).expect("good flags"))
    }

    #[test]
    fn settings_reach_the_engine() {
        let config = build(
            "--data-root /d --exec-root /e --bip 10.9.0.1/24 --mtu 1400 --label a=b --dns 1.1.1.1 \
             --default-address-pool base=10.1.0.0/16,size=24 --default-shm-size 128m \
             --default-ulimit nofile=1:2 --log-opt max-size=1m --add-runtime r=/bin/r",
        )
        .expect("good");
        assert_eq!(config.engine.data_root, PathBuf::from("/d"));
        assert_eq!(config.pidfile, PathBuf::from("/e/skep.pid"));
        assert_eq!(
            config.engine.default_bridge.address.as_deref(),
            Some("10.9.0.1/24")
        );
        assert_eq!(config.engine.default_bridge.mtu, 1400);
        assert_eq!(config.engine.default_shm_size, 128 << 20);
        assert_eq!(config.engine.default_ulimits["nofile"], (1, 2));
        assert_eq!(config.engine.default_address_pools[0].size, 24);
        assert_eq!(config.engine.runtimes["r"], PathBuf::from("/bin/r"));
    }

    #[test]
    fn what_changes_nothing_is_not_refused() {
        let line = "--iptables=true --ip6tables --rootless=false --exec-opt native.cgroupdriver=cgroupfs \
                    --storage-driver overlay2 --feature containerd-snapshotter=true";
        assert!(build(line).expect("good").idle.is_empty());
        assert!(build("--live-restore=false").expect("good").stop_containers);
        assert!(!build("--live-restore").expect("good").stop_containers);
        assert!(build("--live-restore --stop-containers").is_err());
    }

    #[test]
    fn registries_and_networks_are_set_up_as_said() {
        let config = build(
            "--max-concurrent-downloads 7 --https-proxy http://p:1 --no-proxy a,b --ipv6 \
             --fixed-cidr-v6 fd00:1::/64 --default-network-opt bridge=com.docker.network.driver.mtu=1400 \
             --feature cdi=false --host-gateway-ip 192.0.2.1",
        );
        let engine = config.expect("good").engine;
        assert_eq!(engine.registries.concurrent_downloads, 7);
        assert_eq!(engine.registries.concurrent_uploads, 5);
        assert_eq!(engine.registries.proxies.https, "http://p:1");
        assert_eq!(engine.registries.proxies.none_for, "a,b");
        assert!(engine.default_bridge.ipv6 && engine.cdi_spec_dirs.is_empty());
        let options = &engine.default_network_opts["bridge"];
        assert_eq!(options["com.docker.network.driver.mtu"], "1400");
        assert_eq!(engine.host_gateway_ips.len(), 1);
    }

    #[test]
    fn tls_is_off_only_when_said_so() {
        assert_eq!(build("").expect("good").tls.enabled, None);
        assert_eq!(build("--tls=false").expect("good").tls.enabled, Some(false));
        assert_eq!(build("--tls").expect("good").tls.enabled, Some(true));
        let verify = build("--tlsverify").expect("good").tls;
        assert!(verify.verify && verify.enabled == Some(true));
    }

    #[test]
    fn flags_without_meaning_are_told() {
        let config =
            build("--containerd /x --userland-proxy=false --storage-driver overlay2 --debug");
        let config = config.expect("good");
        assert_eq!(config.idle, ["containerd", "userland-proxy"]);
        assert_eq!(config.log_level, "debug");
    }

    #[test]
    fn bad_values_are_refused_by_flag() {
        for line in [
            "--mtu x",
            "--label a",
            "--log-level loud",
            "--log-format xml",
            "--dns nowhere",
            "--default-address-pool base=10.0.0.0/8",
            "--default-ulimit nofile=x",
            "--node-generic-resource gpu",
            "--node-generic-resource gpu=-1",
            "--node-generic-resource gpu=UUID1,gpu=2",
            "--service-extras magic",
            "--default-shm-size big",
            "--storage-driver zfs",
            "--storage-opt overlay2.size=1G",
            "--exec-opt native.cgroupdriver=systemd",
            "--feature x=maybe",
            "--iptables=false",
            "--rootless",
            "--init-path /x",
            "--firewall-backend iptables",
            "--oom-score-adjust 2000",
            "--max-concurrent-downloads -1",
            "--bip 10.9.0.1",
            "--bip6 10.9.0.1/24",
            "--fixed-cidr fd00::/64",
            "--default-gateway ::1",
            "--host-gateway-ip x",
            "--default-network-opt bridge=x",
            "--ip ::",
        ] {
            let refusal = build(line).expect_err(line).to_string();
            let flag = line.split([' ', '=']).next().expect("a flag");
            assert!(
                refusal.starts_with(&format!("invalid value for {flag}: ")),
                "{refusal}"
            );
        }
        let refusal = build("--label a=1 --label a=2")
            .expect_err("conflict")
            .to_string();
        assert!(
            refusal.ends_with("conflict labels for a=2 and a=1"),
            "{refusal}"
        );
    }
}
