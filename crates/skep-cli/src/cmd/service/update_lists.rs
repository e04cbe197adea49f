//! Lists and maps of a spec, changed by `--x-add` and `--x-rm`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::grammar::Matches;
use crate::opts::map_from;

/// Takes out what is gone and adds what is new, each once.
pub(super) fn change_list(parent: &mut Value, field: &str, gone: &[String], added: Vec<String>) {
    let mut all = strings(&parent[field]);
    all.retain(|known| !gone.contains(known));
    for new in added {
        if !all.contains(&new) {
            all.push(new);
        }
    }
    set_list(parent, field, all);
}

/// `--flag-add key=value`, `--flag-rm key`.
pub(super) fn change_map(parent: &mut Value, field: &str, matches: &Matches, flag: &str) {
    let (add, rm) = (format!("{flag}-add"), format!("{flag}-rm"));
    if !matches.given(&add) && !matches.given(&rm) {
        return;
    }
    let map = object(&mut parent[field]);
    for gone in matches.list(&rm) {
        map.shift_remove(gone);
    }
    for (key, value) in map_from(matches.list(&add)) {
        map.insert(key, value);
    }
    let sorted: BTreeMap<String, Value> = std::mem::take(map).into_iter().collect();
    map.extend(sorted);
}

/// Takes out what is named, then puts in what is new in the place of what has the same key.
pub(super) fn replace_by(
    parent: &mut Value,
    field: &str,
    key: &str,
    gone: &[String],
    added: Vec<Value>,
) {
    let mut all: Vec<Value> = parent[field].as_array().cloned().unwrap_or_default();
    let key_of = |value: &Value| value[key].as_str().unwrap_or_default().to_owned();
    all.retain(|value| !gone.contains(&key_of(value)));
    for new in added {
        all.retain(|value| key_of(value) != key_of(&new));
        all.push(new);
    }
    set_list(parent, field, all);
}

/// Sets a list, or takes it away where it is empty.
pub(super) fn set_list<T: Into<Value>>(parent: &mut Value, field: &str, list: Vec<T>) {
    if list.is_empty() {
        remove(parent, field);
    } else {
        parent[field] = list
            .into_iter()
            .map(Into::into)
            .collect::<Vec<Value>>()
            .into();
    }
}

/// Takes a field away.
pub(super) fn remove(parent: &mut Value, field: &str) {
    if let Some(parent) = parent.as_object_mut() {
        parent.shift_remove(field);
    }
}

/// The texts of a list.
pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// The object that a value is, or becomes.
pub(super) fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}
