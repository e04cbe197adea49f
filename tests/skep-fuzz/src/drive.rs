//! Runs a target on many inputs. Where the build counts edges, an input that led somewhere new is kept
//! and changed further.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::mutate::{Random, input};
use crate::targets::Target;

/// No input is worth more of anybody's time than this, on a loaded machine as well.
const SLOW: Duration = Duration::from_secs(20);
/// What is kept is changed again and again, and may grow.
const LONGEST: usize = 16 << 10;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How many inputs there were, the seeds aside.
    pub inputs: u64,
    /// Edges gone over; none in a build that does not count.
    pub edges: Option<usize>,
    /// Inputs that led somewhere new, in the order of their finding.
    pub found: Vec<Vec<u8>>,
}

/// Feeds a target until it had `most` inputs or the time is over.
///
/// # Panics
/// Where the target does, or takes too long: after printing the seed and the input.
pub fn drive(target: &Target, seed: u64, most: u64, time: Duration) -> Outcome {
    let mut corpus = target.corpus();
    let given = corpus.len();
    let mut random = Random::new(seed);
    let mut coverage = Coverage::new();
    let begin = Instant::now();
    let mut inputs = 0;
    for valid in &corpus {
        one(target, seed, valid, &mut coverage);
    }
    while inputs < most && begin.elapsed() < time {
        let bytes = input(&mut random, &corpus);
        let is_new = one(target, seed, &bytes, &mut coverage);
        if is_new && bytes.len() <= LONGEST {
            corpus.push(bytes);
        }
        inputs += 1;
    }
    Outcome {
        inputs,
        edges: coverage.map(|coverage| coverage.edges()),
        found: corpus.split_off(given),
    }
}

/// Of these inputs the few that go over all edges that they all do, beside those of the seeds: small
/// ones first.
pub fn distilled(target: &Target, mut inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut coverage = Coverage::new();
    for valid in (target.seeds)() {
        one(target, 0, &valid, &mut coverage);
    }
    inputs.sort_by_key(Vec::len);
    inputs.retain(|bytes| one(target, 0, bytes, &mut coverage));
    inputs
}

/// Whether it led somewhere new.
fn one(target: &Target, seed: u64, bytes: &[u8], coverage: &mut Option<Coverage>) -> bool {
    if let Some(coverage) = coverage {
        coverage.reset();
    }
    let begin = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let took = begin.elapsed();
    let is_new = coverage.as_mut().is_some_and(Coverage::is_new);
    if done.is_err() || took > SLOW {
        let shown: String = bytes.escape_ascii().to_string();
        panic!(
            "{}: SKEP_SEED={seed}, {} after {took:?} on {} bytes: {shown}",
            target.name,
            if done.is_err() {
                "panicked"
            } else {
                "returned"
            },
            bytes.len(),
        );
    }
    is_new
}
