//! `key=value` lists: labels, environments, options.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::CliError;

/// Key and value; the value is empty where there is no `=`.
pub fn split_pair(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

/// A JSON object out of `key=value` texts; later ones win.
pub fn map_from<'a>(pairs: impl IntoIterator<Item = &'a String>) -> Map<String, Value> {
    let sorted: BTreeMap<_, _> = pairs.into_iter().map(|pair| split_pair(pair)).collect();
    sorted
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

/// Labels, with those of files first.
pub fn labels(files: &[String], given: &[String]) -> Result<Map<String, Value>, CliError> {
    let mut all = Vec::new();
    for file in files {
        all.extend(lines(file)?);
    }
    all.extend(given.iter().cloned());
    if let Some(bad) = all
        .iter()
        .find(|label| label.is_empty() || label.starts_with('='))
    {
        let why = format!("invalid label '{bad}': empty name");
        return Err(CliError::bad_flag(bad, "-l, --label", why));
    }
    Ok(map_from(&all))
}

/// An environment as a container takes it: files first, then flags, all as they come; a name alone
/// takes the caller's value.
pub fn whole_environment(files: &[String], given: &[String]) -> Result<Vec<String>, CliError> {
    if let Some(bad) = given
        .iter()
        .find(|entry| entry.is_empty() || entry.starts_with('='))
    {
        return Err(CliError::bad_flag(
            bad,
            "-e, --env",
            format!("invalid environment variable: {bad}"),
        ));
    }
    let mut all = Vec::new();
    for file in files {
        all.extend(lines(file)?);
    }
    all.extend(given.iter().cloned());
    let with_value = |entry: String| match std::env::var(&entry) {
        Ok(value) if !entry.contains('=') => format!("{entry}={value}"),
        _ => entry,
    };
    Ok(all.into_iter().map(with_value).collect())
}

/// An environment: files first, then flags; a name alone takes the caller's value; the last of a
/// name wins, at the place of the first.
pub fn environment(files: &[String], given: &[String]) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    for file in files {
        all.extend(lines(file)?);
    }
    all.extend(given.iter().cloned());
    let mut names: Vec<String> = Vec::new();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for entry in all {
        let full = match entry.split_once('=') {
            Some(("", _)) => {
                return Err(CliError::new(format!(
                    "invalid environment variable: {entry}"
                )));
            }
            Some(_) => entry,
            None if entry.is_empty() => {
                return Err(CliError::new("invalid environment variable: "));
            }
            None => match std::env::var(&entry) {
                Ok(value) => format!("{entry}={value}"),
                Err(_) => entry,
            },
        };
        let name = split_pair(&full).0.to_owned();
        if values.insert(name.clone(), full).is_none() {
            names.push(name);
        }
    }
    Ok(names
        .iter()
        .filter_map(|name| values.remove(name))
        .collect())
}

/// A file's lines, without comments.
fn lines(file: &str) -> Result<Vec<String>, CliError> {
    let bytes = std::fs::read(file).map_err(|error| {
        CliError::new(format!("open {file}: {}", crate::error::io_text(&error)))
    })?;
    let bad = |why: String| CliError::new(format!("invalid env file ({file}): {why}"));
    let mut all = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| {
            let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
            let (number, bytes) = (number + 1, bytes.join(" "));
            bad(format!("invalid utf8 bytes at line {number}: [{bytes}]"))
        })?;
        let line = line.trim_start_matches('\u{feff}').trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, _) = split_pair(line);
        if name.contains(char::is_whitespace) {
            return Err(bad(format!("variable '{name}' contains whitespaces")));
        }
        if name.is_empty() {
            return Err(bad(format!("no variable name on line '{line}'")));
        }
        // A name alone that the caller does not have is left out.
        if line.contains('=') || std::env::var_os(line).is_some() {
            all.push(line.to_owned());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_wins_at_the_place_of_the_first() {
        let given = ["A=1", "B=2", "A=3", "E="].map(str::to_owned);
        assert_eq!(environment(&[], &given).unwrap(), ["A=3", "B=2", "E="]);
        assert!(environment(&[], &["=x".to_owned()]).is_err());
    }
}
