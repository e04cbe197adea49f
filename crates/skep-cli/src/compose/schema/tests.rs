//! Every key of the published Compose Specification is applied, or named as ignored or refused.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::compose::source::parse;
use crate::compose::{LoadOptions, convert, load};

const PUBLISHED: &str = include_str!("published.txt");

/// A line of the list.
struct Known {
    /// Where the key stands, from the top of a file.
    place: String,
    verdict: &'static str,
    file: Value,
}

fn published() -> Vec<Known> {
    let is_line = |line: &&str| !line.is_empty() && !line.starts_with('#');
    PUBLISHED
        .lines()
        .filter(is_line)
        .map(|line| {
            let parts: Vec<&'static str> = line.splitn(3, " | ").collect();
            let place = match parts[0].strip_prefix("= ") {
                Some(place) => place.to_owned(),
                None => format!("services.*.{}", parts[0]),
            };
            let file = parse(parts[2]).unwrap_or_else(|e| panic!("{line}: {}", e.message));
            Known {
                place,
                verdict: parts[1],
                file: over(base(), file.file),
            }
        })
        .collect()
}

fn base() -> Value {
    json!({
        "services": {
            "a": {"image": "x:1", "networks": {"n": null}, "secrets": ["s"], "configs": ["c"], "volumes": ["v:/v"]},
            "b": {"image": "x:1", "profiles": ["asleep"]},
            "c": {"image": "x:1"},
        },
        "networks": {"n": {}}, "volumes": {"v": {}},
        "secrets": {"s": {"content": "x"}}, "configs": {"c": {"content": "x"}},
    })
}

fn over(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let old = base.remove(&key).unwrap_or_default();
                base.insert(key, self::over(old, value));
            }
            Value::Object(base)
        }
        (_, over) => over,
    }
}

/// What a file becomes, and what is said about it.
fn outcome(dir: &Path, file: &Value) -> Result<(String, Vec<String>), String> {
    let path = dir.join("stack.yml");
    std::fs::write(&path, file.to_string()).unwrap();
    let options = LoadOptions {
        files: vec![path.display().to_string()],
        ..LoadOptions::default()
    };
    let loaded = load(&options).map_err(|error| error.message)?;
    let stack = convert(&loaded, "stack").map_err(|error| error.message)?;
    Ok((format!("{stack:?}"), loaded.warnings))
}

fn verdict(dir: &Path, known: &Known) -> String {
    let shown = known.place.replace(".*", "").replace("services.", "");
    // What stands elsewhere once it is in its long form is named by that.
    let other = shown.replace("gpus.", "deploy.resources.reservations.devices.");
    let with = outcome(dir, &known.file);
    let (stack, warnings) = match with {
        Err(text) if text.contains(&shown) => return "refused".to_owned(),
        Err(text) => return format!("fails: {text}"),
        Ok(outcome) => outcome,
    };
    let names = |text: &String| {
        let words = |key: &str| text.split([' ', ',', '\n', ':']).any(|word| word == key);
        words(&shown) || words(&other) || shown == "ports.host_ip" && text.contains("192.0.2.1")
    };
    if warnings.iter().any(names) {
        return "ignored".to_owned();
    }
    let mut without = known.file.clone();
    crate::compose::unused::remove(&mut without, &known.place);
    match outcome(dir, &without) {
        Ok((same, _)) if same == stack => "dropped in silence".to_owned(),
        _ => "applied".to_owned(),
    }
}

#[test]
fn no_key_of_the_specification_is_dropped_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("below")).unwrap();
    write("vars", "V=\"w\"\n");
    write("labels", "x=y\n");
    write(".env", "");
    write("below/.env", "V=below\n");
    write(
        "base.yml",
        "services: {d: {image: \"x:${V:-1}\", hostname: base}}",
    );
    write("stack.yml", "");
    // `extends` names its service in its own file, where no other is named.
    let wrong: Vec<String> = published()
        .iter()
        .map(|known| (known, verdict(dir.path(), known)))
        .filter(|(known, verdict)| known.verdict != verdict)
        .map(|(known, verdict)| format!("{}: {verdict}, not {}", known.place, known.verdict))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Places of the tables of keys that have none below them.
fn places(keys: &[Key], at: &str, found: &mut BTreeSet<String>) {
    for (key, shape) in keys {
        let at = format!("{at}.{key}");
        match shape {
            Map(keys) | TextOrMap(keys) => places(keys, &at, found),
            FlagOrMap(keys) => {
                found.insert(at.clone());
                places(keys, &at, found);
            }
            Entries(keys) | TextOrEntries(keys) | ListOrNamed(keys) => {
                places(keys, &format!("{at}.*"), found);
            }
            _ => drop(found.insert(at)),
        }
    }
}

#[test]
fn the_table_of_keys_is_the_published_one() {
    let mut ours = BTreeSet::new();
    for (section, keys) in compose::SECTIONS {
        places(keys, &format!("{section}.*"), &mut ours);
    }
    let theirs: BTreeSet<String> = published()
        .into_iter()
        .map(|known| known.place)
        .filter(|place| !place.starts_with("include.") && place != "models")
        .collect();
    let difference: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(difference.is_empty(), "{difference:?}");
}

#[test]
fn wrong_values_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (part, expected) in [
        (
            "{deploy: {replicas: -1}}",
            "services.a.deploy.replicas must be at least 0",
        ),
        (
            "{deploy: {replicas: x}}",
            "services.a.deploy.replicas must be a integer",
        ),
        (
            "{deploy: {update_config: {max_failure_ratio: x}}}",
            "max_failure_ratio must be a number",
        ),
        (
            "{deploy: {update_config: {order: x}}}",
            "must be one of the following: \"start-first\", \"stop-first\"",
        ),
        (
            "{ulimits: {nofile: x}}",
            "services.a.ulimits.nofile must be a integer",
        ),
        (
            "{ulimits: {nofile: {sof: 1}}}",
            "Additional property sof is not allowed",
        ),
        (
            "{secrets: [{source: s, mode: \"999\"}]}",
            "invalid mode \"999\"",
        ),
        (
            "{scale: 2, deploy: {replicas: 3}}",
            "can't set distinct values on 'scale' and 'deploy.replicas'",
        ),
        (
            "{network_mode: \"service:b\"}",
            "network_mode: a service cannot have the mode",
        ),
    ] {
        let part = parse(part).unwrap().file;
        let file = over(base(), json!({"services": {"a": part}}));
        // `network_mode` stands for networks.
        let mut file = file;
        if !file["services"]["a"]["network_mode"].is_null() {
            crate::compose::unused::remove(&mut file, "services.a.networks");
        }
        let error = outcome(dir.path(), &file).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let file = json!({"services": {"a": {"image": "x"}}, "networks": {"n": {"external": true, "driver": "x"}}});
    let error = outcome(dir.path(), &file).unwrap_err();
    let expected = "conflicting parameters \"external\" and \"driver\" specified for network \"n\"";
    assert_eq!(error, expected);
}

#[test]
fn marks_take_away_what_was_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let files = vec![
        write(
            "one.yml",
            "services: {a: {image: x, dns: [192.0.2.1], user: me, group_add: [5]}}",
        ),
        write(
            "two.yml",
            "services: {a: {dns: !override [192.0.2.2], user: !reset null, group_add: [6]}}",
        ),
    ];
    let options = LoadOptions {
        files,
        ..LoadOptions::default()
    };
    let service = load(&options).unwrap().file["services"]["a"].take();
    let expected = json!({"image": "x", "group_add": ["5", "6"], "dns": ["192.0.2.2"]});
    assert_eq!(service, expected);
}
