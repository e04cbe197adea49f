//! Fuzzing guided by coverage, with the stable compiler.
//!
//! skep's own crates are compiled with LLVM's counters of edges; what they depend on is not, and is
//! taken as it is from other builds. For that this program stands in for the compiler: cargo calls it
//! in the place of rustc for the crates of the workspace alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

/// Set where cargo is to call this program for rustc.
const STANDS_IN: &str = "SKEP_XTASK_STANDS_IN_FOR_RUSTC";

/// A byte for each edge. `skep-fuzz` has the function that is told of where they are.
const COUNTERS: [&str; 3] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// Where this program lies. To be asked for before anything is built: cargo may put a new xtask into
/// its place, and the kernel then calls the one that runs "(deleted)".
pub fn own_path() -> Result<PathBuf> {
    std::env::current_exe().context("find this program")
}

/// Runs `skep-fuzz` with these arguments; `own` is what [`own_path`] said.
pub fn fuzz(own: &Path, args: &[String]) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(["run", "--quiet", "--package", "skep-fuzz", "--"])
        .args(args)
        .env(STANDS_IN, "1")
        // Built once for a run, by and large: what would speed up the next build is not worth its room.
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTC_WORKSPACE_WRAPPER", own);
    crate::run(&mut command)
}

/// Where this program was called in the place of rustc: calls it. Cargo's first argument is its path.
pub fn as_rustc() -> Option<ExitCode> {
    std::env::var_os(STANDS_IN)?;
    let mut args = std::env::args_os().skip(1);
    let mut command = Command::new(args.next()?);
    let args: Vec<OsString> = args.collect();
    // Build scripts and macros run on this machine while others are compiled; no target is named
    // for them.
    if args.iter().any(|arg| arg == "--target") {
        command.args(COUNTERS);
    }
    let status = command.args(args).status();
    let code = status.ok().and_then(|status| status.code());
    Some(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}
