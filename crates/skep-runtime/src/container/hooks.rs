//! Programs which `config.json` wants run at points of a container's life.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;

use super::error::CreateError;

/// Runs `hooks` in order, each with `state` (the OCI state, JSON) on its standard input. The first
/// that fails ends it.
pub(crate) fn run(
    stage: &'static str,
    hooks: Option<&[Hook]>,
    state: &str,
) -> Result<(), CreateError> {
    for (index, hook) in hooks.unwrap_or_default().iter().enumerate() {
        run_one(hook, state).map_err(|reason| CreateError::Hook {
            stage,
            index,
            reason,
        })?;
    }
    Ok(())
}

/// The same, but a hook that fails is told of and the others run all the same.
pub(crate) fn run_all(
    stage: &'static str,
    hooks: Option<&[Hook]>,
    state: &str,
) -> Vec<CreateError> {
    let failed = |(index, hook): (usize, &Hook)| {
        run_one(hook, state).err().map(|reason| CreateError::Hook {
            stage,
            index,
            reason,
        })
    };
    let hooks = hooks.unwrap_or_default().iter().enumerate();
    hooks.filter_map(failed).collect()
}

fn run_one(hook: &Hook, state: &str) -> Result<(), String> {
    if !hook.path().is_absolute() {
        return Err(format!("path {} is not absolute", hook.path().display()));
    }
    let args = hook.args().as_deref().unwrap_or_default();
    let mut command = Command::new(hook.path());
    if let Some(name) = args.first() {
        command.arg0(name).args(&args[1..]);
    }
    command.env_clear();
    for entry in hook.env().iter().flatten() {
        if let Some((key, value)) = entry.split_once('=') {
            command.env(key, value);
        }
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // SAFETY: only async-signal-safe calls: the shim blocks signals, a hook must not.
    unsafe {
        command.pre_exec(|| {
            crate::sys::clone::default_signals();
            Ok(())
        })
    };
    let mut child = command
        .spawn()
        .map_err(|e| format!("fork/exec {}: {e}", hook.path().display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its input.
        let _ = stdin.write_all(state.as_bytes());
    }
    let deadline = hook
        .timeout()
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let status = loop {
        match (child.try_wait().map_err(|e| e.to_string())?, deadline) {
            (Some(status), _) => break status,
            (None, Some(deadline)) if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "hook ran past timeout of {}s",
                    hook.timeout().unwrap_or(0)
                ));
            }
            (None, Some(_)) => std::thread::sleep(Duration::from_millis(5)),
            (None, None) => break child.wait().map_err(|e| e.to_string())?,
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.by_ref().take(4096).read_to_string(&mut said);
    }
    Err(format!("{status}, stderr: {said}"))
}
