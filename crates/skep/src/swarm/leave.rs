//! What is said to somebody who makes a manager leave.

use super::error::SwarmError;
use super::info::{nodes, reachability};
use super::manager::RunningManager;

const ATTEMPT: &str =
    "You are attempting to leave the swarm on a node that is participating as a manager. ";
const LAST: &str = "Removing the last manager erases all current state of the swarm. Use `--force` \
                    to ignore this message. ";
const MAY_LOSE: &str = "Doing so may lose the consensus of your cluster. ";
const ONLY_WAY: &str = "The only way to restore a swarm that has lost consensus is to reinitialize \
                        it with `--force-new-cluster`. Use `--force` to suppress this message.";

/// What a manager is told, with what its leaving would mean.
pub(super) async fn refuse(manager: Option<&dyn RunningManager>) -> SwarmError {
    let counts = match manager {
        Some(manager) => nodes(&*manager.control())
            .await
            .ok()
            .as_deref()
            .map(reachability),
        None => None,
    };
    SwarmError::LeaveRefused(refusal(counts))
}

/// The text, by how many managers answer and how many do not.
fn refusal(counts: Option<(usize, usize)>) -> String {
    let consequence = match counts {
        Some((1, 0)) => return format!("{ATTEMPT}{LAST}"),
        Some((up, down)) if up <= down + 2 => format!(
            "Removing this node leaves {} managers out of {}. Without a Raft quorum your swarm \
             will be inaccessible. ",
            up.saturating_sub(1),
            up + down
        ),
        Some(_) => String::new(),
        None => MAY_LOSE.to_owned(),
    };
    format!("{ATTEMPT}{consequence}{ONLY_WAY}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(counts: Option<(usize, usize)>, part: &str) {
        let text = refusal(counts);
        assert!(text.starts_with(ATTEMPT) && text.contains(part), "{text}");
    }

    #[test]
    fn the_consequence_is_told() {
        check(
            Some((1, 0)),
            "Removing the last manager erases all current state",
        );
        check(Some((2, 0)), "leaves 1 managers out of 2.");
        check(Some((2, 1)), "leaves 1 managers out of 3.");
        check(None, "Doing so may lose the consensus");
        check(Some((3, 0)), "manager. The only way to restore");
    }
}
