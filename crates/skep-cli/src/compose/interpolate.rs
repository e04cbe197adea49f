//! `$VAR` and `${VAR:-default}` in values.

use serde_json::Value;

use crate::error::CliError;

/// Replaces variables in every text below a value. `path` is for errors.
pub(super) fn interpolate(
    value: &mut Value,
    path: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(), CliError> {
    match value {
        Value::String(text) if text.contains('$') => {
            *text = expand(text, lookup).map_err(|error| match error {
                Problem::Invalid => CliError::new(format!(
                    "invalid interpolation format for {path}: \"{text}\"; you may need to escape any $ with another $"
                )),
                Problem::Required(name, message) => {
                    CliError::new(format!("required variable {name} is missing a value: {message}"))
                }
            })?;
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| interpolate(item, &format!("{path}.[]"), lookup)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, item)| {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            interpolate(item, &path, lookup)
        }),
        _ => Ok(()),
    }
}

enum Problem {
    Invalid,
    Required(String, String),
}

fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or(Problem::Invalid)?;
            out.push_str(&braced(&after[..end], lookup)?);
            rest = &after[end + 1..];
        } else {
            let end = name_end(rest);
            if end == 0 {
                return Err(Problem::Invalid);
            }
            out.push_str(&lookup(&rest[..end]).unwrap_or_default());
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(inner: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let end = name_end(inner);
    if end == 0 {
        return Err(Problem::Invalid);
    }
    let (name, rest) = inner.split_at(end);
    let value = lookup(name);
    let filled = value.clone().filter(|value| !value.is_empty());
    if rest.is_empty() {
        return Ok(value.unwrap_or_default());
    }
    let required = |message: &str| Problem::Required(name.to_owned(), message.to_owned());
    if let Some(default) = rest.strip_prefix(":-") {
        Ok(filled.unwrap_or_else(|| default.to_owned()))
    } else if let Some(default) = rest.strip_prefix('-') {
        Ok(value.unwrap_or_else(|| default.to_owned()))
    } else if let Some(message) = rest.strip_prefix(":?") {
        filled.ok_or_else(|| required(message))
    } else if let Some(message) = rest.strip_prefix('?') {
        value.ok_or_else(|| required(message))
    } else {
        Err(Problem::Invalid)
    }
}

fn name_end(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let mut value = Value::from(text);
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let result =
            interpolate(&mut value, "services.x.image", &lookup).map_err(|error| error.message);
        match expected {
            Ok(expected) => assert_eq!((result, value), (Ok(()), Value::from(expected)), "{text}"),
            Err(expected) => assert!(result.unwrap_err().contains(expected), "{text}"),
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        check("$A-${A}-$$A", Ok("1-1-$A"));
        check("${B:-x}${EMPTY:-y}${EMPTY-z}${B-w}", Ok("xyw"));
        check("${B}", Ok(""));
        check(
            "${B:?gone}",
            Err("required variable B is missing a value: gone"),
        );
        check(
            "${1}",
            Err("invalid interpolation format for services.x.image"),
        );
        check("$ x", Err("you may need to escape any $"));
    }
}
