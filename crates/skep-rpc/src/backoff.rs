//! How long to wait before the next try; a value given by whoever knows that an error is transient.

use std::time::Duration;

/// Grows with each failure, falls back with a success, and draws each delay at random so that many
/// nodes do not come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    factor: Duration,
    max: Duration,
    attempts: u32,
    current: Duration,
    jitter: bool,
}

impl Backoff {
    /// For sessions: `b ← min(base + 2 b, max)`, the delay drawn uniformly below b.
    pub fn session() -> Self {
        Self::doubling(Duration::from_millis(100), Duration::from_secs(8))
    }

    /// `b ← min(base + 2 b, max)` with a uniform draw in [0, b).
    pub fn doubling(base: Duration, max: Duration) -> Self {
        let zero = Duration::ZERO;
        Self {
            base,
            factor: zero,
            max,
            attempts: 0,
            current: zero,
            jitter: true,
        }
    }

    /// `base`, `base + step`, `base + 2 step`, … up to `max`, without a draw.
    pub fn linear(base: Duration, step: Duration, max: Duration) -> Self {
        Self {
            base,
            factor: step,
            max,
            attempts: 0,
            current: Duration::ZERO,
            jitter: false,
        }
    }

    /// A failure: how long to wait now.
    pub fn next_delay(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        self.current = if self.jitter {
            (self.base + 2 * self.current).min(self.max)
        } else {
            (self.base + self.factor.saturating_mul(self.attempts - 1)).min(self.max)
        };
        if self.jitter {
            self.current.mul_f64(rand::random::<f64>())
        } else {
            self.current
        }
    }

    /// A success.
    pub fn reset(&mut self) {
        self.attempts = 0;
        self.current = Duration::ZERO;
    }

    /// Failures since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_never_waits_longer_than_eight_seconds() {
        let mut backoff = Backoff::session();
        for _ in 0..50 {
            assert!(backoff.next_delay() < Duration::from_secs(8));
        }
        assert_eq!(backoff.current, Duration::from_secs(8));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    #[test]
    fn linear_grows_by_its_step_up_to_its_end() {
        let s = Duration::from_secs;
        let mut backoff = Backoff::linear(s(5), s(5), s(12));
        assert_eq!([(); 3].map(|()| backoff.next_delay()), [s(5), s(10), s(12)]);
    }
}
