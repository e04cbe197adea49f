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

#[test]
fn secrets_and_configs_of_variables_know_the_env_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "SKEP_TEST_WHO=bees\n").unwrap();
    let file = |name: &str| {
        serde_json::json!({
            "services": {"web": {"image": "web:1"}},
            "configs": {"who": {"environment": name}},
        })
    };
    let (stack, _) = outcome(dir.path(), &file("SKEP_TEST_WHO")).unwrap();
    assert!(stack.contains("YmVlcw=="), "{stack}");
    let refusal = outcome(dir.path(), &file("SKEP_TEST_NOBODY")).unwrap_err();
    assert!(
        refusal.contains("\"SKEP_TEST_NOBODY\" is not set"),
        "{refusal}"
    );
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

/// The place of a number below zero is told with names of Docker's own structures.
#[test]
fn a_number_below_zero_is_told_by_its_place_in_the_service() {
    for (name, part, place) in [
        ("a", "deploy: {replicas: -1}", "Deploy.Replicas"),
        ("a.", "deploy: {replicas: -1}", "Deploy.Replicas"),
        ("..", "healthcheck: {retries: -1}", "HealthCheck.Retries"),
        ("ä.b", "ports: [{target: -1}]", "Ports[0].Target"),
        (
            "1.5",
            "deploy: {placement: {max_replicas_per_node: -1}}",
            "Deploy.Placement.max_replicas_per_node",
        ),
    ] {
        let text = format!("{{version: \"3.8\", services: {{\"{name}\": {{image: x, {part}}}}}}}");
        let file = parse(&text).unwrap().file;
        let error = check(&file, Dialect::Docker { exact: false }).unwrap_err();
        let expected = format!("\n\ncannot parse '{place}', -1 overflows uint");
        assert!(
            error.message.ends_with(&expected),
            "{name}: {}",
            error.message
        );
    }
}

#[test]
fn a_base_that_is_not_there_is_told_with_who_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.yml");
    std::fs::write(&other, "services: {c: {image: x}}").unwrap();
    for (extends, place) in [
        (json!("b"), String::new()),
        (
            json!({"service": "b", "file": "other.yml"}),
            format!(" in {}", other.display()),
        ),
    ] {
        let file = json!({"services": {"a": {"image": "x", "extends": extends}}});
        let error = outcome(dir.path(), &file).unwrap_err();
        let expected = format!("cannot extend service \"a\"{place}: service \"b\" not found");
        assert_eq!(error, expected);
    }
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

