//! One step of a task: what to do next, and what its outcome means. Pure.
//!
//! Invariant: a task's state only grows, and each transition has one owner ([`TRANSITIONS`]).

use skep_objects::swarmkit::TaskState;

use crate::executor::TaskError;

/// Who makes a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The agent decides alone.
    Agent,
    /// The executor's outcome decides.
    Executor,
}

/// Every transition of observed state that happens on a node, and who makes it. The ones before
/// ASSIGNED and those to ORPHANED are the managers'.
pub const TRANSITIONS: &[(TaskState, TaskState, Owner)] = {
    use Owner::{Agent, Executor};
    use TaskState::*;
    &[
        (Assigned, Accepted, Agent),
        (Accepted, Preparing, Agent),
        (Ready, Starting, Agent),
        (Preparing, Ready, Executor),
        (Starting, Running, Executor),
        (Running, Complete, Executor),
        (Preparing, Rejected, Executor),
        (Starting, Failed, Executor),
        (Running, Failed, Executor),
        (Assigned, Shutdown, Executor),
        (Accepted, Shutdown, Executor),
        (Preparing, Shutdown, Executor),
        (Ready, Shutdown, Executor),
        (Starting, Shutdown, Executor),
        (Running, Shutdown, Executor),
        (Assigned, Rejected, Executor),
        (Accepted, Rejected, Executor),
        (Ready, Rejected, Executor),
    ]
};

/// What to do with a task now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Idle,
    /// Report the next state.
    Advance(TaskState),
    /// Pull, create.
    Prepare,
    /// Start, and wait for health.
    Start,
    /// Wait for the end.
    Wait,
    /// Stop.
    Shutdown,
}

/// Chooses from what is and what is wanted.
pub fn next(observed: TaskState, desired: TaskState) -> Action {
    use TaskState::{
        Accepted, Assigned, Complete, Failed, New, Orphaned, Pending, Preparing, Ready, Rejected,
        Remove, Running, Shutdown, Starting,
    };
    if desired >= Shutdown {
        return if observed >= Complete {
            Action::Idle
        } else {
            Action::Shutdown
        };
    }
    if observed > desired {
        return Action::Idle;
    }
    match observed {
        Preparing => Action::Prepare,
        Starting => Action::Start,
        Running => Action::Wait,
        _ if observed >= desired => Action::Idle,
        New | Pending | Assigned => Action::Advance(Accepted),
        Accepted => Action::Advance(Preparing),
        Ready => Action::Advance(Starting),
        Complete | Shutdown | Failed | Rejected | Remove | Orphaned => Action::Idle,
    }
}

/// What an action's outcome means for the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// A new state, with the texts that `docker service ps` shows.
    State {
        /// The new state.
        state: TaskState,
        /// What the task is at; none leaves the last one.
        message: Option<&'static str>,
        /// Why it failed; empty if it did not.
        err: String,
        /// Exit code of the container, where there is one.
        exit_code: Option<i64>,
    },
    /// The same action again in a moment.
    Retry(String),
}

/// The message of a state that the agent reports on its own.
pub fn message(state: TaskState) -> &'static str {
    match state {
        TaskState::Accepted => "accepted",
        TaskState::Preparing => "preparing",
        TaskState::Ready => "prepared",
        TaskState::Starting => "starting",
        TaskState::Running => "started",
        TaskState::Complete => "finished",
        TaskState::Shutdown => "shutdown",
        TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Failed
        | TaskState::Rejected
        | TaskState::Remove
        | TaskState::Orphaned => "",
    }
}

