//! In what two specs of a service differ, as far as a stack file says anything about it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compose::IMAGE_LABEL;

/// What managers put in where nothing is said.
const DEFAULTS: [(&str, &str); 6] = [
    ("Isolation", "default"),
    ("Runtime", "container"),
    ("Mode", "vip"),
    ("Name", ""),
    ("FailureAction", "pause"),
    ("Order", "stop-first"),
];
/// Counts that are one where nothing is said.
const ONE: [&str; 3] = ["Replicas", "MaxConcurrent", "TotalCompletions"];
/// How long an update is watched where nothing is said: nanoseconds.
const MONITOR: u64 = 5_000_000_000;
/// What a registry, or an earlier deployment, decides.
const NOT_IN_FILES: [&str; 5] = ["Image", "Platforms", "ForceUpdate", "SecretID", "ConfigID"];

/// Names of the fields that differ. `networks` are names by id.
pub(super) fn of(known: &Value, wanted: &Value, networks: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut known = known.clone();
    let attachments = known
        .pointer_mut("/TaskTemplate/Networks")
        .and_then(Value::as_array_mut);
    if let Some(attachments) = attachments {
        for attachment in attachments.iter_mut() {
            let id = attachment["Target"].as_str().unwrap_or_default();
            if let Some(name) = networks.get(id) {
                attachment["Target"] = (*name).into();
            }
        }
        attachments.sort_by_key(|attachment| attachment["Target"].to_string());
    }
    let mut found = Vec::new();
    compare("", &known, wanted, &mut found);
    found
}

fn compare(at: &str, known: &Value, wanted: &Value, found: &mut Vec<String>) {
    match (known, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                if NOT_IN_FILES.contains(&key.as_str()) {
                    continue;
                }
                let (a, b) = (&known[key], &wanted[key]);
                let is_default = DEFAULTS
                    .iter()
                    .any(|(field, value)| field == key && (a == value || is_nothing(a)))
                    && is_nothing(b);
                let is_one = ONE.contains(&key.as_str()) && *a == 1 && is_nothing(b);
                let is_monitor = key == "Monitor" && *a == MONITOR && is_nothing(b);
                if is_default || is_one || is_monitor || (is_nothing(a) && is_nothing(b)) {
                    continue;
                }
                compare(&inside(at, key), a, b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (a, b) in a.iter().zip(b) {
                let before = found.len();
                compare(at, a, b, found);
                if found.len() > before {
                    // Once is enough.
                    found.truncate(before + 1);
                    break;
                }
            }
        }
        (a, b) if same(a, b) => {}
        (a, b) => found.push(shown(at, a, b)),
    }
}

fn inside(at: &str, key: &str) -> String {
    // The first steps say nothing to a user.
    match at {
        "" | "TaskTemplate" | "ContainerSpec" => key.to_owned(),
        "Labels" if key == IMAGE_LABEL => "Image".to_owned(),
        at => format!("{at}.{key}"),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

/// Names of versions are names of what they are versions of.
fn same(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        let version = a.strip_prefix(b).and_then(|rest| rest.strip_prefix(".v"));
        return a == b || version.is_some_and(|number| number.parse::<u64>().is_ok());
    }
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn shown(at: &str, a: &Value, b: &Value) -> String {
    let is_short = |value: &Value| match value {
        Value::String(text) => text.len() <= 60,
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null => true,
        Value::Array(_) | Value::Object(_) => false,
    };
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    if is_short(a) && is_short(b) {
        format!("{at}: {} -> {}", plain(a), plain(b))
    } else {
        at.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_file_says_is_compared() {
        let known = json!({
            "Name": "a_web",
            "Labels": {"com.docker.stack.image": "nginx:1"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "nginx:1@sha256:1",
                    "Isolation": "default",
                    "Configs": [{"ConfigID": "c2", "ConfigName": "a_cfg.v2"}],
                },
                "Networks": [{"Target": "id1", "Aliases": ["web"]}],
                "Placement": {"Platforms": [{"OS": "linux"}]},
                "Runtime": "container",
                "ForceUpdate": 3,
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "vip"},
        });
        let wanted = |image: &str, replicas: Value| {
            json!({
                "Name": "a_web",
                "Labels": {"com.docker.stack.image": image},
                "TaskTemplate": {
                    "ContainerSpec": {
                        "Image": image,
                        "Privileges": {"CredentialSpec": null, "NoNewPrivileges": false},
                        "Configs": [{"ConfigID": "", "ConfigName": "a_cfg"}],
                    },
                    "Networks": [{"Target": "a_default", "Aliases": ["web"]}],
                    "Placement": {},
                    "ForceUpdate": 0,
                },
                "Mode": {"Replicated": replicas},
                "EndpointSpec": {},
            })
        };
        let networks = BTreeMap::from([("id1", "a_default")]);
        let check = |wanted: &Value| of(&known, wanted, &networks);
        assert!(check(&wanted("nginx:1", json!({}))).is_empty());
        assert_eq!(
            check(&wanted("nginx:2", json!({"Replicas": 3}))),
            [
                "Image: nginx:1 -> nginx:2",
                "Mode.Replicated.Replicas: 1 -> 3"
            ]
        );
    }

    #[test]
    fn what_managers_put_in_is_no_difference() {
        let known = json!({
            "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
            "RollbackConfig": {
                "Parallelism": 2,
                "FailureAction": "pause",
                "Monitor": 5_000_000_000_u64,
                "Order": "stop-first",
            },
        });
        let wanted = json!({"Mode": {"ReplicatedJob": {}}, "RollbackConfig": {"Parallelism": 2}});
        let none: [&str; 0] = [];
        assert_eq!(of(&known, &wanted, &BTreeMap::new()), none);
    }
}
