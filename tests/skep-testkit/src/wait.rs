//! Waiting for what another process does, with one setting of patience.

use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(25);

/// Asks until there is an answer. Panics with the last refusal when patience runs out.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, ask)
}

/// The same with another patience.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(refusal) if start.elapsed() > patience => {
                panic!("{what}: not within {patience:?}; last: {refusal}")
            }
            // There is no event to wait for: the other side is a process that we only ask.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
