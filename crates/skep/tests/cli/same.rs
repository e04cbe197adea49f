//! What no user and no daemon can tell apart is made the same.

use serde_json::Value;

/// Ages grow with time; a stack's objects come in any order, since Docker keeps them in maps.
pub fn text(text: &str, line: &str) -> String {
    let aged = ages(text);
    if !line.starts_with("stack") || line.starts_with("stack config") {
        return aged;
    }
    let mut lines: Vec<&str> = aged.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// `6 years ago` as `N years ago`.
fn ages(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for part in text.split(" years ago") {
        let digits = part.len() - part.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        out.push(part[..part.len() - digits].to_owned());
    }
    let last = text.rsplit(" years ago").next().unwrap_or_default();
    if let Some(end) = out.last_mut() {
        last.clone_into(end);
    }
    out.join("N years ago")
}

/// Requests that change something, without empty fields.
pub fn requests(all: &[Value], line: &str) -> Vec<Value> {
    let mut kept: Vec<Value> = all
        .iter()
        .filter(|request| request["method"] != "GET")
        .map(stripped)
        .collect();
    if line.starts_with("stack") {
        kept.sort_by_key(|r| format!("{} {} {r}", r["path"], r["body"]["Name"]));
    }
    kept
}

/// Go leaves out, or writes as null, what is empty.
fn stripped(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut sorted: Vec<(&String, Value)> = map
                .iter()
                .map(|(key, value)| (key, stripped(value)))
                .filter(|(_, value)| !is_empty(value))
                .collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            for (key, value) in &mut sorted {
                if let ("Mounts", Value::Array(mounts)) = (key.as_str(), value) {
                    mounts.sort_by_key(Value::to_string);
                }
            }
            sorted.into_iter().map(|(k, v)| (k.clone(), v)).collect()
        }
        Value::Array(items) => items.iter().map(stripped).collect(),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
