//! Members on a virtual clock, network and disk, all driven by one seed.
//!
//! What is checked, always: one leader a term; every acknowledged append is there, once, in an order
//! that agrees with real time, and shown by whoever acknowledged it; what a member shows only grows,
//! and agrees with all others; after everything is mended, all converge and take writes; and all of
//! that once more after the power went everywhere at once.
//!
//! Each run also takes seeds that no run took before, for a bounded time, and prints them. On
//! failure the seed is printed: `SKEP_SEED=<seed>` runs that one again. `cargo xtask sim N` runs N.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A failure is a panic here; new seeds come from the clock.

mod support;

use std::time::{Duration, SystemTime};

use support::cluster::Cluster;
use support::plan::{Faults, Plan};

/// CPU time that new seeds may take in a usual run.
const NEW_SEEDS_CPU: Duration = Duration::from_secs(20);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs a plan with one seed.
fn run(seed: u64, plan: impl Fn(u64) -> Plan + std::panic::RefUnwindSafe) -> usize {
    let result = std::panic::catch_unwind(|| Cluster::new(plan(seed)).run());
    result.unwrap_or_else(|panic| {
        eprintln!("failed with SKEP_SEED={seed}, {:?}", plan(seed));
        std::panic::resume_unwind(panic)
    })
}

/// Runs plans with the first seeds, or the one that is asked for.
fn seeds(count: u64, plan: impl Fn(u64) -> Plan + std::panic::RefUnwindSafe) {
    if let Some(seed) = number("SKEP_SEED") {
        run(seed, plan);
        return;
    }
    for seed in 1..=count {
        run(seed, &plan);
    }
}

#[test]
fn appends_are_linearizable_on_a_good_network() {
    for seed in 1..=3 {
        let acknowledged = run(seed, |seed| Plan::calm(seed, 3, 1_000));
        assert!(
            acknowledged > 100,
            "only {acknowledged} appends in 25 seconds"
        );
    }
}

#[test]
fn nothing_is_lost_by_partitions_delays_and_duplicates() {
    seeds(10, |seed| Plan {
        faults: Faults {
            network: 40,
            pause: 100,
            ..Faults::NONE
        },
        ..Plan::calm(seed, 3 + 2 * (seed % 2), 1_500)
    });
}

#[test]
fn nothing_is_lost_by_crashes_with_torn_writes() {
    seeds(10, |seed| Plan {
        faults: Faults {
            crash: 50,
            ..Faults::NONE
        },
        ..Plan::calm(seed, 3, 1_500)
    });
}

#[test]
fn nothing_is_lost_by_everything_at_once_while_members_come_and_go() {
    seeds(50, Plan::of);
}

/// As many as `SKEP_SEEDS` says, or as take the time allowed.
#[test]
fn nothing_is_lost_with_seeds_never_tried_before() {
    if number("SKEP_SEED").is_some() {
        return; // That one is run by the test before.
    }
    let wanted = number("SKEP_SEEDS");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let first = number("SKEP_FIRST_SEED").unwrap_or(since.unwrap().as_secs() * 1_000_000);
    let begun = cpu_time();
    let mut count = 0;
    while match wanted {
        Some(wanted) => count < wanted,
        None => cpu_time() - begun < NEW_SEEDS_CPU,
    } {
        run(first + count, Plan::of);
        count += 1;
    }
    let took = cpu_time() - begun;
    println!(
        "seeds {first} to {}: {count} runs, {took:.1?} of CPU",
        first + count - 1
    );
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
