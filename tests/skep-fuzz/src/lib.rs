//! Every parser of bytes from outside, as a function that must neither panic nor hang on any bytes.
//!
//! The tests feed each for a moment, so that CI runs them; `cargo xtask fuzz NAME [SECONDS]` runs one
//! longer. Inputs come from a seed that is printed: `SKEP_SEED` replays it.

mod drive;
mod mutate;
mod seeds;
mod targets;

pub use drive::drive;
pub use targets::{TARGETS, Target, find};
