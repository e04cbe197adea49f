//! Several files: later ones override earlier ones.

use serde_json::{Map, Value};

/// Lists that are merged by a key of their entries.
const KEYED: [(&str, &str); 4] = [
    ("ports", "published"),
    ("secrets", "source"),
    ("configs", "source"),
    ("volumes", "target"),
];
/// What is replaced as a whole.
const REPLACED: [&str; 5] = ["command", "entrypoint", "ulimits", "test", "aliases"];

/// `base` with `over` laid over it.
pub(super) fn merge(base: Value, over: Value) -> Value {
    let (Value::Object(mut base), Value::Object(over)) = (base, over) else {
        return Value::Null;
    };
    for (section, content) in over {
        match (base.remove(&section), content) {
            (Some(Value::Object(known)), Value::Object(new)) => {
                base.insert(section, Value::Object(merge_section(known, new)));
            }
            (_, new) => drop(base.insert(section, new)),
        }
    }
    Value::Object(base)
}

fn merge_section(mut known: Map<String, Value>, new: Map<String, Value>) -> Map<String, Value> {
    for (name, entry) in new {
        let merged = match (known.remove(&name), entry) {
            (Some(Value::Object(known)), Value::Object(new)) => {
                Value::Object(merge_map(known, new))
            }
            (_, new) => new,
        };
        known.insert(name, merged);
    }
    known
}

/// One service over another; both in their long forms.
pub(super) fn merge_service(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => Value::Object(merge_map(base, over)),
        (_, over) => over,
    }
}

fn merge_map(mut known: Map<String, Value>, new: Map<String, Value>) -> Map<String, Value> {
    let other_driver = known.get("driver").is_some()
        && new.get("driver").is_some()
        && known["driver"] != new["driver"];
    for (key, value) in new {
        let merged = match (known.remove(&key), value) {
            // Options of another log driver are not ours.
            (Some(_), new) if other_driver && key == "options" => new,
            (Some(_), new) if REPLACED.contains(&key.as_str()) => new,
            (Some(Value::Object(known)), Value::Object(new)) => {
                Value::Object(merge_map(known, new))
            }
            (Some(Value::Array(known)), Value::Array(new)) => {
                Value::Array(merge_list(&key, known, new))
            }
            (_, new) => new,
        };
        known.insert(key, merged);
    }
    known
}

fn merge_list(key: &str, mut known: Vec<Value>, new: Vec<Value>) -> Vec<Value> {
    match KEYED.iter().find(|(name, _)| *name == key) {
        Some((_, field)) => {
            for entry in new {
                known.retain(|old| old[field] != entry[field]);
                known.push(entry);
            }
            if key == "ports" {
                known.sort_by_key(|port| port["published"].as_u64());
            }
        }
        None => known.extend(new),
    }
    known
}
