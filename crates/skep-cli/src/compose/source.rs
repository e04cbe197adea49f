//! A stack file's text as JSON values.

use std::io::Read as _;

use serde_json::{Map, Value};

use super::tags::{self, Tag};
use crate::error::{CliError, io_text};

/// Files larger than this are no stack files.
const MAX_BYTES: u64 = 16 << 20;

/// A file's content, and its places that are marked.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: Value,
    pub(super) tags: Vec<Tag>,
}

/// Reads a file; `-` is standard input.
pub(super) fn read(name: &str) -> Result<Source, CliError> {
    let mut text = String::new();
    if name == "-" {
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut text)?;
    } else {
        let refused =
            |error: std::io::Error| CliError::new(format!("open {name}: {}", io_text(&error)));
        std::fs::File::open(name)
            .map_err(refused)?
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(refused)?;
    }
    parse(&text)
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Source, CliError> {
    let value: serde_norway::Value =
        serde_norway::from_str(text).map_err(|error| refusal(&error.to_string(), text))?;
    let mut tags = Vec::new();
    tags::find(&value, &mut Vec::new(), &mut tags);
    let file = to_json(value)?;
    if !file.is_object() {
        return Err(CliError::new("top-level object must be a mapping"));
    }
    Ok(Source { file, tags })
}

/// What is wrong with a text, in Docker's words where it is a key that is there twice.
fn refusal(why: &str, text: &str) -> CliError {
    let twice = || {
        let (_, rest) = why.split_once("duplicate entry with key \"")?;
        let (key, rest) = rest.split_once("\" at line ")?;
        let (first, column) = rest.split_once(" column ")?;
        let (first, column): (usize, usize) = (first.parse().ok()?, column.parse().ok()?);
        // The map begins there; the key is somewhere below, as far to the right.
        let own = |line: &&str| {
            let indent = line.len() - line.trim_start_matches(' ').len();
            let name = line.trim_start().trim_start_matches(['"', '\'']);
            indent + 1 == column
                && name
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.contains(':'))
        };
        let lines = text.lines().enumerate().skip(first.checked_sub(1)?);
        let mut found = lines.filter(|(_, line)| own(line));
        let (one, other) = (found.next()?.0 + 1, found.next()?.0 + 1);
        Some(format!(
            "yaml: unmarshal errors:\n  line {other}: mapping key {key:?} already defined at line {one}"
        ))
    };
    CliError::new(twice().unwrap_or_else(|| format!("yaml: {}", with_line(why, text))))
}

/// The line before what is wrong with it, as Docker's reader of YAML counts: that of the context is told
/// rather than that of the mistake, none that is the first, and behind the scanner one less.
fn with_line(why: &str, text: &str) -> String {
    let place = |part: &str| -> Option<(usize, usize)> {
        let (line, column) = part.split_once(" at line ")?.1.split_once(" column ")?;
        let column = column.split(',').next()?;
        Some((line.parse().ok()?, column.parse().ok()?))
    };
    let (problem, context) = why.split_once(", while ").unwrap_or((why, ""));
    let (Some((what, _)), Some(at)) = (problem.split_once(" at line "), place(problem)) else {
        return why.to_owned();
    };
    if what == "unknown anchor" {
        return format!("unknown anchor '{}' referenced", alias_at(text, at));
    }
    let is_scanned =
        context.is_empty() || context.contains("scanning") || context.contains("quoted scalar");
    let lines = [place(context).map(|(line, _)| line), Some(at.0)];
    let line = lines.into_iter().flatten().find(|line| *line > 1);
    match line.map(|line| line - usize::from(!is_scanned)) {
        None | Some(0) => what.to_owned(),
        Some(line) => format!("line {line}: {what}"),
    }
}

/// The name behind a `*`.
fn alias_at(text: &str, (line, column): (usize, usize)) -> String {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let name = line.chars().skip(column);
    name.take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

/// YAML as JSON: keys become texts, merges (`<<`) are worked in, octal numbers are read as such.
fn to_json(value: serde_norway::Value) -> Result<Value, CliError> {
    use serde_norway::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => flag.into(),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(number)) => number.into(),
            _ => Value::Null,
        },
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(mut map) => {
            let mut object = Map::new();
            if let Some(base) = map.remove("<<") {
                let bases = match to_json(base)? {
                    Value::Array(bases) => bases,
                    base => vec![base],
                };
                for base in bases {
                    let Value::Object(base) = base else {
                        return Err(CliError::new(
                            "yaml: map merge requires map or sequence of maps as the value",
                        ));
                    };
                    for (key, value) in base {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            for (key, value) in map {
                let key = match key {
                    Yaml::String(key) => key,
                    Yaml::Number(key) => key.to_string(),
                    Yaml::Bool(key) => key.to_string(),
                    _ => return Err(CliError::new("Non-string key at top level")),
                };
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => to_json(tagged.value)?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn mistakes_of_yaml_are_told_as_docker_does() {
        for (text, expected) in [
            ("v: 1\n{\n", "line 2: could not find expected ':'"),
            ("v: 1\na: [\n", "line 2: did not find expected node content"),
            (
                "v: 1\na: b: c\n",
                "line 2: mapping values are not allowed in this context",
            ),
            ("v: 1\na: \"x\n", "line 2: found unexpected end of stream"),
            (
                "v: 1\na: {b: c\n",
                "line 1: did not find expected ',' or '}'",
            ),
            ("v: 1\n- a\n", "line 1: did not find expected key"),
            (
                "v: 1\na: \"\\q\"\n",
                "line 2: found unknown escape character",
            ),
            ("v: 1\na: *x\n", "unknown anchor 'x' referenced"),
            (
                "v: 1\ns:\n  a:\n    i: x\n   b: 1\n",
                "line 2: did not find expected key",
            ),
        ] {
            let error = super::parse(text).unwrap_err();
            assert_eq!(error.message, format!("yaml: {expected}"), "{text}");
        }
    }
}
