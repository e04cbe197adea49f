//! daemon.json: the same settings as the flags, in one file; a setting in both is an error.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::flags::{FLAGS, Flag, Given, Kind};

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("unable to configure the daemon with file {}: open {}: {source}", path.display(), path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a JSON object.
    #[error("unable to configure the daemon with file {}: {reason}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It has keys that no setting has.
    #[error("unable to configure the daemon with file {}: the following directives don't match any configuration option: {keys}", path.display())]
    Unknown {
        /// Which.
        path: PathBuf,
        /// The keys.
        keys: String,
    },
    /// A setting is in it and on the command line.
    #[error("unable to configure the daemon with file {}: the following directives are specified both as a flag and in the configuration file: {conflicts}", path.display())]
    Conflict {
        /// Which.
        path: PathBuf,
        /// Each with both values.
        conflicts: String,
    },
}

/// Keys of dockerd's that are in the file only, and have no meaning here.
const FILE_ONLY: [&str; 2] = ["builder", "deprecated-key-path"];

/// The object whose entries are flags of their own.
const PROXIES: &str = "proxies";

/// Lays the file at `path` under the flags. A missing file is an error only when it was asked for.
pub fn merge(flags: &Given, path: &Path, asked_for: bool) -> Result<Given, FileError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Ok(flags.clone());
        }
        Err(source) => {
            return Err(FileError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    merge_text(flags, path, &text)
}

fn merge_text(flags: &Given, path: &Path, text: &str) -> Result<Given, FileError> {
    if text.trim().is_empty() {
        return Ok(flags.clone());
    }
    let parse = |reason: String| FileError::Parse {
        path: path.to_owned(),
        reason,
    };
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|err| parse(err.to_string()))?;
    let mut merged = flags.clone();
    let mut unknown = Vec::new();
    let mut conflicts = Vec::new();
    for (key, value) in flattened(&object) {
        let Some(flag) = FLAGS.iter().find(|flag| flag.json_key() == key) else {
            if !FILE_ONLY.contains(&key.as_str()) {
                unknown.push(key.clone());
            }
            continue;
        };
        if let Some(given) = flags.value(flag.name) {
            let given = match flag.kind {
                Kind::List => format!("[{}]", flags.list(flag.name).join(" ")),
                Kind::Bool | Kind::Value => given,
            };
            conflicts.push(format!(
                "{key}: (from flag: {given}, from file: {})",
                shown(value)
            ));
            continue;
        }
        merged.set(flag.name, values(flag, &key, value).map_err(parse)?);
    }
    if !unknown.is_empty() {
        return Err(FileError::Unknown {
            path: path.to_owned(),
            keys: unknown.join(", "),
        });
    }
    if !conflicts.is_empty() {
        return Err(FileError::Conflict {
            path: path.to_owned(),
            conflicts: conflicts.join(", "),
        });
    }
    Ok(merged)
}

/// The settings of the file, with those of `proxies` among them.
fn flattened(object: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut settings = Vec::new();
    for (key, value) in object {
        match value {
            Value::Object(proxies) if key == PROXIES => {
                settings.extend(proxies.iter().map(|(name, value)| (name.clone(), value)))
            }
            _ => settings.push((key.clone(), value)),
        }
    }
    settings
}

/// A value as Go prints it in the conflict's text.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", shown(v)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// The values that a key stands for, in the spelling of the flag.
fn values(flag: &Flag, key: &str, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("invalid value for {key:?}: {value}");
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match (flag.kind, value) {
        (Kind::Bool, Value::Bool(on)) => Ok(vec![on.to_string()]),
        (Kind::Bool, _) => Err(wrong()),
        (Kind::List, Value::Array(items)) => items
            .iter()
            .map(|item| list_item(item).ok_or_else(wrong))
            .collect(),
        (Kind::List, Value::Object(map)) if flag.name == "default-network-opt" => map
            .iter()
            .map(|(driver, options)| match options {
                Value::Object(options) => Ok(options
                    .iter()
                    .map(|(key, value)| format!("{driver}={key}={}", shown(value)))
                    .collect::<Vec<String>>()),
                _ => Err(wrong()),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|options| options.concat()),
        (Kind::List, Value::Object(map)) => map
            .iter()
            .map(|(name, item)| map_entry(name, item).ok_or_else(wrong))
            .collect(),
        (_, value) => plain(value).map(|text| vec![text]).ok_or_else(wrong),
    }
}

/// `"a"`, or `{"base":"10.0.0.0/8","size":24}` as `base=10.0.0.0/8,size=24`.
fn list_item(item: &Value) -> Option<String> {
    match item {
        Value::String(text) => Some(text.clone()),
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}={}", shown(v)))
                .collect();
            Some(pairs.join(","))
        }
        _ => None,
    }
}

