//! What the store and its raft member count, for whoever shows it. Counting costs an atomic addition;
//! nothing is sampled or kept longer than the sums.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of all histograms, in seconds.
pub const BUCKETS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// How long something took, each time: counts by [`BUCKETS`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// How many took no longer than each of [`BUCKETS`], that of the smaller ones included.
    pub buckets: [u64; BUCKETS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took, in seconds.
    pub sum: f64,
}

/// What a store counted since it was opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoreMetrics {
    /// Transactions that were committed.
    pub committed: u64,
    /// Transactions that were sent on their way and failed: leadership was lost, or the disk full.
    pub failed: u64,
    /// From a transaction's proposal to its commit.
    pub commit_seconds: Histogram,
    /// Transactions on their way now.
    pub pending: u64,
    /// Watchers now.
    pub watchers: u64,
}

/// What a raft member counted since it was started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RaftMetrics {
    /// Entries that this member proposed as leader.
    pub proposals: u64,
    /// Times that this member saw another leader than before.
    pub leader_changes: u64,
    /// Each wait for the log's disk.
    pub sync_seconds: Histogram,
    /// Each snapshot made, from its beginning to its being on the disk.
    pub snapshot_seconds: Histogram,
    /// Snapshots taken from a leader.
    pub snapshots_received: u64,
    /// Messages given to the network, and taken from it.
    pub messages_sent: u64,
    /// See `messages_sent`.
    pub messages_received: u64,
    /// The current term.
    pub term: u64,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry applied to the store.
    pub applied_index: u64,
    /// The last entry in the log.
    pub last_index: u64,
    /// Members, and those of them that answered lately; a follower knows the latter of none.
    pub members: u64,
    /// See `members`.
    pub members_reachable: u64,
    /// Members that do not vote yet.
    pub learners: u64,
    /// Whether this member leads.
    pub is_leader: bool,
}

/// A histogram that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    /// Each bucket's own, without the smaller ones; the last is beyond all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

/// The counters behind [`StoreMetrics`].
#[derive(Debug, Default)]
pub(crate) struct StoreCounters {
    pub(crate) committed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) commit: Timings,
}

/// The counters behind [`RaftMetrics`].
#[derive(Debug, Default)]
pub(crate) struct RaftCounters {
    pub(crate) proposals: AtomicU64,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) sync: Timings,
    pub(crate) snapshot: Timings,
    pub(crate) snapshots_received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) term: AtomicU64,
    pub(crate) commit_index: AtomicU64,
    pub(crate) applied_index: AtomicU64,
    pub(crate) last_index: AtomicU64,
}

impl Timings {
    pub(crate) fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        count(&self.buckets[bucket]);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        let mut histogram = Histogram::default();
        let mut sum = 0;
        for (own, all) in self.buckets.iter().zip(&mut histogram.buckets) {
            sum += read(own);
            *all = sum;
        }
        let beyond = self.buckets.last().map_or(0, read);
        histogram.count = sum + beyond;
        histogram.sum = Duration::from_micros(read(&self.micros)).as_secs_f64();
        histogram
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// For measuring how long something takes, and for nothing that is decided by it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_all_that_took_no_longer() {
        let timings = Timings::default();
        for micros in [100, 250, 251, 2_000, 60_000_000] {
            timings.note(Duration::from_micros(micros));
        }
        let histogram = timings.read();
        assert_eq!(histogram.count, 5);
        assert_eq!(histogram.buckets[..4], [2, 3, 3, 4]);
        assert_eq!(histogram.buckets.last(), Some(&4));
        assert!((histogram.sum - 60.002_601).abs() < 1e-9);
    }
}
