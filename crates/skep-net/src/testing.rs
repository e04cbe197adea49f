//! Throw-away namespaces for tests, and the real `ip` and `nft` to check with.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs a test in a network namespace of its own, which goes with the thread, even on panic.
/// Programs started inside are in it too.
pub(crate) fn in_new_netns<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
            f()
        };
        match scope.spawn(run).join() {
            Ok(out) => out,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What a program prints.
pub(crate) fn shell(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let out = Command::new(program)
        .args(words)
        .output()
        .expect("the program is installed");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}
