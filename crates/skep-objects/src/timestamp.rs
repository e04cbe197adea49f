//! Times and durations as the messages carry them. The clock is always the caller's.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

/// A point in time as the messages carry it.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// The point in time that a message carries; the epoch where it is out of range.
pub fn system_time(stamp: &Timestamp) -> SystemTime {
    let since_epoch = duration_from_parts(stamp.seconds, stamp.nanos);
    SystemTime::UNIX_EPOCH
        .checked_add(since_epoch)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Nanoseconds since the epoch, for comparing and sorting.
pub fn unix_nanos(stamp: &Timestamp) -> i128 {
    i128::from(stamp.seconds) * NANOS + i128::from(stamp.nanos)
}

/// A duration from a message; negative ones count as zero.
pub fn duration(message: &prost_types::Duration) -> Duration {
    duration_from_parts(message.seconds, message.nanos)
}

/// A duration for a message.
pub fn duration_message(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// Whether a duration from a message is below zero.
pub fn is_negative(message: &prost_types::Duration) -> bool {
    message.seconds < 0 || message.nanos < 0
}

fn duration_from_parts(seconds: i64, nanos: i32) -> Duration {
    let total = i128::from(seconds) * NANOS + i128::from(nanos);
    let seconds = u64::try_from(total.div_euclid(NANOS));
    let nanos = u32::try_from(total.rem_euclid(NANOS));
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_survive_the_way_through_a_message() {
        for nanos in [0, 1, 999_999_999, 1_000_000_000, 123_456_789_012] {
            let there = Duration::from_nanos(nanos);
            assert_eq!(duration(&duration_message(there)), there);
        }
    }

    #[test]
    fn a_negative_duration_counts_as_zero_and_is_told() {
        let message = prost_types::Duration {
            seconds: -1,
            nanos: 0,
        };
        assert!(is_negative(&message));
        assert_eq!(duration(&message), Duration::ZERO);
        assert!(!is_negative(&prost_types::Duration::default()));
    }

    #[test]
    fn times_survive_the_way_through_a_message() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        assert_eq!(system_time(&timestamp(time)), time);
        assert_eq!(unix_nanos(&timestamp(time)), 1_700_000_000_000_000_005);
    }
}
