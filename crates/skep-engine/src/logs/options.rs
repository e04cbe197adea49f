//! `--log-driver` and `--log-opt`: which drivers there are, what each takes, and what the shim is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use skep_objects::api::container::LogConfig;
use skep_runtime::shim::{LogFile, LogSpec, RemoteLog};

use super::{remote, tag};
use crate::container::Record;
use crate::error::{EngineError, Result};

/// The drivers, in the order that `info` lists them.
pub(crate) const DRIVERS: [&str; 6] = [
    "fluentd",
    "journald",
    "json-file",
    "local",
    "none",
    "syslog",
];

/// What every driver that names or describes its container takes.
const DESCRIBING: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];
const FILE: [&str; 3] = ["max-file", "max-size", "compress"];
/// Of the file that is kept beside a driver which cannot be read.
const CACHE: [&str; 4] = [
    "cache-disabled",
    "cache-max-file",
    "cache-max-size",
    "cache-compress",
];

/// Options by name.
pub(super) type Options = BTreeMap<String, String>;

/// Refuses unknown drivers and options, and values that mean nothing, with Docker's texts.
pub(crate) fn validate(config: &LogConfig) -> Result<()> {
    let driver = config.driver.as_str();
    if driver == "none" {
        return Ok(());
    }
    let mut options = config.config.clone().unwrap_or_default();
    buffer(&options)?;
    options.retain(|key, _| !matches!(key.as_str(), "mode" | "max-buffer-size"));
    let own: &[&str] = match driver {
        "json-file" | "local" => &FILE,
        "syslog" => &remote::SYSLOG,
        "journald" => &[],
        "fluentd" => &remote::FLUENTD,
        _ => {
            return Err(EngineError::invalid(format!(
                "error looking up logging plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
    };
    let known = |key: &&String| {
        DESCRIBING
            .iter()
            .chain(own)
            .chain(&CACHE)
            .any(|k| k == *key)
    };
    if let Some(unknown) = options.keys().find(|key| !known(key)) {
        return Err(EngineError::invalid(format!(
            "unknown log opt '{unknown}' for {driver} log driver"
        )));
    }
    for key in ["labels-regex", "env-regex"] {
        if let Some(pattern) = options.get(key) {
            Regex::new(pattern)
                .map_err(|error| EngineError::invalid(format!("invalid {key}: {error}")))?;
        }
    }
    if let Some(template) = options.get("tag") {
        tag::check(template)?;
    }
    match driver {
        "json-file" => Rotation::parse(&options, "", false).map(drop),
        "local" => Rotation::parse(&options, "", true).map(drop),
        _ => {
            Rotation::parse(&options, "cache-", true)?;
            remote::validate(driver, &options)
        }
    }
}

/// Where a container's output goes.
pub(crate) fn spec(record: &Record, dir: &Path) -> Result<LogSpec> {
    let config = &record.host_config.log_config;
    let none = Options::new();
    let options = config.config.as_ref().unwrap_or(&none);
    let file = |prefix: &str, is_local: bool, attrs| -> Result<Option<LogFile>> {
        let rotation = Rotation::parse(options, prefix, is_local)?;
        Ok(log_path(config, &record.id, dir).map(|path| rotation.file(path, attrs)))
    };
    let driver = config.driver.as_str();
    match driver {
        "none" => Ok(LogSpec::None),
        "json-file" | "local" => {
            let mut attrs = attributes(record, options);
            if let Some(template) = options.get("tag").filter(|tag| !tag.is_empty()) {
                attrs.insert("tag".to_owned(), tag::render(template, record)?);
            }
            let file = file("", driver == "local", attrs)?;
            Ok(file.map_or(LogSpec::None, LogSpec::JsonFile))
        }
        _ => Ok(LogSpec::Remote(RemoteLog {
            sink: remote::sink(driver, options, record)?,
            cache: file("cache-", true, BTreeMap::new())?,
            max_buffer_bytes: buffer(options)?,
        })),
    }
}

/// Where the log of a container can be read; none when nothing keeps one.
pub(super) fn log_path(config: &LogConfig, id: &str, dir: &Path) -> Option<PathBuf> {
    let is_cached = || {
        let off = config
            .config
            .as_ref()
            .and_then(|options| options.get("cache-disabled"));
        off.is_none_or(|value| value != "true")
    };
    match config.driver.as_str() {
        "json-file" => Some(dir.join(format!("{id}-json.log"))),
        "local" => Some(dir.join("local-logs.log")),
        "none" => None,
        _ => is_cached().then(|| dir.join("container-cached.log")),
    }
}

/// `mode` and `max-buffer-size`: what may wait before lines are lost; none never loses any.
fn buffer(options: &Options) -> Result<Option<u64>> {
    const DEFAULT: u64 = 1 << 20;
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(EngineError::invalid(format!(
            "logger: logging mode not supported: {mode}"
        )));
    }
    match options.get("max-buffer-size") {
        None => Ok((mode == "non-blocking").then_some(DEFAULT)),
        Some(_) if mode != "non-blocking" => Err(EngineError::invalid(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        )),
        Some(text) => size(text).map(Some).ok_or_else(|| {
            EngineError::invalid(format!(
                "error parsing option max-buffer-size: invalid size: '{text}'"
            ))
        }),
    }
}

/// When a file is rotated.
#[derive(Debug, Clone, Default)]
struct Rotation {
    max_size: Option<u64>,
    max_files: u32,
    compress: bool,
}

impl Rotation {
    fn parse(options: &Options, prefix: &str, is_local: bool) -> Result<Self> {
        let option = |key: &str| options.get(&format!("{prefix}{key}"));
        let max_size = match option("max-size") {
            None => is_local.then_some(20 << 20),
            Some(text) => match size(text) {
                Some(0) | None if text != "-1" => {
                    return Err(EngineError::invalid(format!("invalid size: '{text}'")));
                }
                size => size,
            },
        };
        let max_files = match option("max-file") {
            None => {
                if is_local {
                    5
                } else {
                    1
                }
            }
            Some(text) => {
                let count = text.parse().ok().filter(|count| *count > 0);
                count.ok_or_else(|| EngineError::invalid("max-file cannot be less than 1"))?
            }
        };
        let compress = match option("compress") {
            None => is_local,
            Some(text) => text
                .parse()
                .map_err(|_| EngineError::invalid(format!("invalid value for compress: {text}")))?,
        };
        if !is_local && compress && (max_files < 2 || max_size.is_none()) {
            return Err(EngineError::invalid(
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ));
        }
        Ok(Self {
            max_size,
            max_files,
            compress,
        })
    }

    fn file(self, path: PathBuf, attrs: BTreeMap<String, String>) -> LogFile {
        LogFile {
            path,
            max_size_bytes: self.max_size,
            max_files: self.max_files,
            compress: self.compress,
            attrs,
        }
    }
}

/// Labels and variables of the container that each line is to carry.
pub(super) fn attributes(record: &Record, options: &Options) -> BTreeMap<String, String> {
    let option = |key: &str| options.get(key).map_or("", String::as_str);
    let wanted = |list: &str, pattern: &str| {
        let names: Vec<String> = option(list)
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect();
        let pattern = Some(option(pattern))
            .filter(|p| !p.is_empty())
            .and_then(|p| Regex::new(p).ok());
        move |name: &str| {
            names.iter().any(|n| n == name) || pattern.as_ref().is_some_and(|p| p.is_match(name))
        }
    };
    let label = wanted("labels", "labels-regex");
    let labels = record.config.labels.iter().flatten();
    let labels = labels
        .filter(|(key, _)| label(key))
        .map(|(k, v)| (k.clone(), v.clone()));
    let variable = wanted("env", "env-regex");
    let env = record.config.env.iter().flatten();
    let env = env
        .filter_map(|entry| entry.split_once('='))
        .filter(|(key, _)| variable(key))
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
    labels.chain(env).collect()
}

/// `10m`, `1g`, `512`.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        LogConfig {
            driver: driver.to_owned(),
            config: Some(options),
        }
    }

    #[test]
    fn local_rotates_by_default_and_json_file_does_not() {
        let local = Rotation::parse(&Options::new(), "", true).unwrap();
        assert_eq!(
            (local.max_size, local.max_files, local.compress),
            (Some(20 << 20), 5, true)
        );
        let json = Rotation::parse(&Options::new(), "", false).unwrap();
        assert_eq!((json.max_size, json.max_files), (None, 1));
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        let check = |driver: &str, options: &[(&str, &str)], expect: &str| {
            let error = validate(&config(driver, options)).unwrap_err();
            assert_eq!(error.to_string(), expect);
        };
        check(
            "carrier-pigeon",
            &[],
            "error looking up logging plugin carrier-pigeon: plugin \"carrier-pigeon\" not found",
        );
        for driver in ["json-file", "local", "syslog", "journald", "fluentd"] {
            check(
                driver,
                &[("colour", "red")],
                &format!("unknown log opt 'colour' for {driver} log driver"),
            );
        }
        check("json-file", &[("max-size", "x")], "invalid size: 'x'");
        check(
            "json-file",
            &[("max-file", "0")],
            "max-file cannot be less than 1",
        );
        check(
            "json-file",
            &[("compress", "true")],
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        );
        check(
            "local",
            &[("mode", "x")],
            "logger: logging mode not supported: x",
        );
        check(
            "local",
            &[("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        );
        check(
            "syslog",
            &[("syslog-facility", "x")],
            "invalid syslog facility",
        );
        check("syslog", &[("syslog-format", "x")], "Invalid syslog format");
        check(
            "syslog",
            &[("syslog-address", "x")],
            "syslog-address should be in form proto://address, got x",
        );
    }

    #[test]
    fn good_options_are_taken() {
        let check = |driver: &str, options: &[(&str, &str)]| {
            validate(&config(driver, options)).unwrap();
        };
        check("json-file", &[("max-size", "10m"), ("max-file", "3")]);
        check("json-file", &[("max-file", "3")]);
        check(
            "local",
            &[("mode", "non-blocking"), ("max-buffer-size", "4m")],
        );
        check(
            "syslog",
            &[
                ("syslog-address", "udp://127.0.0.1:514"),
                ("tag", "{{.Name}}/{{.ID}}"),
            ],
        );
        check(
            "fluentd",
            &[("fluentd-async", "true"), ("cache-disabled", "true")],
        );
        check("none", &[]);
    }

    #[test]
    fn what_cannot_be_read_has_a_cache_unless_told() {
        let path = |driver: &str, options: &[(&str, &str)]| {
            log_path(&config(driver, options), "i", Path::new("/d"))
        };
        assert_eq!(path("json-file", &[]), Some("/d/i-json.log".into()));
        assert_eq!(path("syslog", &[]), Some("/d/container-cached.log".into()));
        assert_eq!(path("syslog", &[("cache-disabled", "true")]), None);
        assert_eq!(path("none", &[]), None);
    }
}
