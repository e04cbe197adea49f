//! The daemon's configuration: flags over daemon.json over defaults, validated once.

mod engine;
mod network;
#[cfg(test)]
mod tests;
mod value;

use std::path::PathBuf;

use skep_engine::EngineConfig;
use skep_objects::extras::AllowedExtras;

use self::engine::{engine, generic_resources};
use self::value::{number, wrong};
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
