//! Times as the API shows them. Records keep them as the same text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_objects::api::encode::{ZERO_TIME, parse_time, rfc3339_nano};

/// RFC 3339 with nanoseconds, as Go prints it.
pub(crate) fn text(at: SystemTime) -> String {
    rfc3339_nano(at.into())
}

/// As [`text`]; Go's zero time for what never was.
pub(crate) fn text_or_zero(at: Option<SystemTime>) -> String {
    at.map_or_else(|| ZERO_TIME.to_owned(), text)
}

/// As [`text`] in whole seconds.
pub(crate) fn text_in_seconds(at: SystemTime) -> String {
    text(UNIX_EPOCH + Duration::from_secs(since_epoch(at).as_secs()))
}

/// Reads what [`text`] wrote; the zero time is none.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    if text == ZERO_TIME {
        None
    } else {
        parse_time(text).map(SystemTime::from)
    }
}

/// Since 1970; zero before.
pub(crate) fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}
