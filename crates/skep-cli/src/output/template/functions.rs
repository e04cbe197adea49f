//! What templates can call.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::eval::number_value;

/// Calls a function by name.
pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, TemplateError> {
    let text = |at: usize| args.get(at).map(print).unwrap_or_default();
    let wants = |count: usize| {
        (args.len() >= count).then_some(()).ok_or_else(|| {
            TemplateError(format!(
                "wrong number of args for {name}: want {count} got {}",
                args.len()
            ))
        })
    };
    Ok(match name {
        "json" => {
            wants(1)?;
            Value::from(args[0].to_string())
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
                    return Err(TemplateError(format!(
                        "error calling len: len of type {other}"
                    )));
                }
            })
        }
        "index" => args.get(1..).unwrap_or_default().iter().fold(
            args.first().cloned().unwrap_or(Value::Null),
            |value, key| match (&value, key) {
                (Value::Array(items), key) => key
                    .as_u64()
                    .and_then(|at| items.get(usize::try_from(at).ok()?))
                    .cloned()
                    .unwrap_or(Value::Null),
                (Value::Object(fields), key) => {
                    fields.get(&print(key)).cloned().unwrap_or(Value::from(""))
                }
                _ => Value::Null,
            },
        ),
        "eq" => {
            wants(2)?;
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
        other => return Err(TemplateError(format!("function \"{other}\" not defined"))),
    })
}

/// What Go prints for a value.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(print).collect::<Vec<_>>().join(" ")
        ),
        Value::Object(fields) => {
            let mut items: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{name}:{}", print(value)))
                .collect();
            items.sort();
            format!("map[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's truth: not zero, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
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
                let shown = match verb {
                    'q' => format!("{:?}", print(value)),
                    'f' => format!("{:.6}", value.as_f64().unwrap_or(0.0)),
                    'd' => print(&number_value(value.as_f64().unwrap_or(0.0))),
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
