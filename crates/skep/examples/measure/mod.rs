//! What the benches of hosts share: figures of both sides in one table, memory and CPU time of
//! processes, the peer itself.

#![allow(dead_code, unused_imports)] // each bench uses its part

pub mod lists;
mod machine;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use skep_testkit::Host;

pub use machine::{cpu_ms, daemons, pss_mb, shims};
pub use table::{Figures, Unit, print};

/// The program as users build it, whichever profile the bench itself has: `target/…/release/skep`.
pub fn program() -> Result<PathBuf> {
    let bench = std::env::current_exe()?;
    let program = bench
        .ancestors()
        .nth(3)
        .context("no target directory")?
        .join("release/skep");
    if !program.exists() {
        bail!("{program:?} is missing: cargo build --release");
    }
    Ok(program)
}

/// Why there is no peer on this machine, if there is none.
pub fn peer_is_missing() -> Option<&'static str> {
    let places = ["/usr/sbin/dockerd", "/usr/bin/dockerd"];
    let found = places
        .iter()
        .any(|place| std::path::Path::new(place).exists());
    (!found).then_some("not installed (Debian: docker.io)")
}

/// Asks the API; a refusal is an error.
pub fn ask(host: &Host, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let answer = host.api(method, path, body)?;
    if answer.status >= 400 {
        bail!("{method} {path}: {} {}", answer.status, answer.text());
    }
    Ok(answer.json())
}
