//! The line of one task.

use serde_json::Value;

use crate::cmd::objects::text;
use crate::output::{Extent, Messages, truncated};

/// More tasks than this have no line each.
pub(super) const MOST_LINES: usize = 20;

/// States in their order; those from `complete` on are ends.
const STATES: [&str; 13] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
    "complete",
    "shutdown",
    "failed",
    "rejected",
];
/// Steps until a task runs, and until it has completed.
pub(super) const TO_RUN: usize = 9;
pub(super) const TO_COMPLETE: usize = 10;

/// A state's place from 1; 0 for states that nobody waits for.
pub(super) fn place(state: &str) -> usize {
    STATES
        .iter()
        .position(|known| *known == state)
        .map_or(0, |at| at + 1)
}

pub(super) fn desired(task: &Value) -> usize {
    place(text(task, "/DesiredState"))
}

pub(super) fn observed(task: &Value) -> usize {
    place(text(task, "/Status/State"))
}

/// Shows a task's error, or else how far it is.
pub(super) fn show(lines: &mut Messages, id: &str, task: &Value, steps: usize) {
    let error = text(task, "/Status/Err").replace('\n', " ");
    if !error.is_empty() {
        lines.progress(id, &truncated(&error, 75), Extent::default());
        return;
    }
    let is_ending = desired(task) > TO_RUN || observed(task) > TO_RUN;
    if steps == TO_COMPLETE || !is_ending {
        let state = format!("{:<9}", text(task, "/Status/State"));
        let extent = Extent {
            done: observed(task),
            all: steps,
            unit: "",
        };
        lines.progress(id, &state, extent);
    }
}