/// Turns an action's outcome into the task's next state.
pub fn settle(observed: TaskState, action: Action, outcome: Result<(), TaskError>) -> Settled {
    let reached = match action {
        Action::Idle => observed,
        Action::Advance(state) => state,
        Action::Prepare => TaskState::Ready,
        Action::Start => TaskState::Running,
        Action::Wait => TaskState::Complete,
        Action::Shutdown => TaskState::Shutdown,
    };
    let (err, exit_code) = match outcome {
        Ok(()) => {
            let exit_code = (action == Action::Wait).then_some(0);
            let message = Some(message(reached));
            return Settled::State {
                state: reached,
                message,
                err: String::new(),
                exit_code,
            };
        }
        Err(TaskError::Temporary(reason)) => return Settled::Retry(reason),
        Err(error @ TaskError::Exit { code, .. }) => (error.to_string(), Some(code)),
        Err(error @ (TaskError::Fatal(_) | TaskError::Unhealthy)) => (error.to_string(), None),
    };
    let state = if observed < TaskState::Starting {
        TaskState::Rejected
    } else {
        TaskState::Failed
    };
    Settled::State {
        state,
        message: None,
        err,
        exit_code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState::*;

    #[track_caller]
    fn check(observed: TaskState, desired: TaskState, action: Action) {
        assert_eq!(
            next(observed, desired),
            action,
            "{observed:?} wanted {desired:?}"
        );
    }

    #[test]
    fn a_wanted_task_goes_one_state_at_a_time() {
        check(Assigned, Running, Action::Advance(Accepted));
        check(Accepted, Running, Action::Advance(Preparing));
        check(Preparing, Running, Action::Prepare);
        check(Ready, Running, Action::Advance(Starting));
        check(Starting, Running, Action::Start);
        check(Running, Running, Action::Wait);
        check(Running, Complete, Action::Wait);
    }

    #[test]
    fn a_replacement_waits_when_ready() {
        check(Accepted, Ready, Action::Advance(Preparing));
        check(Preparing, Ready, Action::Prepare);
        check(Ready, Ready, Action::Idle);
    }

    #[test]
    fn an_unwanted_task_is_stopped_once() {
        for observed in [Assigned, Accepted, Preparing, Ready, Starting, Running] {
            check(observed, Shutdown, Action::Shutdown);
            check(observed, Remove, Action::Shutdown);
        }
        for observed in [Complete, Shutdown, Failed, Rejected, Orphaned] {
            check(observed, Shutdown, Action::Idle);
            check(observed, Running, Action::Idle);
        }
    }

    #[test]
    fn failures_before_the_start_reject() {
        let fatal = || Err(TaskError::Fatal("No such image: x:latest".into()));
        let state = |settled| match settled {
            Settled::State { state, err, .. } => (state, err),
            Settled::Retry(reason) => panic!("{reason}"),
        };
        let text = "No such image: x:latest".to_owned();
        assert_eq!(
            state(settle(Preparing, Action::Prepare, fatal())),
            (Rejected, text.clone())
        );
        assert_eq!(
            state(settle(Starting, Action::Start, fatal())),
            (Failed, text)
        );
        let exit = Err(TaskError::Exit {
            code: 1,
            cause: None,
        });
        let expect = (Failed, "task: non-zero exit (1)".to_owned());
        assert_eq!(state(settle(Running, Action::Wait, exit)), expect);
        let temporary = Err(TaskError::Temporary("later".into()));
        assert_eq!(
            settle(Preparing, Action::Prepare, temporary),
            Settled::Retry("later".into())
        );
    }

    #[test]
    fn every_outcome_is_a_transition_of_the_table_and_never_goes_back() {
        let states = [Assigned, Accepted, Preparing, Ready, Starting, Running];
        let outcomes = [
            || Ok(()),
            || Err(TaskError::Fatal("x".into())),
            || {
                Err(TaskError::Exit {
                    code: 3,
                    cause: None,
                })
            },
        ];
        for observed in states {
            for desired in [Ready, Running, Complete, Shutdown, Remove] {
                let action = next(observed, desired);
                if action == Action::Idle {
                    continue;
                }
                for outcome in outcomes {
                    if matches!(action, Action::Advance(_)) && outcome().is_err() {
                        continue;
                    }
                    let Settled::State { state, .. } = settle(observed, action, outcome()) else {
                        panic!("no retry was asked for")
                    };
                    assert!(state > observed);
                    let is_known = TRANSITIONS
                        .iter()
                        .any(|(from, to, _)| (*from, *to) == (observed, state));
                    assert!(is_known, "{observed:?} -> {state:?}");
                }
            }
        }
    }

    #[test]
    fn each_transition_has_one_owner() {
        for (i, (from, to, _)) in TRANSITIONS.iter().enumerate() {
            assert!(from < to);
            let again = TRANSITIONS[i + 1..]
                .iter()
                .any(|(f, t, _)| (f, t) == (from, to));
            assert!(!again, "{from:?} -> {to:?}");
        }
    }
}
