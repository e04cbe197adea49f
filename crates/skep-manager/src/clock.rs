//! Time as the loops see it: given to them, never asked for.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// Time since some start, never jumping.
pub type Monotonic = Duration;

/// One moment: the wall clock for what is stored, a monotonic clock for what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For timestamps in objects.
    pub wall: SystemTime,
    /// For deadlines.
    pub monotonic: Monotonic,
}

impl Now {
    /// The wall clock as objects store it.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from(self.wall)
    }

    /// How long ago a stored time was; zero when it lies ahead.
    #[must_use]
    pub fn since(&self, stamp: &Timestamp) -> Duration {
        let then = skep_objects::timestamp::system_time(stamp);
        self.wall.duration_since(then).unwrap_or_default()
    }
}

/// Where the loops' async shell gets its moments from.
#[derive(Debug, Clone)]
pub struct Clock {
    start: tokio::time::Instant,
    wall_start: SystemTime,
    /// Whether wall time follows tokio's clock, which tests can pause.
    virtual_wall: bool,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            wall_start: SystemTime::now(),
            virtual_wall: false,
        }
    }

    /// Wall time that starts at the epoch's billionth second and follows tokio's clock.
    #[must_use]
    pub fn following_tokio() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            wall_start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
            virtual_wall: true,
        }
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let monotonic = self.start.elapsed();
        let wall = if self.virtual_wall {
            self.wall_start + monotonic
        } else {
            SystemTime::now()
        };
        Now { wall, monotonic }
    }

    /// Waits until the monotonic clock reaches `deadline`.
    pub async fn sleep_until(&self, deadline: Monotonic) {
        tokio::time::sleep_until(self.start + deadline).await;
    }
}
