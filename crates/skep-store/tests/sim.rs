//! Members on a virtual clock, network and disk, all driven by one seed.
//!
//! What is checked, always: one leader a term; every acknowledged append is there, once, in an order
//! that agrees with real time; what a member shows only grows, and agrees with all others; after
//! everything is mended, all converge and take writes. On failure the seed is printed;
//! `SKEP_SEED=<seed>` runs that one again, `SKEP_SEEDS=<n>` runs n of them.
#![allow(clippy::unwrap_used)] // A failure is a panic here.

mod support;

use support::cluster::{Cluster, Faults};

/// Runs a scenario with each seed.
fn seeds(count: u64, scenario: fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("SKEP_SEED") {
        return scenario(seed);
    }
    for seed in 1..=number("SKEP_SEEDS").unwrap_or(count) {
        let result = std::panic::catch_unwind(|| scenario(seed));
        if let Err(panic) = result {
            eprintln!("failed with SKEP_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Runs a cluster with faults, mends everything, and checks that it comes together.
fn run(seed: u64, members: u64, faults: &Faults, steps: u64) {
    let mut cluster = Cluster::new(seed, members);
    cluster.run(steps, faults);
    cluster.mend();
    cluster.converge();
    cluster.check_history();
}

#[test]
fn appends_are_linearizable_on_a_good_network() {
    seeds(2, |seed| {
        let mut cluster = Cluster::new(seed, 3);
        cluster.run(3_000, &Faults::NONE);
        cluster.converge();
        let acknowledged = cluster.check_history();
        assert!(
            acknowledged > 100,
            "only {acknowledged} appends in 30 seconds"
        );
    });
}

#[test]
fn nothing_is_lost_by_partitions_delays_and_duplicates() {
    seeds(4, |seed| {
        run(seed, 3 + 2 * (seed % 2), &FAULTS_NETWORK, 4_000)
    });
}

#[test]
fn nothing_is_lost_by_crashes_with_torn_writes() {
    seeds(4, |seed| run(seed, 3, &FAULTS_CRASH, 4_000));
}

#[test]
fn nothing_is_lost_by_everything_at_once_while_members_come_and_go() {
    seeds(6, |seed| run(seed, 3, &FAULTS_ALL, 5_000));
}

const FAULTS_NETWORK: Faults = Faults {
    network: true,
    ..Faults::NONE
};
const FAULTS_CRASH: Faults = Faults {
    crashes: true,
    ..Faults::NONE
};
const FAULTS_ALL: Faults = Faults {
    network: true,
    crashes: true,
    disk: true,
    membership: true,
    transfers: true,
};
