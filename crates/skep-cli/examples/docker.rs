//! The command line alone: what the transcripts under `tests/` run, without linking the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    skep_cli::main(&args)
}
