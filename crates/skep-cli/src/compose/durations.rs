//! Durations of stack files.

use serde_json::Value;

use crate::error::CliError;
use crate::grammar::parse_duration;

/// Nanoseconds; nothing where the key is absent.
pub(super) fn duration(value: &Value, at: &str) -> Result<Option<i64>, CliError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => parse_duration(text)
            .map(Some)
            .map_err(|_| CliError::new(format!("{at} Does not match format 'duration'"))),
        other => Err(CliError::new(format!("{at}: invalid duration {other}"))),
    }
}
