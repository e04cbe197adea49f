//! Times as Go prints them, and as users give them to the daemon.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::grammar::parse_duration;

/// A Unix time in the local zone: `2026-11-28 01:22:05 +0000 UTC`.
pub fn of_unix(seconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(then) => local(then),
        Err(_) => String::new(),
    }
}

/// An RFC 3339 time in the local zone, as Go prints times; empty where it is none.
pub fn local_text(timestamp: &str) -> String {
    OffsetDateTime::parse(timestamp, &Rfc3339).map_or_else(
        |_| timestamp.to_owned(),
        |then| {
            let text = local(then);
            match then.nanosecond() {
                0 => text,
                nanos => {
                    let (head, zone) = text.split_at(19);
                    let digits = format!("{nanos:09}");
                    format!("{head}.{}{zone}", digits.trim_end_matches('0'))
                }
            }
        },
    )
}

fn local(then: OffsetDateTime) -> String {
    let offset = UtcOffset::local_offset_at(then).unwrap_or(UtcOffset::UTC);
    let then = then.to_offset(offset);
    let format = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    let text = then.format(&format).unwrap_or_default();
    // Go names the zone; without a table of zones the offset has to do.
    match offset.is_utc() {
        true => format!("{text} UTC"),
        false => format!("{text} {}", &text[text.len() - 5..]),
    }
}

/// `--since` and `--until` as the daemon takes them: Unix seconds, with a fraction where the user
/// gave a time. A duration counts back from now.
pub fn unix_query(name: &str, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if let Ok(nanos) = parse_duration(text) {
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos();
        let then = (now - i128::from(nanos)).div_euclid(1_000_000_000);
        return Ok(then.to_string());
    }
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Ok(text.to_owned());
    }
    match read_time(text) {
        Some(then) => Ok(format!(
            "{}.{:09}",
            then.unix_timestamp(),
            then.nanosecond()
        )),
        None => Err(format!(
            "invalid value for \"{name}\": failed to parse value as time or duration: \"{text}\""
        )),
    }
}

/// RFC 3339, or a local date or time without a zone.
fn read_time(text: &str) -> Option<OffsetDateTime> {
    if let Ok(then) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(then);
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let with_fraction =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond]");
    let whole = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let then = PrimitiveDateTime::parse(&full, &whole)
        .or_else(|_| PrimitiveDateTime::parse(&full, &with_fraction))
        .ok()?;
    let offset = UtcOffset::local_offset_at(then.assume_utc()).unwrap_or(UtcOffset::UTC);
    Some(then.assume_offset(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_to_the_daemon_as_unix_seconds() {
        assert_eq!(unix_query("since", "1700000000").unwrap(), "1700000000");
        assert_eq!(
            unix_query("since", "2026-01-02T10:00:00.5Z").unwrap(),
            "1767348000.500000000"
        );
        assert!(
            unix_query("since", "yesterday")
                .unwrap_err()
                .contains("\"yesterday\"")
        );
    }
}