/// Entries of `log-opts`, `runtimes` and `default-ulimits` as `name=value`.
fn map_entry(name: &str, item: &Value) -> Option<String> {
    match item {
        Value::String(text) => Some(format!("{name}={text}")),
        Value::Bool(flag) => Some(format!("{name}={flag}")),
        Value::Number(number) => Some(format!("{name}={number}")),
        Value::Object(map) => {
            let field = |wanted: &str| {
                map.iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
                    .map(|(_, v)| shown(v))
            };
            if let (Some(soft), Some(hard)) = (field("soft"), field("hard")) {
                return Some(format!("{name}={soft}:{hard}"));
            }
            field("path")
                .or_else(|| field("runtimeType"))
                .map(|path| format!("{name}={path}"))
        }
        Value::Null | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge_line(flags: &str, json: &str) -> Result<Given, FileError> {
        let args: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        merge_text(
            &Given::parse(&args).expect("good flags"),
            Path::new("/x/daemon.json"),
            json,
        )
    }

    #[test]
    fn the_file_adds_to_the_flags() {
        let json = r#"{"debug":true,"labels":["a=b"],"mtu":1400,"log-opts":{"max-size":"1m"},
            "default-address-pools":[{"base":"10.1.0.0/16","size":24}],"runtimes":{"r":{"path":"/r"}},
            "default-ulimits":{"nofile":{"Name":"nofile","Hard":2,"Soft":1}},"features":{"x":true},
            "proxies":{"https-proxy":"http://p:1"},"default-network-opts":{"bridge":{"a":"b","c":"d"}}}"#;
        let given = merge_line("--data-root /d", json).expect("good");
        assert_eq!(given.value("data-root").as_deref(), Some("/d"));
        assert_eq!(given.flag("debug"), Some(true));
        assert_eq!(given.list("label"), ["a=b"]);
        assert_eq!(given.value("mtu").as_deref(), Some("1400"));
        assert_eq!(given.list("log-opt"), ["max-size=1m"]);
        assert_eq!(
            given.list("default-address-pool"),
            ["base=10.1.0.0/16,size=24"]
        );
        assert_eq!(given.list("add-runtime"), ["r=/r"]);
        assert_eq!(given.list("default-ulimit"), ["nofile=1:2"]);
        assert_eq!(given.list("feature"), ["x=true"]);
        assert_eq!(given.value("https-proxy").as_deref(), Some("http://p:1"));
        let options = given.list("default-network-opt");
        assert_eq!(options, ["bridge=a=b", "bridge=c=d"]);
    }

    #[test]
    fn a_setting_in_both_places_is_refused() {
        let refusal = merge_line(
            "--log-level info --label a",
            r#"{"log-level":"debug","labels":["b"]}"#,
        );
        let text = refusal.expect_err("a conflict").to_string();
        assert_eq!(
            text,
            "unable to configure the daemon with file /x/daemon.json: the following directives are \
             specified both as a flag and in the configuration file: log-level: (from flag: info, \
             from file: debug), labels: (from flag: [a], from file: [b])"
        );
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let text = merge_line("", r#"{"nope":1,"debug":true}"#)
            .expect_err("unknown")
            .to_string();
        assert!(
            text.ends_with("the following directives don't match any configuration option: nope"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_file_matters_only_when_asked_for() {
        let flags = Given::default();
        let path = Path::new("/nonexistent/daemon.json");
        assert_eq!(
            merge(&flags, path, false).expect("no file, no settings"),
            flags
        );
        assert!(merge(&flags, path, true).is_err());
    }
}
