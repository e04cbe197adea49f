//! Bodies of requests as sorted lines, so that what is absent, null or empty can be told apart.

use std::collections::BTreeSet;

use serde_json::Value;

/// One line a leaf: `HostConfig.Memory: 67108864`.
pub fn lines(body: &Value) -> Vec<String> {
    let mut all = Vec::new();
    flatten("", body, &mut all);
    all
}

fn flatten(path: &str, value: &Value, all: &mut Vec<String>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut names: Vec<_> = fields.keys().collect();
            names.sort();
            for name in names {
                flatten(&below(name), &fields[name], all);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                flatten(&below(&at.to_string()), item, all);
            }
        }
        leaf => all.push(format!("{path}: {leaf}")),
    }
}

/// What one body has more and less than another.
pub fn difference(base: &[String], lines: &[String]) -> Vec<String> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (base.iter().collect(), lines.iter().collect());
    let gone = old.difference(&new).map(|line| format!("-{line}"));
    let come = new.difference(&old).map(|line| format!("+{line}"));
    gone.chain(come).collect()
}
