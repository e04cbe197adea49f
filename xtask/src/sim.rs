//! `cargo xtask sim N`: the simulation of skep-store with many seeds, on all cores.

use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::run as run_command;

/// What `cargo xtask test` builds too: raft and the like are optimised in it.
const ARTEFACTS: [&str; 5] = [
    "--workspace",
    "--features",
    "skep-agent/testing,skep-store/testing",
    "--test",
    "sim",
];

/// Runs so many new seeds; a failing one is named by the test, with how to run it again.
pub fn run(args: &[String]) -> Result<()> {
    let count: u64 = match args.first() {
        Some(text) => text.parse().context("how many seeds?")?,
        None => 5_000,
    };
    let cargo = |verb: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(verb).args(ARTEFACTS);
        command
    };
    run_command(&mut cargo(&["test", "--no-run"]))?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let first = since.as_secs() * 1_000_000;
    let share = count.div_ceil(cores);
    let mut running = Vec::new();
    for core in 0..cores {
        let mut command = cargo(&["test", "--quiet"]);
        command.args(["--", "never_tried", "--nocapture"]);
        command.env("SKEP_FIRST_SEED", (first + core * share).to_string());
        command.env("SKEP_SEEDS", share.to_string());
        running.push(command.spawn().context("start cargo")?);
    }
    let ended: Vec<_> = running.iter_mut().map(std::process::Child::wait).collect();
    for status in ended {
        if !status?.success() {
            bail!(
                "a seed failed: SKEP_SEED=<seed> cargo test --workspace --features {} --test sim everything_at_once",
                ARTEFACTS[2]
            );
        }
    }
    Ok(())
}
