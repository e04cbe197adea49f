//! Runs a target on many inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::mutate::{Random, input};
use crate::targets::Target;

/// No input is worth more of anybody's time than this, on a loaded machine as well.
const SLOW: Duration = Duration::from_secs(20);

/// Feeds a target until it had `most` inputs or the time is over; returns how many it had.
///
/// # Panics
/// Where the target does, or takes too long: after printing the seed and the input.
pub fn drive(target: &Target, seed: u64, most: u64, time: Duration) -> u64 {
    let seeds = (target.seeds)();
    let mut random = Random::new(seed);
    let begin = Instant::now();
    let mut count = 0;
    for valid in &seeds {
        one(target, seed, valid);
    }
    while count < most && begin.elapsed() < time {
        one(target, seed, &input(&mut random, &seeds));
        count += 1;
    }
    count
}

fn one(target: &Target, seed: u64, bytes: &[u8]) {
    let begin = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let took = begin.elapsed();
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
}
