//! How Go prints what JSON has no type for: times, durations, bytes, and which values are omitted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serializer};
use time::OffsetDateTime;

/// Go's zero `time.Time` in JSON.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Whether a number is zero: `omitempty` for numbers.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether a flag is unset: `omitempty` for booleans.
pub fn is_false(value: &bool) -> bool {
    !*value
}

/// A UTC time as Go's RFC3339Nano: nanoseconds without trailing zeros, `Z`.
pub fn rfc3339_nano(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    if time.nanosecond() > 0 {
        let digits = format!("{:09}", time.nanosecond());
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// A protobuf timestamp as Go prints it; none is the Unix epoch, as in moby's conversion.
pub fn timestamp(stamp: Option<&prost_types::Timestamp>) -> String {
    let (seconds, nanos) = stamp.map_or((0, 0), |s| (s.seconds, s.nanos));
    unix_time(seconds, nanos)
}

/// Seconds and nanoseconds since 1970 as Go prints them; what cannot be a date is the zero time.
pub fn unix_time(seconds: i64, nanos: i32) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map(|time| rfc3339_nano(time + time::Duration::nanoseconds(i64::from(nanos))))
        .unwrap_or_else(|_| ZERO_TIME.to_owned())
}

/// Reads a time as Go's RFC3339 does.
pub fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

/// A protobuf duration in nanoseconds, saturating.
pub fn nanoseconds(duration: Option<&prost_types::Duration>) -> i64 {
    duration.map_or(0, |d| {
        d.seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(d.nanos))
    })
}

/// Nanoseconds as a protobuf duration.
pub fn duration(nanoseconds: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: nanoseconds / 1_000_000_000,
        nanos: i32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
    }
}

/// `[]byte`: base64 with padding.
pub mod bytes {
    use super::*;

    /// Writes base64.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads base64; Go accepts line breaks within it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        STANDARD
            .decode(text)
            .map_err(|_| serde::de::Error::custom("illegal base64 data"))
    }
}

/// `float32`: as many digits as tell it from its neighbours, whole numbers without a point.
pub mod float32 {
    use super::*;

    /// Writes the shortest decimal; 0 and not 0.0.
    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        if value.fract() == 0.0 && value.abs() < 1e9 {
            #[allow(clippy::cast_possible_truncation)] // whole and small: exact
            return serializer.serialize_i64(*value as i64);
        }
        let shortest: f64 = value.to_string().parse().unwrap_or(0.0);
        serializer.serialize_f64(shortest)
    }

    /// Reads any number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        f32::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lose_trailing_zeros_as_in_go() {
        assert_eq!(
            unix_time(1_795_414_622, 53_904_000),
            "2026-11-23T06:17:02.053904Z"
        );
        assert_eq!(unix_time(1_795_414_622, 0), "2026-11-23T06:17:02Z");
        assert_eq!(unix_time(i64::MAX, 0), ZERO_TIME);
        assert_eq!(unix_time(-62_135_596_800, 0), ZERO_TIME);
    }

    #[test]
    fn durations_are_nanoseconds_both_ways() {
        for nanos in [0, 1, 5_000_000_000, -1_500_000_000, 7_776_000_000_000_000] {
            assert_eq!(nanoseconds(Some(&duration(nanos))), nanos);
        }
    }

    #[test]
    fn ratios_print_as_go_prints_float32() {
        #[derive(serde::Serialize)]
        struct Ratio(#[serde(with = "float32")] f32);
        for (value, text) in [(0.0, "0"), (0.2, "0.2"), (1.0, "1"), (0.35, "0.35")] {
            assert_eq!(
                serde_json::to_string(&Ratio(value)).expect("a number"),
                text
            );
        }
    }
}
