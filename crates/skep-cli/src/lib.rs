//! Docker's command line grammar over the Engine API.

use std::process::ExitCode;

/// Runs the command line; `args` begins with the program's name.
pub fn main(args: &[String]) -> ExitCode {
    let _ = args;
    eprintln!("skep: the command line is not in this build");
    ExitCode::FAILURE
}
