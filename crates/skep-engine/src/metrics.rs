//! What the engine counts, by dockerd's names, for whoever shows it. Counting costs two atomic
//! additions; nothing is sampled or kept longer than the sums.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of all histograms, in seconds: Prometheus's own, as dockerd has them.
pub const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How long something took, each time: counts by [`BUCKETS`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// How many took no longer than each of [`BUCKETS`], those of the smaller ones included.
    pub buckets: [u64; BUCKETS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took, in seconds.
    pub sum: f64,
}

/// A histogram that is being filled.
#[derive(Debug, Default)]
pub struct Timings {
    /// Each bucket's own, without the smaller ones; the last is beyond all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

impl Timings {
    /// Notes what took from `begun` until now.
    pub fn since(&self, begun: Instant) {
        self.note(begun.elapsed());
    }

    fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        count(&self.buckets[bucket]);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was noted so far.
    #[must_use]
    pub fn read(&self) -> Histogram {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut histogram = Histogram::default();
        for (own, all) in self.buckets.iter().zip(&mut histogram.buckets) {
            histogram.count += read(own);
            *all = histogram.count;
        }
        histogram.count += self.buckets.last().map_or(0, read);
        histogram.sum = Duration::from_nanos(read(&self.nanos)).as_secs_f64();
        histogram
    }
}

/// What was done to containers, when it succeeded.
#[derive(Debug, Default)]
pub(crate) struct ContainerTimes {
    pub changes: Timings,
    pub commit: Timings,
    pub create: Timings,
    pub delete: Timings,
    pub start: Timings,
}

/// What was done to containers' networks, when it succeeded.
#[derive(Debug, Default)]
pub(crate) struct NetworkTimes {
    /// All networks of a container that starts.
    pub allocate: Timings,
    /// One network of a container.
    pub connect: Timings,
    /// All networks of a container that ended.
    pub release: Timings,
}

/// What was done to images, when it succeeded.
#[derive(Debug, Default)]
pub struct ImageTimes {
    pub(crate) delete: Timings,
    /// Looking at an image's steps, which is for whoever shows them to note.
    pub history: Timings,
    pub(crate) pull: Timings,
    pub(crate) push: Timings,
}

impl ImageTimes {
    /// Each by its action.
    #[must_use]
    pub fn by_action(&self) -> Vec<(&'static str, Histogram)> {
        vec![
            ("delete", self.delete.read()),
            ("history", self.history.read()),
            ("pull", self.pull.read()),
            ("push", self.push.read()),
        ]
    }
}

/// What an engine counted since it was opened; [`ImageTimes`] is beside its images.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) containers: ContainerTimes,
    pub(crate) networks: NetworkTimes,
    pub(crate) checks: AtomicU64,
    pub(crate) failed_checks: AtomicU64,
    pub(crate) check_start: Timings,
    /// Gathering what `info` shows, which is for whoever shows it to note.
    pub system_info: Timings,
}

impl Metrics {
    /// What was done to containers, by action.
    #[must_use]
    pub fn container_actions(&self) -> Vec<(&'static str, Histogram)> {
        let times = &self.containers;
        vec![
            ("changes", times.changes.read()),
            ("commit", times.commit.read()),
            ("create", times.create.read()),
            ("delete", times.delete.read()),
            ("start", times.start.read()),
        ]
    }

    /// What was done to containers' networks, by action.
    #[must_use]
    pub fn network_actions(&self) -> Vec<(&'static str, Histogram)> {
        let times = &self.networks;
        vec![
            ("allocate", times.allocate.read()),
            ("connect", times.connect.read()),
            ("release", times.release.read()),
        ]
    }

    /// Health checks that were begun.
    #[must_use]
    pub fn health_checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    /// Health checks that did not pass.
    #[must_use]
    pub fn failed_health_checks(&self) -> u64 {
        self.failed_checks.load(Ordering::Relaxed)
    }

    /// From a health check's beginning until its program runs.
    #[must_use]
    pub fn health_check_start(&self) -> Histogram {
        self.check_start.read()
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_all_that_took_no_longer() {
        let timings = Timings::default();
        for micros in [100, 5_000, 5_001, 2_000_000, 60_000_000] {
            timings.note(Duration::from_micros(micros));
        }
        let histogram = timings.read();
        assert_eq!(histogram.count, 5);
        assert_eq!(histogram.buckets, [2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4]);
        assert!((histogram.sum - 62.010_101).abs() < 1e-9);
    }
}
