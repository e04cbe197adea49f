//! `cargo xtask bench`: prints figures, each with its ratio to the peer or floor of the same run.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run as run_command;

/// Name, package and bench target.
const BENCHES: [(&str, &str, &str); 0] = [];

/// Runs all benches, or those named.
pub fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| BENCHES.iter().all(|(known, ..)| known != name)) {
        let known: Vec<_> = BENCHES.iter().map(|(name, ..)| *name).collect();
        bail!("no bench {unknown:?}; there are {}", known.join(", "));
    }
    for (name, package, target) in BENCHES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            run_command(Command::new("cargo").args(["bench", "--package", package, "--bench", target]))?;
        }
    }
    Ok(())
}


