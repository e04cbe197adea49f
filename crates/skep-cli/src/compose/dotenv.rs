//! `.env` files, and the variables that a stack file may use.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{CliError, io_text};

/// What `$NAME` stands for: the caller's environment, over `.env` files where they are read.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Whether they are written as in Docker's format: no `:+`, and nothing within a default.
    pub(super) is_plain: bool,
    files: BTreeMap<String, String>,
    unset: RefCell<BTreeSet<String>>,
}

impl Variables {
    /// With those of a file below the ones that are known; a file that is not there has none.
    pub(super) fn with_file(&self, path: &Path, required: bool) -> Result<Self, CliError> {
        let mut files = match std::fs::read_to_string(path) {
            Ok(text) => parse(&text, &|name| self.get(name))
                .map_err(|why| CliError::new(format!("{}: {why}", path.display())))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
                BTreeMap::new()
            }
            Err(error) => {
                return Err(CliError::new(format!(
                    "open {}: {}",
                    path.display(),
                    io_text(&error)
                )));
            }
        };
        files.extend(self.files.clone());
        Ok(Self {
            is_plain: self.is_plain,
            files,
            unset: RefCell::default(),
        })
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        std::env::var(name)
            .ok()
            .or_else(|| self.files.get(name).cloned())
    }

    /// Notes that a variable was used without a value or a default.
    pub(super) fn note_unset(&self, name: &str) {
        self.unset.borrow_mut().insert(name.to_owned());
    }

    /// Names that were used without a value.
    pub(super) fn unset(&self) -> BTreeSet<String> {
        self.unset.borrow().clone()
    }
}

/// Lines of `NAME=value`: quotes are taken off, `#` begins a comment, `export` may stand before, and
/// `$NAME` is replaced but in single quotes.
pub(super) fn parse(
    text: &str,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, rest)) = line.split_once(['=', ':']) else {
            // A name alone takes the caller's value.
            if let Some(value) = outer(line) {
                all.insert(line.to_owned(), value);
            }
            continue;
        };
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!(
                "line {}: unexpected character in variable name {name:?}",
                number + 1
            ));
        }
        let mut value = rest.trim_start().to_owned();
        if let Some(quote @ ('"' | '\'')) = value.chars().next() {
            while closing(&value, quote).is_none() {
                let Some((_, next)) = lines.next() else {
                    return Err(format!("line {}: unterminated quoted value", number + 1));
                };
                value.push('\n');
                value.push_str(next);
            }
        }
        let value = one_value(&value, &|name| {
            outer(name).or_else(|| all.get(name).cloned())
        });
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

/// Where a quoted text ends.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '\\' if quote == '"' && !escaped => escaped = true,
            letter if letter == quote && !escaped => return Some(at),
            _ => escaped = false,
        }
    }
    None
}

fn one_value(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inner = match quote.and_then(|quote| closing(text, quote)) {
        Some(end) => text[1..end].to_owned(),
        None => {
            // A comment begins after a space.
            let end = text.find(" #").unwrap_or(text.len());
            text[..end].trim_end().to_owned()
        }
    };
    match quote {
        Some('\'') => inner,
        Some(_) => expanded(&unescaped(&inner), lookup),
        None => expanded(&inner, lookup),
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(other @ ('"' | '\\')) => out.push(other),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn expanded(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    super::interpolate::expand_text(text, lookup).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: &str, expected: &str) {
        let outer = |name: &str| (name == "OUTER").then(|| "out".to_owned());
        let all = parse(text, &outer).unwrap();
        assert_eq!(all.get(name).map(String::as_str), Some(expected), "{text}");
    }

    #[test]
    fn values_are_read_as_compose_reads_them() {
        check("A=1", "A", "1");
        check("  export A = x y # comment", "A", "x y");
        check("A='$B'", "A", "$B");
        check("A=\"a\\nb\"", "A", "a\nb");
        check("A=\"two\nlines\"", "A", "two\nlines");
        check("B=1\nA=${B}-${C:-d}-$OUTER", "A", "1-d-out");
        check("OUTER", "OUTER", "out");
        check("A=", "A", "");
        check("A=a#b", "A", "a#b");
        assert!(parse("A B=1", &|_| None).is_err());
        assert!(parse("A=\"x", &|_| None).is_err());
    }
}
