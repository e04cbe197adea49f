//! What templates can call.

use std::cmp::Ordering;

use serde_json::Value;

use super::eval::number_value;
use super::values::{LABELS, is_true, print};

const NAMES: [&str; 24] = [
    "json", "lower", "upper", "title", "split", "join", "pad", "truncate", "println", "print",
    "printf", "len", "index", "slice", "html", "urlquery", "eq", "ne", "lt", "le", "gt", "ge",
    "and", "or",
];

/// Whether templates can call it.
pub(super) fn is_function(name: &str) -> bool {
    name == "not" || NAMES.contains(&name)
}

/// Calls a function by name; what is wrong with the arguments otherwise.
pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, String> {
    let text = |at: usize| args.get(at).map(print).unwrap_or_default();
    let wants = |count: usize| {
        (args.len() >= count).then_some(()).ok_or_else(|| {
            format!(
                "wrong number of args for {name}: want {count} got {}",
                args.len()
            )
        })
    };
    Ok(match name {
        "json" => {
            wants(1)?;
            Value::from(json_text(&args[0]))
        }
        "lower" => Value::from(text(0).to_lowercase()),
        "upper" => Value::from(text(0).to_uppercase()),
        "title" => Value::from(title(&text(0))),
        "split" => {
            wants(2)?;
            Value::from(text(0).split(&text(1)).map(Value::from).collect::<Vec<_>>())
        }
        "join" => {
            wants(2)?;
            let items = args[0]
                .as_array()
                .map(|items| items.iter().map(print).collect::<Vec<_>>());
            Value::from(items.unwrap_or_default().join(&text(1)))
        }
        "pad" => {
            wants(3)?;
            let spaces = |at: usize| {
                " ".repeat(
                    usize::try_from(args[at].as_u64().unwrap_or(0))
                        .unwrap_or(0)
                        .min(4096),
                )
            };
            Value::from(if text(0).is_empty() {
                String::new()
            } else {
                format!("{}{}{}", spaces(1), text(0), spaces(2))
            })
        }
        "truncate" => {
            wants(2)?;
            let most = usize::try_from(args[1].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
            Value::from(text(0).chars().take(most).collect::<String>())
        }
        "println" => Value::from(format!(
            "{}\n",
            args.iter().map(print).collect::<Vec<_>>().join(" ")
        )),
        "print" => Value::from(args.iter().map(print).collect::<String>()),
        "printf" => Value::from(printf(&text(0), args.get(1..).unwrap_or_default())),
        "len" => {
            wants(1)?;
            Value::from(match &args[0] {
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                Value::String(text) => text.len(),
                Value::Null => 0,
                other => {
                    return Err(format!(
                        "error calling len: len of type {}",
                        super::values::kind_of(other)
                    ));
                }
            })
        }
        "index" => index(args)?,
        "slice" => {
            wants(1)?;
            slice(args)?
        }
        "html" => Value::from(html(&args.iter().map(print).collect::<String>())),
        "urlquery" => Value::from(crate::client::escape(&text(0)).replace("%20", "+")),
        "eq" => {
            wants(2)?;
            let text_and_number = |a: &Value, b: &Value| a.is_string() && b.is_number();
            if args[1..]
                .iter()
                .any(|other| text_and_number(&args[0], other) || text_and_number(other, &args[0]))
            {
                return Err("error calling eq: incompatible types for comparison".to_owned());
            }
            Value::Bool(
                args[1..]
                    .iter()
                    .any(|other| compare(&args[0], other) == Ordering::Equal),
            )
        }
        "ne" | "lt" | "le" | "gt" | "ge" => {
            wants(2)?;
            let order = compare(&args[0], &args[1]);
            Value::Bool(match name {
                "ne" => order.is_ne(),
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
        "and" => args
            .iter()
            .find(|value| !is_true(value))
            .or(args.last())
            .cloned()
            .unwrap_or(Value::Null),
        "or" => args
            .iter()
            .find(|value| is_true(value))
            .or(args.last())
            .cloned()
            .unwrap_or(Value::Null),
        "not" => Value::Bool(!args.first().is_some_and(is_true)),
        other => return Err(format!("function {other:?} not defined")),
    })
}

/// JSON as Go's encoder has it; a row tells all its fields, sorted.
fn json_text(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.contains_key(LABELS) => {
            let mut all: Vec<_> = fields.iter().filter(|(name, _)| *name != LABELS).collect();
            all.sort_by_key(|(name, _)| *name);
            let sorted = all
                .into_iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            crate::output::escaped_json(&Value::Object(sorted))
        }
        other => other.to_string(),
    }
}

fn index(args: &[Value]) -> Result<Value, String> {
    let Some((first, keys)) = args.split_first() else {
        return Err("wrong number of args for index: want at least 1 got 0".to_owned());
    };
    keys.iter()
        .try_fold(first.clone(), |value, key| match (&value, key) {
            (Value::Array(items), key) => key
                .as_u64()
                .and_then(|at| items.get(usize::try_from(at).ok()?))
                .cloned()
                .ok_or_else(|| format!("error calling index: index out of range: {}", print(key))),
            (Value::String(text), key) => key
                .as_u64()
                .and_then(|at| text.as_bytes().get(usize::try_from(at).ok()?))
                .map(|byte| Value::from(*byte))
                .ok_or_else(|| format!("error calling index: index out of range: {}", print(key))),
            (Value::Object(fields), key) => {
                Ok(fields.get(&print(key)).cloned().unwrap_or(Value::from("")))
            }
            (Value::Null, _) => Ok(Value::from("")),
            (other, _) => Err(format!(
                "error calling index: can't index item of type {}",
                super::values::kind_of(other)
            )),
        })
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let place = |at: usize, otherwise: usize| {
        args.get(at).map_or(Ok(otherwise), |value| {
            value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .ok_or_else(|| {
                    format!(
                        "error calling slice: cannot index slice/array with type {}",
                        super::values::kind_of(value)
                    )
                })
        })
    };
    let bad = |at: usize| format!("error calling slice: index out of range: {at}");
    match &args[0] {
        Value::String(text) => {
            let (from, to) = (place(1, 0)?, place(2, text.len())?);
            text.get(from..to).map(Value::from).ok_or_else(|| bad(to))
        }
        Value::Array(items) => {
            let (from, to) = (place(1, 0)?, place(2, items.len())?);
            items
                .get(from..to)
                .map(|items| Value::from(items.to_vec()))
                .ok_or_else(|| bad(to))
        }
        other => Err(format!(
            "error calling slice: can't slice item of type {}",
            super::values::kind_of(other)
        )),
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        _ => print(a).cmp(&print(b)),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let upper = if start { c.to_ascii_uppercase() } else { c };
            start = !c.is_alphanumeric();
            upper
        })
        .collect()
}

/// `%s`, `%v`, `%d`, `%q`, `%%` and widths.
fn printf(format: &str, args: &[Value]) -> String {
    let mut text = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+')) {
            spec.push(c);
        }
        match chars.next() {
            Some('%') => text.push('%'),
            Some(verb) => {
                let value = args.next().unwrap_or(&Value::Null);
                let digits = spec
                    .split_once('.')
                    .map_or(6, |(_, digits)| digits.parse().unwrap_or(0).min(64));
                let number = value.as_f64().unwrap_or(0.0);
                let shown = match verb {
                    'q' => format!("{:?}", print(value)),
                    'f' => format!("{number:.digits$}"),
                    'd' => print(&number_value(number)),
                    'x' => format!("{:x}", value.as_i64().unwrap_or(0)),
                    's' if spec.contains('.') => print(value).chars().take(digits).collect(),
                    _ => print(value),
                };
                let width = spec
                    .trim_start_matches(['-', '+'])
                    .split('.')
                    .next()
                    .and_then(|w| w.parse().ok())
                    .unwrap_or(0);
                let width: usize = usize::min(width, 4096);
                text.push_str(&if spec.starts_with('-') {
                    format!("{shown:<width$}")
                } else {
                    format!("{shown:>width$}")
                });
            }
            None => text.push('%'),
        }
    }
    text
}
