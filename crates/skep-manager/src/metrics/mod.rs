//! What a manager counts. Names are dockerd's where it has the same figure; docs/design/metrics.md
//! lists all.

mod counters;
mod quorum;
mod swarm;

use skep_store::View;

pub use counters::{Counters, Histogram};
pub use quorum::Raft;

/// How a family is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Counts by size.
    Histogram,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// After the family's name: `_bucket`, `_sum`, `_count`, or nothing.
    pub suffix: &'static str,
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: f64,
}

/// Figures of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// How to read it.
    pub kind: Kind,
    /// In words.
    pub help: &'static str,
    /// The figures.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A family of one figure without labels.
    pub fn single(name: &'static str, kind: Kind, help: &'static str, value: f64) -> Self {
        Self {
            name,
            kind,
            help,
            samples: vec![Sample {
                suffix: "",
                labels: Vec::new(),
                value,
            }],
        }
    }

    /// A family with a figure for each value of one label.
    pub fn by(
        name: &'static str,
        kind: Kind,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> Self {
        let samples = values.into_iter().map(|(text, value)| Sample {
            suffix: "",
            labels: vec![(label, text)],
            value,
        });
        Self {
            name,
            kind,
            help,
            samples: samples.collect(),
        }
    }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    Family::single(name, Kind::Gauge, help, value)
}

#[allow(clippy::cast_precision_loss)] // Prometheus counts in floats.
fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    Family::single(name, Kind::Counter, help, value as f64)
}

/// A histogram out of its cumulative buckets.
#[allow(clippy::cast_precision_loss)] // Prometheus counts in floats.
fn histogram(
    name: &'static str,
    help: &'static str,
    buckets: impl IntoIterator<Item = (f64, u64)>,
    count: u64,
    sum: f64,
) -> Family {
    let bounded = buckets
        .into_iter()
        .map(|(bound, count)| (bound.to_string(), count));
    let all = bounded.chain([("+Inf".to_owned(), count)]);
    let mut samples: Vec<Sample> = all
        .map(|(bound, count)| Sample {
            suffix: "_bucket",
            labels: vec![("le", bound)],
            value: count as f64,
        })
        .collect();
    samples.extend(
        [("_sum", sum), ("_count", count as f64)].map(|(suffix, value)| Sample {
            suffix,
            labels: Vec::new(),
            value,
        }),
    );
    Family {
        name,
        kind: Kind::Histogram,
        help,
        samples,
    }
}

/// Every family of a manager.
pub fn families(view: &View, raft: &Raft, counters: &Counters) -> Vec<Family> {
    let mut all = swarm::families(view);
    all.extend(raft.families());
    all.extend(counters.families());
    all
}
