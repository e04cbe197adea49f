//! Developer commands: `cargo xtask check|test|bench|install`. The index of what a developer can do.

mod bench;
mod clients;
mod fuzz;
mod packages;
mod sim;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const HELP: &str = "\
usage: cargo xtask COMMAND

  check            formatting, lints, documentation, the edges between crates
  test [FILTER]    everything CI runs: installs what the tests need, then runs all of them
  bench [NAME...]  the figures of docs/figures.md, beside Debian's dockerd where it is installed
  sim [N]          N simulated quorums (5000) with seeds never tried before, on all cores
  fuzz [NAME] [S]  feeds parsers with bytes that lead to new places in them, S (60) seconds each;
                   tests/skep-fuzz names them, --keep keeps what was found in its corpus
  install          only installs what the tests need (Debian packages, as root; Python's into target)
";

/// How long CI fuzzes each parser.
const FUZZ_SECONDS: &str = "2";

/// Fakes that tests of several crates share.
const FAKES: &str = "skep-agent/testing,skep-store/testing";

fn main() -> ExitCode {
    if let Some(code) = fuzz::as_rustc() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("check") => check(),
        Some("test") => test(&args[1..]),
        Some("fuzz") => fuzz::own_path().and_then(|own| fuzz::fuzz(&own, &args[1..])),
        Some("bench") => bench::run(&args[1..]),
        Some("sim") => sim::run(&args[1..]),
        Some("install") => install(),
        _ => {
            print!("{HELP}");
            return if args.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        FAKES,
        "--",
        "-D",
        "warnings",
    ])?;
    run(Command::new("cargo")
        .args(["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    cargo(&["test", "--quiet", "--package", "xtask"])
}

/// What the tests need beyond cargo.
fn install() -> Result<()> {
    packages::install()?;
    clients::install()
}

fn test(filter: &[String]) -> Result<()> {
    let own = fuzz::own_path()?;
    install()?;
    // Built once, and by one command, so that tests which start the program find it fresh.
    cargo(&["build", "--workspace", "--all-targets", "--features", FAKES])?;
    let nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .output();
    let mut args = match nextest {
        Ok(output) if output.status.success() => {
            vec!["nextest", "run", "--workspace", "--no-fail-fast"]
        }
        _ => vec!["test", "--workspace", "--no-fail-fast"],
    };
    args.extend(["--features", FAKES]);
    args.extend(filter.iter().map(String::as_str));
    cargo(&args)?;
    match filter {
        [] => fuzz::fuzz(&own, &[FUZZ_SECONDS.to_owned()]),
        _ => Ok(()),
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    run(Command::new("cargo").args(args))
}

/// Runs a command to its end; its failure is ours.
fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
