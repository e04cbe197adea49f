//! Another OCI runtime (`--runtime runc`), driven by its command line.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::ShimSpec;
use super::protocol::{Refusal, RefusalKind};
use super::run::Made;
use super::spec::ExternalRuntime;

fn refusal(message: String) -> Refusal {
    Refusal {
        kind: RefusalKind::Create,
        message,
    }
}

/// Runs one sub-command to its end.
fn call(runtime: &ExternalRuntime, args: &[&str]) -> Result<Output, Refusal> {
    Command::new(&runtime.program)
        .args(&runtime.args)
        .arg("--root")
        .arg(&runtime.root)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| refusal(format!("run {}: {e}", runtime.program.display())))
}

pub(super) fn create(
    _dir: &Path,
    _spec: &ShimSpec,
    runtime: &ExternalRuntime,
) -> Result<Made, Refusal> {
    Err(refusal(format!(
        "runtime {} cannot be used yet",
        runtime.program.display()
    )))
}

pub(super) fn start(runtime: &ExternalRuntime, id: &str) -> Result<(), Refusal> {
    let output = call(runtime, &["start", id])?;
    if output.status.success() {
        return Ok(());
    }
    Err(refusal(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

pub(super) fn delete(runtime: &ExternalRuntime, id: &str) {
    if let Err(e) = call(runtime, &["delete", "--force", id]) {
        eprintln!("shim: {e}");
    }
}
