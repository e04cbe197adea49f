//! What lists and maps of the user's may hold.

use serde_json::Value;

use super::since::Rules;
use super::{Shape, must_be};
use crate::error::CliError;

/// Lists that hold nothing twice, beside those whose shape says so.
const UNIQUE: [&str; 6] = ["dns", "dns_search", "env_file", "expose", "ports", "tmpfs"];

/// Whether a list has nothing but texts.
pub(super) fn texts(list: &Value, at: &str) -> Result<bool, CliError> {
    let items = list.as_array().into_iter().flatten();
    match items.enumerate().find(|(_, item)| !item.is_string()) {
        Some((number, _)) => Err(must_be(&format!("{at}.{number}"), "string")),
        None => Ok(true),
    }
}

/// Whether what is in a list may be there, and once only, by Docker's rules.
pub(super) fn items(value: &Value, at: &str, shape: Shape) -> Result<(), CliError> {
    let Value::Array(items) = value else {
        return Ok(());
    };
    let key = at.rsplit('.').next().unwrap_or_default();
    if matches!(shape, Shape::Entries(_)) {
        let is_odd = |item: &Value| item.is_null() || item.is_array() || item.is_boolean();
        if let Some(number) = items.iter().position(is_odd) {
            let what = if key == "ports" { "number" } else { "string" };
            return Err(must_be(&format!("{at}.{number}"), what));
        }
    }
    let is_set = matches!(shape, Shape::Texts | Shape::Pairs | Shape::ListOrNamed(_));
    if !is_set && !UNIQUE.contains(&key) {
        return Ok(());
    }
    for (later, item) in items.iter().enumerate() {
        if let Some(first) = items[..later].iter().position(|other| other == item) {
            return Err(CliError::new(format!(
                "{at} array items[{first},{later}] must be unique"
            )));
        }
    }
    Ok(())
}

/// Whether a map of the user's keys holds what options are, by Docker's rules.
pub(super) fn options(value: &Value, at: &str, rules: Rules<'_>) -> Result<bool, CliError> {
    let Value::Object(map) = value else {
        return Ok(false);
    };
    let may_be_null = rules.below(at) == "logging.options";
    let fits =
        |value: &Value| value.is_string() || value.is_number() || (may_be_null && value.is_null());
    match map
        .iter()
        .find(|(_, value)| !rules.everywhere && !fits(value))
    {
        Some((key, _)) => Err(must_be(
            &format!("{at}.{key}"),
            match may_be_null {
                true => "string, number or null",
                false => "string or number",
            },
        )),
        None => Ok(true),
    }
}
