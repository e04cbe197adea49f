//! Which keys a stack file may have, and what kind of values.

use serde_json::Value;

use self::lists::{items, options, texts};
pub(super) use self::since::minor;
use self::since::{Rules, too_new};
use super::dialect::Dialect;
use super::nearest::nearest;
use crate::error::CliError;
use crate::grammar::parse_duration;

mod compose;
mod docker;
mod lists;
mod parts;
mod since;
#[cfg(test)]
mod tests;

/// A key and what its value may be.
type Key = (&'static str, Shape);

/// What a key's value may be.
#[derive(Clone, Copy)]
enum Shape {
    /// Anything: checked where it is converted.
    Any,
    Text,
    Flag,
    Integer,
    /// A whole number from 0.
    Count,
    /// A number or a text that holds one.
    Number,
    /// A number, or a text of nothing else.
    Ratio,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A text such as `1m30s`.
    Duration,
    /// Permissions: a number from 0, or a text that holds one.
    Octal,
    /// Texts or numbers.
    List,
    /// Texts.
    Texts,
    /// A text or nothing.
    TextOrNull,
    /// A text or any keys.
    TextOrAny,
    /// Options of a file system in memory.
    Tmpfs,
    /// Known keys or nothing.
    MapOrNull(&'static [(&'static str, Shape)]),
    /// A map or a list of `key=value`.
    Pairs,
    /// A map whose keys are the user's.
    Options,
    /// Limits by name: a number, or a soft and a hard one.
    Limits,
    /// A flag, or known keys.
    FlagOrMap(&'static [(&'static str, Shape)]),
    /// One text or several.
    TextOrList,
    /// Known keys.
    Map(&'static [(&'static str, Shape)]),
    /// A list of maps with known keys, or of texts.
    Entries(&'static [(&'static str, Shape)]),
    /// The same, or one text.
    TextOrEntries(&'static [(&'static str, Shape)]),
    /// A text, or known keys.
    TextOrMap(&'static [(&'static str, Shape)]),
    /// Names, or names with known keys each.
    ListOrNamed(&'static [(&'static str, Shape)]),
}

use Shape::{
    Any, Count, Duration, Entries, Flag, FlagOrMap, Integer, Limits, List, ListOrNamed, Map,
    MapOrNull, Number, Octal, OneOf, Options, Pairs, Ratio, Text, TextOrAny, TextOrEntries,
    TextOrList, TextOrMap, TextOrNull, Texts, Tmpfs,
};

