//! Every parser of bytes from outside, as a function that must neither panic nor hang on any bytes.
//!
//! The tests feed each for a moment; `cargo xtask fuzz [NAME] [SECONDS]` longer, guided by where in the
//! code inputs lead: CI does that too. Inputs come from a seed that is printed: `SKEP_SEED` replays it
//! in a build like the one that found it. What was found once and is worth it lies in `corpus/`.

mod corpus;
mod coverage;
mod drive;
mod mutate;
mod seeds;
mod targets;

pub use drive::{Outcome, drive};
pub use targets::{TARGETS, Target, find};
