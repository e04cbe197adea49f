//! `docker import -c` and `docker commit -c`: Dockerfile instructions on an image's configuration.

use serde_json::{Map, Value, json};

use crate::error::{EngineError, Result};

/// Applies one instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
/// USER, VOLUME or WORKDIR.
/// # Errors
/// An instruction that is not one of these, or is not whole.
pub fn apply_change(config: &mut Map<String, Value>, change: &str) -> Result<()> {
    let change = change.trim();
    let (word, rest) = change
        .split_once(char::is_whitespace)
        .unwrap_or((change, ""));
    let rest = rest.trim();
    let wrong = |why: &str| EngineError::invalid(format!("{}: {why}", word.to_uppercase()));
    match word.to_uppercase().as_str() {
        "CMD" => set(config, "Cmd", command(rest)),
        "ENTRYPOINT" => set(config, "Entrypoint", command(rest)),
        "USER" => set(config, "User", rest.into()),
        "WORKDIR" => set(config, "WorkingDir", rest.into()),
        "HEALTHCHECK" => set(config, "Healthcheck", healthcheck(rest)?),
        "STOPSIGNAL" => set(config, "StopSignal", rest.into()),
        "ENV" => {
            for (key, value) in pairs(rest).ok_or_else(|| wrong("must have two arguments"))? {
                let list = list(config, "Env");
                let begin = format!("{key}=");
                list.retain(|old| !old.as_str().is_some_and(|old| old.starts_with(&begin)));
                list.push(format!("{key}={value}").into());
            }
        }
        "LABEL" => {
            for (key, value) in pairs(rest).ok_or_else(|| wrong("must have two arguments"))? {
                insert(config, "Labels", key, value.into());
            }
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let port = if port.contains('/') {
                    port.to_owned()
                } else {
                    format!("{port}/tcp")
                };
                insert(config, "ExposedPorts", port, json!({}));
            }
        }
        "VOLUME" => {
            let paths: Vec<String> = serde_json::from_str(rest).unwrap_or_else(|_| words(rest));
            for path in paths {
                insert(config, "Volumes", path, json!({}));
            }
        }
        "ONBUILD" => {
            list(config, "OnBuild").push(rest.into());
        }
        "" => return Err(EngineError::invalid("file with no instructions")),
        _ => {
            return Err(EngineError::invalid(format!(
                "{word} is not a valid change command"
            )));
        }
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

/// A list of the configuration, made where there is none.
fn list<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let list = config.entry(key).or_insert(Value::Null);
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().expect("made as an array above")
}

fn insert(config: &mut Map<String, Value>, key: &str, name: String, value: Value) {
    let map = config.entry(key).or_insert(Value::Null);
    if !map.is_object() {
        // A container's configuration has null where there is nothing.
        *map = json!({});
    }
    if let Some(map) = map.as_object_mut() {
        map.insert(name, value);
    }
}

/// `["a","b"]`, or a line for the shell.
fn command(text: &str) -> Value {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => words.into(),
        Err(_) => json!(["/bin/sh", "-c", text]),
    }
}

/// `[--interval=1s …] CMD program`, or `NONE`.
fn healthcheck(text: &str) -> Result<Value> {
    let bad = |why: String| EngineError::invalid(why);
    let mut check = Map::new();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        let (name, value) = flag
            .split_once('=')
            .ok_or_else(|| bad(format!("missing a value on flag: {flag}")))?;
        let field = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => {
                let count: u32 = value
                    .parse()
                    .map_err(|_| bad(format!("invalid value {value:?} for flag --retries")))?;
                check.insert("Retries".to_owned(), count.into());
                continue;
            }
            _ => return Err(bad(format!("unknown flag: {name}"))),
        };
        let nanos = skep_objects::go_duration::parse(value).map_err(bad)?;
        if nanos < 1_000_000 {
            return Err(bad(format!("interval {name:?} cannot be less than 1ms")));
        }
        check.insert(field.to_owned(), nanos.into());
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match (kind.to_uppercase().as_str(), rest.trim()) {
        ("NONE", "") => json!(["NONE"]),
        ("NONE", _) => return Err(bad("HEALTHCHECK NONE takes no arguments".to_owned())),
        ("CMD", "") => {
            return Err(bad("missing command after HEALTHCHECK CMD".to_owned()));
        }
        ("CMD", command) => match serde_json::from_str::<Vec<String>>(command) {
            Ok(mut words) => {
                words.insert(0, "CMD".to_owned());
                words.into()
            }
            Err(_) => json!(["CMD-SHELL", command]),
        },
        ("", _) => return Err(bad("HEALTHCHECK requires at least one argument".to_owned())),
        (other, _) => {
            return Err(bad(format!(
                "unknown type {other:?} in HEALTHCHECK (try CMD)"
            )));
        }
    };
    check.insert("Test".to_owned(), test);
    Ok(Value::Object(check))
}

