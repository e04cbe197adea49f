//! The reaper behind `--init`: pid 1 of a container that passes signals on and reaps orphans.
//!
//! The engine bind-mounts the program itself at [`PATH`] and puts `PATH --` before the user's
//! arguments; `main` of the program calls [`main`] when its `argv[0]` ends in `docker-init`.

use std::process::ExitCode;

/// Where Docker shows its init inside a container.
pub const PATH: &str = "/sbin/docker-init";

/// The argv role: `docker-init [--version] -- PROGRAM [ARGS…]`. `args` come without `argv[0]`.
pub fn main(args: &[String]) -> ExitCode {
    eprintln!("init: not built yet: {args:?}");
    ExitCode::FAILURE
}
