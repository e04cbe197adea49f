//! `--log-driver` and `--log-opt`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use skep_objects::api::container::LogConfig;
use skep_objects::ids::short_id;
use skep_runtime::shim::{LogFile, LogSpec};

use crate::container::Record;
use crate::error::{EngineError, Result};

const KNOWN: [&str; 10] = [
    "max-file",
    "max-size",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

/// What the options of a log driver that writes files say.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogFileOptions {
    driver: String,
    max_size: Option<u64>,
    max_files: u32,
    compress: bool,
    options: BTreeMap<String, String>,
}

impl LogFileOptions {
    pub(crate) fn parse(config: &LogConfig) -> Result<Self> {
        let options = config.config.clone().unwrap_or_default();
        if let Some(unknown) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(EngineError::invalid(format!(
                "unknown log opt '{unknown}' for {} log driver",
                config.driver
            )));
        }
        let is_local = config.driver == "local";
        let max_size = match options.get("max-size") {
            None => is_local.then_some(20 << 20),
            Some(text) => match size(text) {
                Some(0) | None if text != "-1" => {
                    return Err(EngineError::invalid(format!("invalid size: '{text}'")));
                }
                size => size,
            },
        };
        let max_files = match options.get("max-file") {
            None => {
                if is_local {
                    5
                } else {
                    1
                }
            }
            Some(text) => text
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| {
                    EngineError::invalid(format!("max-file cannot be less than 1: {text}"))
                })?,
        };
        let compress = match options.get("compress") {
            None => is_local,
            Some(text) => text
                .parse()
                .map_err(|_| EngineError::invalid(format!("invalid value for compress: {text}")))?,
        };
        if !is_local && options.contains_key("max-file") && max_files > 1 && max_size.is_none() {
            return Err(EngineError::invalid(
                "max-file cannot be specified if max-size is not set",
            ));
        }
        Ok(Self {
            driver: config.driver.clone(),
            max_size,
            max_files,
            compress,
            options,
        })
    }

    /// Where a container's output goes.
    pub(crate) fn spec(&self, record: &Record, dir: &Path) -> LogSpec {
        match log_path(&self.driver, &record.id, dir) {
            None => LogSpec::None,
            Some(path) => LogSpec::JsonFile(LogFile {
                path,
                max_size_bytes: self.max_size,
                max_files: self.max_files,
                compress: self.compress,
                attrs: self.attributes(record),
            }),
        }
    }

    /// Labels and variables that each line is to carry.
    fn attributes(&self, record: &Record) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        let option = |key: &str| self.options.get(key).map_or("", String::as_str);
        let wanted = |list: &str, pattern: &str| {
            let names: Vec<String> = option(list)
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect();
            let pattern = Some(option(pattern))
                .filter(|p| !p.is_empty())
                .and_then(|p| Regex::new(p).ok());
            move |name: &str| {
                names.iter().any(|n| n == name)
                    || pattern.as_ref().is_some_and(|p| p.is_match(name))
            }
        };
        let label = wanted("labels", "labels-regex");
        for (key, value) in record
            .config
            .labels
            .iter()
            .flatten()
            .filter(|(key, _)| label(key))
        {
            attributes.insert(key.clone(), value.clone());
        }
        let variable = wanted("env", "env-regex");
        for (key, value) in record
            .config
            .env
            .iter()
            .flatten()
            .filter_map(|entry| entry.split_once('='))
        {
            if variable(key) {
                attributes.insert(key.to_owned(), value.to_owned());
            }
        }
        if let Some(tag) = self.options.get("tag").filter(|tag| !tag.is_empty()) {
            let text = [
                ("{{.ID}}", short_id(&record.id)),
                ("{{.FullID}}", &record.id),
                ("{{.Name}}", &record.name),
                ("{{.ImageName}}", &record.config.image),
            ];
            let tag = text
                .iter()
                .fold(tag.clone(), |tag, (from, to)| tag.replace(from, to));
            attributes.insert("tag".to_owned(), tag);
        }
        attributes
    }
}

/// Where the log of a container is; none when the driver keeps none.
pub(super) fn log_path(driver: &str, id: &str, dir: &Path) -> Option<PathBuf> {
    match driver {
        "json-file" => Some(dir.join(format!("{id}-json.log"))),
        "local" => Some(dir.join("local-logs.log")),
        _ => None,
    }
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

    fn parse(driver: &str, options: &[(&str, &str)]) -> Result<LogFileOptions> {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        LogFileOptions::parse(&LogConfig {
            driver: driver.to_owned(),
            config: Some(options),
        })
    }

    #[test]
    fn local_rotates_by_default_and_json_file_does_not() {
        let local = parse("local", &[]).unwrap();
        assert_eq!(
            (local.max_size, local.max_files, local.compress),
            (Some(20 << 20), 5, true)
        );
        let json = parse("json-file", &[]).unwrap();
        assert_eq!((json.max_size, json.max_files), (None, 1));
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        let check = |options: &[(&str, &str)], expect: &str| {
            assert_eq!(parse("json-file", options).unwrap_err().to_string(), expect);
        };
        check(
            &[("colour", "red")],
            "unknown log opt 'colour' for json-file log driver",
        );
        check(&[("max-size", "x")], "invalid size: 'x'");
        check(
            &[("max-file", "3")],
            "max-file cannot be specified if max-size is not set",
        );
        assert_eq!(
            parse("json-file", &[("max-size", "10m"), ("max-file", "3")])
                .unwrap()
                .max_size,
            Some(10 << 20)
        );
    }
}