/// `a=b "c d"=e`, or the old `a b c`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let all = words(text);
    if !all.first()?.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| {
        word.split_once('=')
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
    };
    all.iter().map(pair).collect()
}

/// Words, with quotes and backslashes as in a Dockerfile.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut begun = false;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.extend(chars.next()),
            ('"' | '\'', None) => {
                quote = Some(c);
                begun = true;
            }
            (c, Some(q)) if c == q => quote = None,
            (c, None) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (c, _) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &[&str], expect: Value) {
        let mut config = Map::new();
        for change in changes {
            apply_change(&mut config, change).expect(change);
        }
        assert_eq!(Value::Object(config), expect, "{changes:?}");
    }

    #[test]
    fn instructions_change_the_configuration() {
        check(&[r#"CMD ["a","b"]"#], json!({"Cmd": ["a", "b"]}));
        check(
            &["cmd echo hi"],
            json!({"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        );
        check(
            &["ENV A=1 B=\"x y\"", "ENV A=2"],
            json!({"Env": ["B=x y", "A=2"]}),
        );
        check(&["ENV A old style"], json!({"Env": ["A=old style"]}));
        check(
            &["EXPOSE 80 53/udp"],
            json!({"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        );
        check(
            &["LABEL a=b", "LABEL c=d"],
            json!({"Labels": {"a": "b", "c": "d"}}),
        );
        check(
            &[r#"VOLUME ["/a","/b"]"#, "VOLUME /c"],
            json!({"Volumes": {"/a": {}, "/b": {}, "/c": {}}}),
        );
        check(
            &["USER 1:2", "WORKDIR /w", "STOPSIGNAL SIGINT"],
            json!({"User": "1:2", "WorkingDir": "/w", "StopSignal": "SIGINT"}),
        );
    }

    #[test]
    fn a_health_check_has_flags_and_a_command() {
        check(
            &["HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f http://localhost/ || exit 1"],
            json!({"Healthcheck": {
                "Interval": 90_000_000_000_i64,
                "Retries": 2,
                "Test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"],
            }}),
        );
        check(
            &[r#"HEALTHCHECK CMD ["true"]"#],
            json!({"Healthcheck": {"Test": ["CMD", "true"]}}),
        );
        check(
            &["healthcheck none"],
            json!({"Healthcheck": {"Test": ["NONE"]}}),
        );
        for (bad, expect) in [
            ("HEALTHCHECK", "at least one argument"),
            ("HEALTHCHECK --wat=1 CMD x", "unknown flag: wat"),
            ("HEALTHCHECK --timeout=x CMD x", "invalid duration"),
            ("HEALTHCHECK CMD", "missing command"),
            ("HEALTHCHECK RUN x", "unknown type"),
        ] {
            let refusal = apply_change(&mut Map::new(), bad).expect_err(bad);
            assert!(refusal.to_string().contains(expect), "{refusal}");
        }
    }

    #[test]
    fn other_instructions_are_refused() {
        let refusal = apply_change(&mut Map::new(), "RUN rm -rf /").expect_err("refused");
        assert_eq!(refusal.to_string(), "RUN is not a valid change command");
    }
}
