//! Ages, sizes and ids in few words, as Docker puts them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long, roughly: `About an hour`, `3 minutes`.
pub fn coarse_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// How long ago an RFC 3339 time was: `3 minutes ago`. Empty where it is no time, or the zero time.
pub fn ago(timestamp: &str) -> String {
    match seconds_since(timestamp) {
        Some(seconds) => format!("{} ago", coarse_duration(seconds)),
        None => String::new(),
    }
}

fn seconds_since(timestamp: &str) -> Option<i64> {
    if timestamp.starts_with("0001-") {
        return None;
    }
    let then = OffsetDateTime::parse(timestamp, &Rfc3339).ok()?;
    Some((OffsetDateTime::now_utc() - then).whole_seconds())
}

/// Decimal units, four significant digits: `1.234GB`.
pub fn bytes_decimal(bytes: f64) -> String {
    bytes_decimal_to(bytes, 4)
}

/// Decimal units, so many significant digits.
pub fn bytes_decimal_to(bytes: f64, digits: usize) -> String {
    sized(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], digits)
}

/// Binary units, four significant digits: `1.5GiB`.
pub fn bytes_binary(bytes: f64) -> String {
    sized(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

fn sized(bytes: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// So many significant digits, without zeros at the end: Go's `%.Ng`.
fn significant(value: f64, digits: usize) -> String {
    let whole = format!("{:.0}", value.trunc()).len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The first 12 characters of an id, without `sha256:`.
pub fn short_id(id: &str) -> String {
    id.strip_prefix("sha256:")
        .unwrap_or(id)
        .chars()
        .take(12)
        .collect()
}

/// At most so many characters, the last one an ellipsis where something was cut.
pub fn truncated(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_coarse() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (180, "3 minutes"),
            (3700, "About an hour"),
            (7200, "2 hours"),
            (200_000, "2 days"),
            (1_300_000, "2 weeks"),
            (6_000_000, "2 months"),
            (64_000_000, "2 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(coarse_duration(seconds), text);
        }
    }

    #[test]
    fn sizes_have_few_digits() {
        assert_eq!(bytes_decimal(10_649_887.0), "10.65MB");
        assert_eq!(bytes_decimal_to(10_649_887.0, 3), "10.6MB");
        assert_eq!(bytes_decimal(999.0), "999B");
        assert_eq!(bytes_binary(1_610_612_736.0), "1.5GiB");
        assert_eq!(bytes_binary(0.0), "0B");
    }

    #[test]
    fn what_is_cut_ends_with_an_ellipsis() {
        assert_eq!(truncated("abcdef", 4), "abc…");
        assert_eq!(truncated("abcd", 4), "abcd");
    }
}