/// Checks a whole file.
pub(super) fn check(file: &Value, dialect: Dialect) -> Result<(), CliError> {
    let (sections, others): ([(&str, &'static [Key]); 5], &[&str]) = match dialect {
        Dialect::Docker { .. } => (docker::SECTIONS, &["version"]),
        Dialect::Compose => (compose::SECTIONS, &["version", "name", "include", "models"]),
    };
    let everywhere = dialect == Dialect::Compose;
    let minor = match dialect {
        Dialect::Docker { .. } => minor(file)?,
        Dialect::Compose => u32::MAX,
    };
    let Value::Object(top) = file else {
        return Err(CliError::new("top-level object must be a mapping"));
    };
    // What is below is more specific, so it is told first.
    let mut newer = None;
    for (section, content) in top {
        let since = since::of_section(section);
        if since > minor {
            newer.get_or_insert_with(|| too_new("(root)", section, since));
            continue;
        }
        let Some((_, keys)) = sections.iter().find(|(name, _)| name == section) else {
            if others.contains(&section.as_str()) || section.starts_with("x-") {
                continue;
            }
            let known = sections.iter().map(|(name, _)| *name);
            let known = known.filter(|name| since::of_section(name) <= minor);
            return Err(unknown(
                "(root)",
                section,
                known.chain(others.iter().copied()),
            ));
        };
        match content {
            Value::Object(entries) => {
                for (name, entry) in entries {
                    let at = format!("{section}.{name}");
                    let may_be_null = matches!(section.as_str(), "networks" | "volumes");
                    match entry {
                        Value::Null if everywhere && *section != "services" => {}
                        Value::Null if may_be_null => {}
                        // So in Docker's words.
                        other if may_be_null && !everywhere && !other.is_object() => {
                            return Err(must_be(&at, "mapping or null"));
                        }
                        _ => {
                            let rules = Rules {
                                everywhere,
                                minor,
                                section,
                                entry: at.len(),
                            };
                            check_map(entry, &at, keys, true, rules)
                                .map_err(|error| of_the_other(error, dialect))?;
                        }
                    }
                }
            }
            Value::Null if everywhere => {}
            _ => return Err(CliError::new(format!("{section} must be a mapping"))),
        }
    }
    newer.map_or(Ok(()), Err)
}

fn check_map(
    value: &Value,
    at: &str,
    keys: &'static [Key],
    extensions: bool,
    rules: Rules<'_>,
) -> Result<(), CliError> {
    let Value::Object(map) = value else {
        return Err(must_be(at, "mapping"));
    };
    // The most specific mistake is told: what is below comes first.
    for (key, value) in map {
        if rules.too_new(at, key).is_some() {
            continue;
        }
        if let Some((_, shape)) = keys.iter().find(|(name, _)| name == key) {
            check_value(value, &format!("{at}.{key}"), *shape, rules)?;
        }
    }
    let is_unknown = |key: &&String| {
        rules.too_new(at, key).is_some()
            || !is_known(keys, key) && !((extensions || rules.everywhere) && key.starts_with("x-"))
    };
    match map.keys().find(is_unknown) {
        Some(key) => Err(match rules.too_new(at, key) {
            Some(since) => too_new(at, key, since),
            None => {
                let known = keys.iter().map(|(name, _)| *name);
                unknown(
                    at,
                    key,
                    known.filter(|key| rules.too_new(at, key).is_none()),
                )
            }
        }),
        None => Ok(()),
    }
}

fn is_known(keys: &[Key], key: &str) -> bool {
    keys.iter().any(|(name, _)| *name == key)
}

fn check_value(value: &Value, at: &str, shape: Shape, rules: Rules<'_>) -> Result<(), CliError> {
    if !rules.everywhere {
        items(value, at, shape)?;
    }
    let fits = match shape {
        Any => true,
        // An entry of `networks` stands there by its name alone.
        _ if value.is_null() => rules.everywhere || matches!(shape, MapOrNull(_) | TextOrNull),
        Text => value.is_string(),
        Duration => match value.as_str().map(parse_duration) {
            Some(Err(_)) => {
                return Err(CliError::new(format!(
                    "{at} Does not match format 'duration'"
                )));
            }
            parsed => parsed.is_some(),
        },
        Flag => value.is_boolean(),
        Integer => value.is_i64() || value.is_u64(),
        Count | Octal if value.as_i64().is_some_and(|number| number < 0) => {
            return Err(match rules.everywhere {
                true => CliError::new(format!("{at} must be at least 0")),
                false => overflow(rules.below(at), value),
            });
        }
        Count => value.is_u64(),
        Ratio => {
            let is_number = |text: &str| text.parse::<f64>().is_ok();
            value.is_number() || value.as_str().is_some_and(is_number)
        }
        OneOf(words) => match value.as_str() {
            Some(text) if !words.contains(&text) => {
                // Docker says the place twice.
                return Err(CliError::new(format!(
                    "{at} {at} must be one of the following: \"{}\"",
                    words.join("\", \"")
                )));
            }
            text => text.is_some(),
        },
        Options => options(value, at, rules)?,
        Limits => return check_limits(value, at, rules),
        FlagOrMap(keys) if value.is_object() => {
            return check_map(value, at, keys, false, rules);
        }
        FlagOrMap(_) => value.is_boolean(),
        Number | Octal => value.is_number() || value.is_string(),
        List => value.is_array(),
        Texts => value.is_array() && texts(value, at)?,
        TextOrNull => value.is_string(),
        TextOrAny => {
            let mut keys = value
                .as_object()
                .into_iter()
                .flat_map(serde_json::Map::keys);
            let newer = keys.find_map(|key| Some((key, rules.too_new(at, key)?)));
            if let Some((key, since)) = newer {
                return Err(too_new(at, key, since));
            }
            value.is_string() || value.is_object()
        }
        Tmpfs => match value["size"].as_i64() {
            Some(size) if size < 0 => {
                return Err(CliError::new(format!(
                    "{at}.size Must be greater than or equal to 0"
                )));
            }
            _ => value.is_object(),
        },
        Pairs => {
            let is_bad =
                |value: &Value| value.is_boolean() || value.is_array() || value.is_object();
            let odd = value.as_object().into_iter().flatten();
            // The specification takes flags too.
            if let Some((key, _)) = odd
                .filter(|_| !rules.everywhere)
                .find(|(_, value)| is_bad(value))
            {
                return Err(CliError::new(format!(
                    "{at}.{key} must be a string, number or null"
                )));
            }
            value.is_object() || (value.is_array() && (rules.everywhere || texts(value, at)?))
        }
        TextOrList => {
            value.is_string() || (value.is_array() && (rules.everywhere || texts(value, at)?))
        }
        MapOrNull(keys) if value.is_object() => {
            return check_map(value, at, keys, false, rules);
        }
        MapOrNull(_) => false,
        Map(keys) => return check_map(value, at, keys, false, rules),
        TextOrMap(_) | TextOrEntries(_) if value.is_string() => true,
        TextOrMap(keys) => return check_map(value, at, keys, false, rules),
        ListOrNamed(_) if value.is_array() => true,
        ListOrNamed(keys) => {
            let Value::Object(entries) = value else {
                return Err(must_be(at, name_of(shape, rules)));
            };
            for (name, entry) in entries.iter().filter(|(_, entry)| !entry.is_null()) {
                check_map(entry, &format!("{at}.{name}"), keys, false, rules)?;
            }
            true
        }
        Entries(keys) | TextOrEntries(keys) => {
            let Value::Array(entries) = value else {
                return Err(must_be(at, name_of(shape, rules)));
            };
            for (number, entry) in entries.iter().enumerate() {
                if entry.is_object() {
                    let at = format!("{at}.{number}");
                    rules.may_be_long(&at)?;
                    check_map(entry, &at, keys, false, rules)?;
                }
            }
            true
        }
    };
    if fits {
        Ok(())
    } else {
        Err(must_be(at, name_of(shape, rules)))
    }
}

/// What Docker says of a number that is too small, when it reads the values: the place below the entry
/// has the names of its own structures.
fn overflow(below: &str, value: &Value) -> CliError {
    let mut place = String::new();
    for part in below.split('.').filter(|part| !part.is_empty()) {
        if part.parse::<usize>().is_ok() {
            place.push_str(&format!("[{part}]"));
            continue;
        }
        if !place.is_empty() {
            place.push('.');
        }
        match part {
            "healthcheck" => place.push_str("HealthCheck"),
            part if part.contains('_') => place.push_str(part),
            part => {
                let mut letters = part.chars();
                place.extend(letters.next().into_iter().flat_map(char::to_uppercase));
                place.push_str(letters.as_str());
            }
        }
    }
    CliError::new(format!(
        "decoding failed due to the following error(s):\n\ncannot parse '{place}', {value} overflows uint"
    ))
}

/// `nofile: 1024`, or `nofile: {soft: 1024, hard: 2048}`.
fn check_limits(value: &Value, at: &str, rules: Rules<'_>) -> Result<(), CliError> {
    const KEYS: &[Key] = &[("hard", Integer), ("soft", Integer)];
    let Value::Object(limits) = value else {
        return Err(must_be(at, "mapping"));
    };
    for (name, limit) in limits {
        let at = format!("{at}.{name}");
        let missing = ["soft", "hard"]
            .into_iter()
            .find(|key| limit.get(key).is_none());
        match limit {
            Value::Object(_) if missing.is_some() && !rules.everywhere => {
                let missing = missing.unwrap_or_default();
                return Err(CliError::new(format!("{at} {missing} is required")));
            }
            Value::Object(_) => check_map(limit, &at, KEYS, false, rules)?,
            _ => check_value(limit, &at, Integer, rules)?,
        }
    }
    Ok(())
}

fn name_of(shape: Shape, rules: Rules<'_>) -> &'static str {
    match shape {
        List | Texts | Entries(_) | ListOrNamed(_) if !rules.everywhere => "list",
        TextOrList | TextOrAny if !rules.everywhere => "string",
        Number | Octal if !rules.everywhere => "number or string",
        MapOrNull(_) => "mapping or null",
        TextOrNull => "string or null",
        Octal => "number",
        Texts => "array",
        Tmpfs => "mapping",
        TextOrAny => "string or mapping",
        Text | Duration | OneOf(_) => "string",
        Flag => "boolean",
        Integer | Count => "integer",
        Number | Ratio => "number",
        List | Entries(_) => "array",
        ListOrNamed(_) => "mapping or list",
        TextOrList | TextOrEntries(_) => "string or list",
        TextOrMap(_) => "string or mapping",
        FlagOrMap(_) => "boolean or mapping",
        Map(_) | Pairs | Options | Limits | Any => "mapping",
    }
}

/// A key of the Compose Specification in a file of version 3 gets a hint.
fn of_the_other(mut error: CliError, dialect: Dialect) -> CliError {
    let key = error
        .message
        .split_once(" Additional property ")
        .and_then(|(_, rest)| rest.split_once(" is not allowed"))
        .map_or("", |(key, _)| key);
    let is_compose = compose::SECTIONS[0].1.iter().any(|(name, _)| *name == key);
    if dialect != Dialect::Compose && is_compose && !error.message.contains('\n') {
        error.message.push_str(&format!(
            "\n(\"{key}\" is of the Compose Specification: leave out \"version\", or say --dialect compose)"
        ));
    }
    error
}

fn must_be(at: &str, what: &str) -> CliError {
    CliError::new(format!("{at} must be a {what}"))
}

fn unknown<'a>(at: &str, key: &str, known: impl IntoIterator<Item = &'a str>) -> CliError {
    let hint = nearest(key, known)
        .map(|near| format!("\nDid you mean \"{near}\"?"))
        .unwrap_or_default();
    CliError::new(format!(
        "{at} Additional property {key} is not allowed{hint}"
    ))
}
