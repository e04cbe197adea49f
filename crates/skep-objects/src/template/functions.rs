//! What templates can call.

use serde_json::Value;

use super::Library;
use super::compare::{compare, equal, equals_any};
use super::held::{Held, Shape};
use super::json::{escaped_json, plain_json};
use super::printf::{WIDEST, argument, print_all, printf};
use super::quote::is_print;
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

/// Go's own.
const GO: [Function; 19] = [
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
const FORMATS: [Function; 8] = [
    fixed("json", &["any"]),
    fixed("lower", &["string"]),
    fixed("upper", &["string"]),
    fixed("title", &["string"]),
    fixed("split", &["string", "string"]),
    fixed("join", &["[]string", "string"]),
    fixed("pad", &["string", "int", "int"]),
    fixed("truncate", &["string", "int"]),
];
const SPECS: [Function; 1] = [Function {
    name: "join",
    takes: &["string"],
    at_least: Some(0),
}];
const PAYLOADS: [Function; 3] = [
    fixed("env", &["string"]),
    fixed("secret", &["string"]),
    fixed("config", &["string"]),
];

impl Library<'_> {
    /// A function by its name.
    pub(super) fn find(self, name: &str) -> Option<&'static Function> {
        let (own, more): (&'static [Function], &'static [Function]) = match self {
            Self::Formats => (&FORMATS, &[]),
            Self::Specs => (&SPECS, &[]),
            Self::Payloads(_) => (&SPECS, &PAYLOADS),
        };
        let mut all = GO.iter().chain(own).chain(more);
        all.find(|function| function.name == name)
    }
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
            // The last one stands for those behind it.
            _ => match self.at_least {
                Some(_) => self.takes.last(),
                None => self.takes.get(number),
            }
            .copied()
            .unwrap_or("any"),
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
pub(super) fn call(
    library: Library<'_>,
    name: &str,
    args: &[Held],
    terms: &[Term],
) -> Result<Held, String> {
    let text = |at: usize| args.get(at).map(print).unwrap_or_default();
    let number = |at: usize| {
        let number = args.get(at).and_then(|held| held.value.as_i64());
        number.unwrap_or(i64::MAX)
    };
    Ok(match name {
        "json" => Held::text(json_text(&args[0].value)),
        "lower" => {
            let lower = |c: char| c.to_lowercase().next().unwrap_or(c);
            Held::text(text(0).chars().map(lower).collect::<String>())
        }
        "upper" => {
            let upper = |c: char| single(c, c.to_uppercase());
            Held::text(text(0).chars().map(upper).collect::<String>())
        }
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
        "join" if !matches!(library, Library::Formats) => {
            let texts: Vec<String> = args.iter().map(print).collect();
            let Some((separator, texts)) = texts.split_first() else {
                return Err("runtime error: slice bounds out of range [1:0]".to_owned());
            };
            Held::text(texts.join(separator))
        }
        "env" | "secret" | "config" => match library {
            Library::Payloads(payload) => Held::text(payload.get(name, &text(0))?),
            _ => return Err(format!("function {name:?} not defined")),
        },
        "join" => {
            let items = args[0].items().unwrap_or_default();
            let items: Vec<String> = items.iter().map(|(_, item)| print(item)).collect();
            Held::text(items.join(&text(1)))
        }
        "pad" => Held::text(pad(text(0), number(1), number(2))?),
        "truncate" => Held::text(truncate(text(0), number(1))?),
        "println" => {
            let all: Vec<String> = args.iter().map(argument).collect();
            Held::text(all.join(" ") + "\n")
        }
        "print" => Held::text(print_all(args)),
        "printf" => Held::text(printf(&text(0), &args[1..])),
        "len" => Held::number(length(&args[0])?),
        "index" => index(args)?,
        "slice" => slice(args)?,
        "html" => Held::text(html(&print_all(args))),
        "js" => Held::text(js(&print_all(args))),
        "urlquery" => Held::text(urlquery(&print_all(args))),
        "call" if args[0].shape == Shape::Nothing => return Err("call of nil".to_owned()),
        "call" => {
            let written = terms.first().map(ToString::to_string).unwrap_or_default();
            return Err(format!(
                "non-function {written} of type {}",
                args[0].type_name()
            ));
        }
        "eq" => Held::bool(equals_any(args)?),
        "ne" => Held::bool(!equal(&args[0], &args[1])?),
        "lt" => Held::bool(compare(&args[0], &args[1])?.is_lt()),
        "le" => Held::bool(compare(&args[0], &args[1])?.is_le()),
        "gt" => Held::bool(compare(&args[0], &args[1])?.is_gt()),
        "ge" => Held::bool(compare(&args[0], &args[1])?.is_ge()),
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
            escaped_json(&Value::Object(sorted))
        }
        other => plain_json(other),
    }
}

fn length(held: &Held) -> Result<usize, String> {
    if held.shape == Shape::Nothing {
        return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
    }
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
    if held.shape == Shape::Nothing {
        return Err("cannot index slice/array with nil".to_owned());
    }
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
                let byte = text.as_bytes().get(place(key, text.len())?);
                let byte = byte.ok_or("reflect: string index out of range")?;
                Held::new((*byte).into(), "uint8")
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
                let at = place(key, items.len())?;
                let found = items.into_iter().nth(at);
                found.ok_or("reflect: slice index out of range")?.1
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
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    if args.len() > 3 && held.value.is_string() {
        return Err("cannot 3-index slice a string".to_owned());
    }
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

/// Percent-encoded, with `+` for spaces.
fn urlquery(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
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
        c if !is_print(c) => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Each word with a capital.
fn title(text: &str) -> String {
    let mut starts = true;
    let letter = |c: char| {
        let shown = if starts {
            single(c, c.to_uppercase())
        } else {
            c
        };
        starts = match c {
            c if c.is_ascii() => !c.is_ascii_alphanumeric() && c != '_',
            c => c.is_whitespace(),
        };
        shown
    };
    text.chars().map(letter).collect()
}

/// A letter in the other case; itself where that has several, as Go has it.
fn single(c: char, other: impl ExactSizeIterator<Item = char>) -> char {
    let mut other = other;
    match other.len() {
        1 => other.next().unwrap_or(c),
        _ => c,
    }
}

/// A text whose bytes are cut where it is no longer than `most`; no letter is cut in two.
fn truncate(text: String, most: i64) -> Result<String, String> {
    let Ok(most) = usize::try_from(most) else {
        return Err(format!(
            "runtime error: slice bounds out of range [:{most}]"
        ));
    };
    let end = (0..=most.min(text.len())).rev();
    let end = end.into_iter().find(|at| text.is_char_boundary(*at));
    Ok(text[..end.unwrap_or(0)].to_owned())
}

/// A text between spaces, unless it is empty.
fn pad(text: String, before: i64, behind: i64) -> Result<String, String> {
    if text.is_empty() {
        return Ok(text);
    }
    let spaces = |count: i64| match usize::try_from(count) {
        Ok(count) => Ok(" ".repeat(count.min(WIDEST))),
        Err(_) => Err("strings: negative Repeat count".to_owned()),
    };
    Ok(format!("{}{text}{}", spaces(before)?, spaces(behind)?))
}
