//! The leader's loops as one, seen from the store.

mod allocation;
mod global;
mod history;
mod jobs;
mod placement;
mod random;
mod replicated;
mod restart;
mod sim;
mod update;
