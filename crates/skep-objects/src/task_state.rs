//! Task states: their order, their names, and which of them are final.

use crate::swarmkit::{Task, TaskState, TaskStatus};

/// Every state, in order.
pub const TASK_STATES: [TaskState; 14] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Shutdown,
    TaskState::Failed,
    TaskState::Rejected,
    TaskState::Remove,
    TaskState::Orphaned,
];

impl TaskState {
    /// The state's name as Docker's API prints it ("running").
    pub fn name(self) -> &'static str {
        match self {
            TaskState::New => "new",
            TaskState::Pending => "pending",
            TaskState::Assigned => "assigned",
            TaskState::Accepted => "accepted",
            TaskState::Preparing => "preparing",
            TaskState::Ready => "ready",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Complete => "complete",
            TaskState::Shutdown => "shutdown",
            TaskState::Failed => "failed",
            TaskState::Rejected => "rejected",
            TaskState::Remove => "remove",
            TaskState::Orphaned => "orphaned",
        }
    }

    /// The state with this name, in any case.
    pub fn from_name(name: &str) -> Option<TaskState> {
        TASK_STATES
            .into_iter()
            .find(|state| state.name().eq_ignore_ascii_case(name))
    }

    /// Whether nothing runs any more and the agent will not report another state.
    pub fn is_terminal(self) -> bool {
        self > TaskState::Running
    }
}

/// The state that a number from outside stands for: the highest known one not above it, so that a
/// state that a newer peer invented keeps its place in the order.
fn nearest(number: i32) -> TaskState {
    TASK_STATES
        .into_iter()
        .rev()
        .find(|state| (*state as i32) <= number)
        .unwrap_or(TaskState::New)
}

impl Task {
    /// The observed state; NEW when there is no status yet.
    pub fn observed_state(&self) -> TaskState {
        self.status
            .as_ref()
            .map_or(TaskState::New, TaskStatus::task_state)
    }

    /// The desired state.
    pub fn wanted_state(&self) -> TaskState {
        nearest(self.desired_state)
    }

    /// Whether the task is meant to run, or is on its way there.
    pub fn wants_to_run(&self) -> bool {
        self.wanted_state() <= TaskState::Running
    }

    /// Whether the observed state is final.
    pub fn has_stopped(&self) -> bool {
        self.observed_state().is_terminal()
    }
}

impl TaskStatus {
    /// The observed state.
    pub fn task_state(&self) -> TaskState {
        nearest(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_listed_in_their_order() {
        assert!(TASK_STATES.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn names_are_read_back_in_any_case() {
        for state in TASK_STATES {
            assert_eq!(TaskState::from_name(state.name()), Some(state));
            assert_eq!(
                TaskState::from_name(&state.name().to_uppercase()),
                Some(state)
            );
        }
        assert_eq!(TaskState::from_name("allocated"), None);
    }

    #[test]
    fn a_task_without_status_is_new() {
        assert_eq!(Task::default().observed_state(), TaskState::New);
    }

    #[test]
    fn an_unknown_number_keeps_its_place_in_the_order() {
        let status = TaskStatus {
            state: 600,
            ..TaskStatus::default()
        };
        assert_eq!(status.task_state(), TaskState::Complete);
    }

    #[test]
    fn terminal_states_are_those_past_running() {
        let terminal: Vec<_> = TASK_STATES
            .into_iter()
            .filter(|state| state.is_terminal())
            .collect();
        assert_eq!(terminal.first(), Some(&TaskState::Complete));
        assert_eq!(terminal.len(), 6);
    }
}
