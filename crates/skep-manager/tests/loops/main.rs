//! The leader's loops as one, seen from the store.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod allocation;
mod autoscale;
mod global;
mod history;
mod jobs;
mod placement;
mod random;
mod rebalance;
mod replicated;
mod restart;
mod sim;
mod update;