/// A key, where it stands in words of an error, and the minor version it came with.
const SINCE: &[(&str, &str, u32)] = &[
    (
        "{secrets: {s: {file: x}}}",
        "(root) Additional property secrets",
        1,
    ),
    (
        "{services: {a: {secrets: [s]}}}",
        "services.a Additional property secrets",
        1,
    ),
    (
        "{services: {a: {ports: [{target: 80}]}}}",
        "services.a.ports.0 must be a string or number",
        2,
    ),
    (
        "{services: {a: {volumes: [{type: volume, target: /x}]}}}",
        "services.a.volumes.0 must be a string",
        2,
    ),
    (
        "{services: {a: {deploy: {endpoint_mode: vip}}}}",
        "services.a.deploy Additional property endpoint_mode",
        2,
    ),
    (
        "{services: {a: {build: {cache_from: [x]}}}}",
        "services.a.build Additional property cache_from",
        2,
    ),
    (
        "{networks: {n: {attachable: true}}}",
        "networks.n Additional property attachable",
        2,
    ),
    (
        "{configs: {c: {file: x}}}",
        "(root) Additional property configs",
        3,
    ),
    (
        "{services: {a: {configs: [c]}}}",
        "services.a Additional property configs",
        3,
    ),
    (
        "{configs: {c: {file: x}}, services: {a: {configs: [c]}}}",
        "services.a Additional property configs",
        3,
    ),
    (
        "{services: {a: {credential_spec: {file: x}}}}",
        "services.a Additional property credential_spec",
        3,
    ),
    (
        "{services: {a: {build: {labels: {a: b}}}}}",
        "services.a.build Additional property labels",
        3,
    ),
    (
        "{services: {a: {deploy: {placement: {preferences: [{spread: x}]}}}}}",
        "services.a.deploy.placement Additional property preferences",
        3,
    ),
    ("{x-y: 1}", "(root) Additional property x-y", 4),
    (
        "{services: {a: {build: {network: x}}}}",
        "services.a.build Additional property network",
        4,
    ),
    (
        "{services: {a: {build: {target: x}}}}",
        "services.a.build Additional property target",
        4,
    ),
    (
        "{services: {a: {healthcheck: {start_period: 1s}}}}",
        "services.a.healthcheck Additional property start_period",
        4,
    ),
    (
        "{services: {a: {deploy: {update_config: {order: start-first}}}}}",
        "services.a.deploy.update_config Additional property order",
        4,
    ),
    (
        "{volumes: {v: {name: x}}}",
        "volumes.v Additional property name",
        4,
    ),
    (
        "{services: {a: {isolation: x}}}",
        "services.a Additional property isolation",
        5,
    ),
    (
        "{services: {a: {build: {shm_size: 1}}}}",
        "services.a.build Additional property shm_size",
        5,
    ),
    (
        "{services: {a: {deploy: {resources: {reservations: {generic_resources: []}}}}}}",
        "services.a.deploy.resources.reservations Additional property generic_resources",
        5,
    ),
    (
        "{networks: {n: {name: x}}}",
        "networks.n Additional property name",
        5,
    ),
    (
        "{secrets: {s: {name: x, file: x}}}",
        "secrets.s Additional property name",
        5,
    ),
    (
        "{configs: {c: {name: x, file: x}}}",
        "configs.c Additional property name",
        5,
    ),
    (
        "{services: {a: {volumes: [{type: tmpfs, target: /x, tmpfs: {size: 1}}]}}}",
        "services.a.volumes.0 Additional property tmpfs",
        6,
    ),
    (
        "{services: {a: {init: true}}}",
        "services.a Additional property init",
        7,
    ),
    (
        "{services: {a: {deploy: {rollback_config: {order: stop-first}}}}}",
        "services.a.deploy Additional property rollback_config",
        7,
    ),
    (
        "{services: {a: {x-y: 1}}}",
        "services.a Additional property x-y",
        7,
    ),
    (
        "{networks: {n: {x-y: 1}}}",
        "networks.n Additional property x-y",
        7,
    ),
    (
        "{volumes: {v: {x-y: 1}}}",
        "volumes.v Additional property x-y",
        7,
    ),
    (
        "{secrets: {s: {x-y: 1}}}",
        "secrets.s Additional property x-y",
        7,
    ),
    (
        "{configs: {c: {x-y: 1}}}",
        "configs.c Additional property x-y",
        7,
    ),
    (
        "{services: {a: {credential_spec: {config: x}}}}",
        "services.a.credential_spec Additional property config",
        8,
    ),
    (
        "{services: {a: {deploy: {placement: {max_replicas_per_node: 1}}}}}",
        "services.a.deploy.placement Additional property max_replicas_per_node",
        8,
    ),
    (
        "{secrets: {s: {driver: x}}}",
        "secrets.s Additional property driver",
        8,
    ),
    (
        "{secrets: {s: {driver_opts: {a: b}}}}",
        "secrets.s Additional property driver_opts",
        8,
    ),
    (
        "{secrets: {s: {template_driver: golang}}}",
        "secrets.s Additional property template_driver",
        8,
    ),
    (
        "{configs: {c: {template_driver: golang}}}",
        "configs.c Additional property template_driver",
        8,
    ),
    (
        "{services: {a: {cgroupns_mode: x}}}",
        "services.a Additional property cgroupns_mode",
        9,
    ),
    (
        "{services: {a: {build: {extra_hosts: [x]}}}}",
        "services.a.build Additional property extra_hosts",
        9,
    ),
    (
        "{services: {a: {deploy: {resources: {limits: {pids: 5}}}}}}",
        "services.a.deploy.resources.limits Additional property pids",
        9,
    ),
    (
        "{services: {a.b: {build: {other: x}}}}",
        "services.a.b.build Additional property other",
        12,
    ),
    (
        "{services: {a: {healthcheck: {start_interval: 1s}}}}",
        "services.a.healthcheck Additional property start_interval",
        12,
    ),
    (
        "{services: {a: {oom_score_adj: 5}}}",
        "services.a Additional property oom_score_adj",
        13,
    ),
    (
        "{services: {a: {networks: {n.m: {driver_opts: {a: b}}}}}}",
        "services.a.networks.n.m Additional property driver_opts",
        13,
    ),
];

#[test]
fn a_key_needs_the_version_it_came_with() {
    let docker = Dialect::Docker { exact: false };
    for (text, expected, since) in SINCE {
        let with = |version: &str| {
            let mut file = parse(text).unwrap().file;
            file["version"] = json!(version);
            check(&file, docker).map_err(|error| error.message)
        };
        let error = with(&format!("3.{}", since - 1)).unwrap_err();
        let told = match expected.contains("Additional") {
            true => format!("{expected} is not allowed\n(\""),
            false => (*expected).to_owned(),
        };
        assert!(error.starts_with(&told), "{text}: {error}");
        if expected.contains("Additional") {
            let needs = format!("needs version 3.{since})");
            assert!(error.ends_with(&needs), "{text}: {error}");
        }
        for version in [&format!("3.{since}"), "3", ""] {
            assert_eq!(with(version), Ok(()), "{text} in {version:?}");
        }
    }
}

#[test]
fn the_nearest_key_is_one_of_the_file_s_version() {
    let file = |version: &str| json!({"version": version, "services": {"a": {"isolatio": "x"}}});
    let told = |version| {
        let docker = Dialect::Docker { exact: false };
        check(&file(version), docker).unwrap_err().message
    };
    let refused = "services.a Additional property isolatio is not allowed";
    assert_eq!(
        told("3.5"),
        format!("{refused}\nDid you mean \"isolation\"?")
    );
    assert_eq!(told("3.4"), refused);
}
