//! What templates can call.

use std::cmp::Ordering;

use serde_json::Value;

use super::held::{Held, Shape};
use super::printf::{print_all, printf};
use super::tree::Term;
use super::types::Form;
use super::values::{LABELS, print};

/// What a function takes: a type for each argument; the last one again and again after `...`.
pub(super) struct Function {
    name: &'static str,
    takes: &'static [&'static str],
    at_least: Option<usize>,
}

const fn fixed(name: &'static str, takes: &'static [&'static str]) -> Function {
    Function {
        name,
        takes,
        at_least: None,
    }
}

const fn open(name: &'static str, at_least: usize) -> Function {
    Function {
        name,
        takes: &[],
        at_least: Some(at_least),
    }
}

const FUNCTIONS: [Function; 27] = [
    fixed("json", &["any"]),
    fixed("lower", &["string"]),
    fixed("upper", &["string"]),
    fixed("title", &["string"]),
    fixed("split", &["string", "string"]),
    fixed("join", &["[]string", "string"]),
    fixed("pad", &["string", "int", "int"]),
    fixed("truncate", &["string", "int"]),
    fixed("len", &["any"]),
    fixed("ne", &["any", "any"]),
    fixed("lt", &["any", "any"]),
    fixed("le", &["any", "any"]),
    fixed("gt", &["any", "any"]),
    fixed("ge", &["any", "any"]),
    fixed("not", &["any"]),
    open("println", 0),
    open("print", 0),
    open("printf", 1),
    open("html", 0),
    open("js", 0),
    open("urlquery", 0),
    open("index", 1),
    open("slice", 1),
    open("call", 1),
    open("eq", 1),
    open("and", 1),
    open("or", 1),
];

/// A function by its name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Whether templates can call it.
pub(super) fn is_function(name: &str) -> bool {
    find(name).is_some()
}

/// Functions that shape a value; a head is left as it is.
pub(super) fn leaves_heads(name: &str) -> bool {
    matches!(
        name,
        "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate"
    )
}

impl Function {
    /// Whether so many arguments are right; `written` of them are behind the name.
    pub(super) fn check_count(
        &self,
        name: &str,
        given: usize,
        written: usize,
    ) -> Result<(), String> {
        let want = self.takes.len();
        match self.at_least {
            Some(least) if given < least => Err(format!(
                "wrong number of args for {name}: want at least {least} got {written}"
            )),
            None if given != want => Err(format!(
                "wrong number of args for {name}: want {want} got {given}"
            )),
            _ => Ok(()),
        }
    }

    /// Whether an argument fits; `term` is how it is written, where it is.
    pub(super) fn check(
        &self,
        number: usize,
        value: &Held,
        term: Option<&Term>,
    ) -> Result<(), String> {
        let wanted = match (self.name, number) {
            ("printf", 0) => "string",
            _ => self.takes.get(number).copied().unwrap_or("any"),
        };
        let is_literal = matches!(
            term,
            Some(Term::Text(..) | Term::Number(..) | Term::Bool(_) | Term::Nil)
        );
        let own = value.type_name();
        let fits = match wanted {
            "any" => true,
            "[]string" => {
                let is_guess = matches!(value.shape, Shape::Guess(_) | Shape::Raw);
                own == wanted
                    || (is_guess && value.value.is_array())
                    || (matches!(value.shape, Shape::Guess(_)) && value.value.is_null())
            }
            "int" => value.value.is_number() && (own == "int" || is_literal),
            _ => own == wanted,
        };
        if fits {
            return Ok(());
        }
        Err(match term {
            Some(Term::Nil) => format!("cannot assign nil to {wanted}"),
            Some(term) if is_literal => {
                let word = if wanted == "int" { "integer" } else { wanted };
                format!("expected {word}; found {term}")
            }
            _ if value.shape == Shape::Nothing => format!("invalid value; expected {wanted}"),
            _ => format!("wrong type for value; expected {wanted}; got {own}"),
        })
    }
}

/// Calls a function by name; what is wrong with the arguments otherwise.
pub(super) fn call(name: &str, args: &[Held], terms: &[Term]) -> Result<Held, String> {
    let text = |at: usize| args.get(at).map(print).unwrap_or_default();
    let number = |at: usize| {
        let number = args.get(at).and_then(|held| held.value.as_u64());
        usize::try_from(number.unwrap_or(0)).unwrap_or(usize::MAX)
    };
    Ok(match name {
        "json" => Held::text(json_text(&args[0].value)),
        "lower" => Held::text(text(0).to_lowercase()),
        "upper" => Held::text(text(0).to_uppercase()),
        "title" => Held::text(title(&text(0))),
        "split" => {
            let parts = text(0);
            let separator = text(1);
            let parts: Vec<Value> = match separator.as_str() {
                "" => parts.chars().map(|c| Value::from(c.to_string())).collect(),
                separator => parts.split(separator).map(Value::from).collect(),
            };
            Held::new(parts.into(), "[]string")
        }
        "join" => {
            let items = args[0].items().unwrap_or_default();
            let items: Vec<String> = items.iter().map(|(_, item)| print(item)).collect();
            Held::text(items.join(&text(1)))
        }
        "pad" => {
            let spaces = |at: usize| " ".repeat(number(at).min(4096));
            Held::text(match text(0) {
                empty if empty.is_empty() => empty,
                full => format!("{}{full}{}", spaces(1), spaces(2)),
            })
        }
        "truncate" => Held::text(text(0).chars().take(number(1)).collect::<String>()),
        "println" => {
            let all: Vec<String> = args.iter().map(print).collect();
            Held::text(all.join(" ") + "\n")
        }
        "print" => Held::text(print_all(args)),
        "printf" => Held::text(printf(&text(0), &args[1..])),
        "len" => Held::number(length(&args[0])?),
        "index" => index(args)?,
        "slice" => slice(args)?,
        "html" => Held::text(html(&print_all(args))),
        "js" => Held::text(js(&print_all(args))),
        "urlquery" => Held::text(crate::client::escape(&print_all(args)).replace("%20", "+")),
        "call" => {
            let written = terms.first().map(ToString::to_string).unwrap_or_default();
            return Err(format!(
                "non-function {written} of type {}",
                args[0].type_name()
            ));
        }
        "eq" => {
            if args.len() < 2 {
                return Err("missing argument for comparison".to_owned());
            }
            let mut found = false;
            for other in &args[1..] {
                found |= compare(&args[0], other)? == Ordering::Equal;
            }
            Held::bool(found)
        }
        "ne" => Held::bool(compare(&args[0], &args[1])?.is_ne()),
        "lt" | "le" | "gt" | "ge" => {
            if args.iter().any(|held| held.value.is_boolean()) {
                return Err("invalid type for comparison".to_owned());
            }
            let order = compare(&args[0], &args[1])?;
            Held::bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
        // The last one that was looked at decides.
        "and" | "or" => args.last().cloned().unwrap_or_else(Held::nothing),
        "not" => Held::bool(!args[0].is_true()),
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

fn length(held: &Held) -> Result<usize, String> {
    let held = held.clone().pointed();
    match (&held.value, held.form()) {
        (_, Form::Struct(_)) => {}
        _ if matches!(held.shape, Shape::Row(_)) => {}
        (Value::String(_), Form::Bytes) => return Ok(held.bytes().len()),
        (Value::String(text), _) => return Ok(text.len()),
        (Value::Array(items), _) => return Ok(items.len()),
        (Value::Object(fields), _) => return Ok(fields.len()),
        (Value::Null, Form::List(_) | Form::Map(_)) => return Ok(0),
        (Value::Null, _) if matches!(held.shape, Shape::Guess(_)) => return Ok(0),
        (Value::Null, _) => return Err("len of nil pointer".to_owned()),
        _ => {}
    }
    Err(format!("len of type {}", held.type_name()))
}

fn place(held: &Held, most: usize) -> Result<usize, String> {
    let Some(number) = held.value.as_i64() else {
        return Err(format!(
            "cannot index slice/array with type {}",
            held.type_name()
        ));
    };
    match usize::try_from(number) {
        Ok(place) if place <= most => Ok(place),
        _ => Err(format!("index out of range: {number}")),
    }
}

fn index(args: &[Held]) -> Result<Held, String> {
    let mut held = args[0].clone();
    if held.shape == Shape::Nothing {
        return Err("index of untyped nil".to_owned());
    }
    for key in &args[1..] {
        held = held.pointed();
        let form = held.form();
        held = match (&held.value, form) {
            (Value::String(text), Form::Text | Form::Any) => {
                let byte = place(key, text.len().saturating_sub(1))?;
                let byte = text.as_bytes().get(byte);
                Held::new((*byte.ok_or("index out of range: 0")?).into(), "uint8")
            }
            (Value::Object(_) | Value::Null, Form::Map(_) | Form::Any) if key.value.is_string() => {
                let found = held.field(&print(key));
                match (found, held.form()) {
                    (Ok(found), Form::Map("string")) if found.shape == Shape::Nothing => {
                        Held::text("")
                    }
                    (Ok(found), _) => found,
                    (Err(_), _) if matches!(held.shape, Shape::Guess(_)) => Held::text(""),
                    (Err(_), _) => Held::nothing(),
                }
            }
            (Value::Object(_), Form::Map(_) | Form::Any) => {
                return Err(format!(
                    "value has type {}; should be string",
                    key.type_name()
                ));
            }
            (_, Form::Struct(_) | Form::Bool | Form::Number) => {
                return Err(format!("can't index item of type {}", held.type_name()));
            }
            _ => {
                let Some(items) = held.items() else {
                    return Err(format!("can't index item of type {}", held.type_name()));
                };
                let at = place(key, usize::MAX)?;
                let found = items.into_iter().nth(at);
                let found = found.ok_or_else(|| format!("index out of range: {at}"))?;
                found.1
            }
        };
    }
    Ok(held)
}

fn slice(args: &[Held]) -> Result<Held, String> {
    let held = &args[0];
    let most = match &held.value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Null if held.shape == Shape::Nothing => {
            return Err("slice of untyped nil".to_owned());
        }
        _ => return Err(format!("can't slice item of type {}", held.type_name())),
    };
    let from = args.get(1).map_or(Ok(0), |held| place(held, most))?;
    let to = args.get(2).map_or(Ok(most), |held| place(held, most))?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    let value = match &held.value {
        Value::String(text) => {
            let cut = text.get(from..to);
            Value::from(cut.ok_or_else(|| format!("index out of range: {to}"))?)
        }
        Value::Array(items) => Value::from(items[from..to].to_vec()),
        other => other.clone(),
    };
    Ok(Held {
        value,
        shape: held.shape.clone(),
    })
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
        .replace('\0', "\u{fffd}")
}

fn js(text: &str) -> String {
    let escaped = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        '\'' => "\\'".to_owned(),
        '"' => "\\\"".to_owned(),
        '<' | '>' | '&' | '=' => format!("\\u{:04X}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

fn compare(a: &Held, b: &Held) -> Result<Ordering, String> {
    let kind = |held: &Held| match (&held.value, held.form()) {
        (_, Form::Struct(_) | Form::List(_) | Form::Map(_)) => None,
        (Value::Null, _) => Some(0),
        (Value::Bool(_), _) => Some(1),
        (Value::Number(_), _) => Some(2),
        (Value::String(_), _) => Some(3),
        _ => None,
    };
    let (a, b) = (a.clone().pointed(), b.clone().pointed());
    match (kind(&a), kind(&b)) {
        (Some(first), Some(second)) if first == second => {
            Ok(match (a.value.as_f64(), b.value.as_f64()) {
                (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                _ => print(&a).cmp(&print(&b)),
            })
        }
        (Some(0), Some(_)) | (Some(_), Some(0)) => Ok(Ordering::Less),
        (None, _) => Err(format!(
            "non-comparable type {}: {}",
            print(&a),
            a.type_name()
        )),
        _ => Err("incompatible types for comparison".to_owned()),
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
