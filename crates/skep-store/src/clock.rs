//! The time of day, for the times in objects' meta. Nothing else in the store asks for it.

use std::time::SystemTime;

use prost_types::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that reads the clock.
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}

/// A clock that stands still until it is moved.
#[cfg(feature = "testing")]
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

#[cfg(feature = "testing")]
impl ManualClock {
    /// Moves the clock on by some nanoseconds.
    pub fn advance_nanos(&self, nanos: i64) {
        self.0
            .fetch_add(nanos, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(feature = "testing")]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let nanos = self.0.load(std::sync::atomic::Ordering::Relaxed);
        let (seconds, rest) = (
            nanos.div_euclid(1_000_000_000),
            nanos.rem_euclid(1_000_000_000),
        );
        Timestamp {
            seconds,
            nanos: i32::try_from(rest).unwrap_or_default(),
        }
    }
}
