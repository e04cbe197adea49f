//! `skep daemon`: reads flags and daemon.json, then builds and runs engine, swarm node and HTTP API.

use std::process::ExitCode;

/// Runs the daemon with dockerd's flags in `args`.
pub fn main(args: &[String]) -> ExitCode {
    let _ = args;
    eprintln!("skep daemon: not in this build");
    ExitCode::FAILURE
}
