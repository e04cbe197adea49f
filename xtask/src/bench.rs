//! `cargo xtask bench`: prints figures, each with its ratio to the peer or floor of the same run.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run as run_command;

/// Name, package, target, and whether the target is a bench or an example. Each prints its own table.
const BENCHES: &[(&str, &str, &str, &str)] = &[
    ("engine", "skep", "--example", "bench_engine"),
    ("cluster", "skep", "--example", "bench_cluster"),
    ("managers", "skep", "--example", "bench_managers"),
    ("scheduler", "skep-manager", "--bench", "scheduler"),
    ("manager", "skep", "--example", "bench_manager"),
    ("store", "skep-store", "--example", "store_bench"),
    ("net", "skep-net", "--example", "bench_net"),
    ("runtime", "skep-runtime", "--example", "bench"),
];

/// Runs all benches, or those named.
pub fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| BENCHES.iter().all(|(known, ..)| known != name))
    {
        let known: Vec<_> = BENCHES.iter().map(|(name, ..)| *name).collect();
        bail!("no bench {unknown:?}; there are {}", known.join(", "));
    }
    for &(name, package, kind, target) in BENCHES {
        if !names.is_empty() && names.iter().all(|wanted| wanted != name) {
            continue;
        }
        println!("== {name}");
        let verb = if kind == "--bench" { "bench" } else { "run" };
        let mut command = Command::new("cargo");
        command.args([verb, "--quiet", "--profile", "lab"]).args([
            "--package",
            package,
            kind,
            target,
        ]);
        match name {
            // It starts daemons of the program itself.
            "cluster" | "engine" | "managers" => {
                run_command(Command::new("cargo").args([
                    "build",
                    "--release",
                    "--quiet",
                    "--package",
                    "skep",
                ]))?;
            }
            // It writes its log there, on a real disk.
            "store" => drop(
                command
                    .arg("--")
                    .arg(std::env::temp_dir().join("skep-store-bench")),
            ),
            _ => {}
        }
        run_command(&mut command)?;
    }
    Ok(())
}
