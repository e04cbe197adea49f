//! The leader's loops as one, seen from the store.

mod replicated;
mod sim;
