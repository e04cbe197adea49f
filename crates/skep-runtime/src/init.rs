//! The reaper behind `--init`: pid 1 of a container that passes signals on and reaps orphans.
//!
//! The engine bind-mounts the program itself at [`PATH`] and puts `PATH --` before the user's
//! arguments; `main` of the program calls [`main`] when its `argv[0]` ends in `docker-init`.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use crate::sys::{clone, privilege};

/// Where Docker shows its init inside a container.
pub const PATH: &str = "/sbin/docker-init";

/// The argv role: `docker-init [--version] -- PROGRAM [ARGS…]`. `args` come without `argv[0]`. Call it
/// before any thread exists.
pub fn main(args: &[String]) -> ExitCode {
    let args = match args {
        [flag, ..] if flag == "--version" => {
            println!("tini version {} (skep)", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        [dashes, rest @ ..] if dashes == "--" => rest,
        all => all,
    };
    let Some((program, rest)) = args.split_first() else {
        eprintln!("docker-init: no program given");
        return ExitCode::FAILURE;
    };
    clone::block_signals();
    // Not pid 1 when the pid namespace is shared; orphans come here all the same.
    let _ = privilege::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    let mut command = Command::new(program);
    command.args(rest);
    // SAFETY: only async-signal-safe calls.
    unsafe {
        command.pre_exec(|| {
            // A group of its own in the foreground, so that keys reach the program alone.
            if libc::setpgid(0, 0) == 0 {
                libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpgrp());
            }
            clone::default_signals();
            Ok(())
        })
    };
    match command.spawn() {
        Ok(child) => watch(i32::try_from(child.id()).unwrap_or(0)),
        Err(e) => {
            eprintln!(
                "[FATAL tini ({})] exec {program} failed: {e}",
                std::process::id()
            );
            ExitCode::from(if e.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            })
        }
    }
}

/// Passes signals on to `main` and reaps, until `main` ends.
fn watch(main: i32) -> ExitCode {
    loop {
        match clone::wait_signal() {
            Some(libc::SIGCHLD) | None => {}
            // The terminal's own business.
            Some(libc::SIGTTIN | libc::SIGTTOU) => {}
            Some(signal) => {
                let _ = clone::kill(main, signal);
            }
        }
        while let Some((pid, status)) = clone::reap_any() {
            if pid == main {
                let status = ExitStatus::from_raw(status);
                let code = status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                return ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX));
            }
        }
    }
}
