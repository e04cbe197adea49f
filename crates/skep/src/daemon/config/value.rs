//! Values of flags: numbers, addresses, pairs, and the refusal of what is none.

use std::collections::BTreeMap;

use super::ConfigError;
use crate::daemon::flags::Given;

pub(super) fn wrong(flag: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        flag,
        reason: reason.into(),
    }
}

pub(super) fn number<T: std::str::FromStr>(
    given: &Given,
    flag: &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = given.value(flag) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| wrong(flag, format!("{text:?} is not a number")))
}

pub(super) fn parsed<T: std::str::FromStr>(
    given: &Given,
    flag: &'static str,
    what: &str,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = given.value(flag).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(wrong(flag, format!("{text} is not {what}"))),
    }
}

pub(super) fn pairs(
    given: &Given,
    flag: &'static str,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let pair = |text: String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(wrong(flag, format!("{text:?} is not name=value"))),
    };
    given.list(flag).into_iter().map(pair).collect()
}
