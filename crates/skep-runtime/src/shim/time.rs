//! The clock of exit records and log entries.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Go's RFC3339Nano in UTC: fraction without trailing zeros. The part down to the second is kept, as it
/// rarely changes from one entry to the next.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: i64,
    text: String,
}

impl Stamp {
    /// A time as text.
    pub(super) fn at(&mut self, ns: i64) -> String {
        let (second, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = seconds_text(second);
        }
        if fraction == 0 {
            return format!("{}Z", self.text);
        }
        let digits = format!("{fraction:09}");
        format!("{}.{}Z", self.text, digits.trim_end_matches('0'))
    }
}

/// The time as text.
pub(crate) fn timestamp() -> String {
    Stamp::default().at(now_ns())
}

fn seconds_text(second: i64) -> String {
    let t = time::OffsetDateTime::from_unix_timestamp(second)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        let mut stamp = Stamp::default();
        assert_eq!(stamp.at(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(
            stamp.at(1_700_000_000_120_000_000),
            "2023-11-14T22:13:20.12Z"
        );
        assert_eq!(
            stamp.at(1_700_000_001_000_000_001),
            "2023-11-14T22:13:21.000000001Z"
        );
    }
}
