//! Who may move a task from which state to which: every transition has one owner.

use skep_objects::Text;
use skep_objects::swarmkit::{Task, TaskState, TaskStatus};

use crate::clock::Now;

/// A part of the control plane that moves tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Creates tasks.
    Orchestrator,
    /// Gives them their network resources.
    Allocator,
    /// Gives them a node.
    Scheduler,
    /// Reports what became of them, through the dispatcher.
    Agent,
    /// Takes them off nodes that they may no longer be on.
    ConstraintEnforcer,
    /// Gives up tasks of lost and removed nodes.
    NodeWatch,
}

/// A range of states, both ends included, from which an owner may go to a state.
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// Who.
    pub owner: Owner,
    /// From the lowest state.
    pub from: TaskState,
    /// To the highest state.
    pub up_to: TaskState,
    /// To this state.
    pub to: TaskState,
}

const fn by(owner: Owner, from: TaskState, up_to: TaskState, to: TaskState) -> Transition {
    Transition {
        owner,
        from,
        up_to,
        to,
    }
}

/// Every transition there is. New tasks begin in NEW; any task may be deleted, by the reaper.
pub const TRANSITIONS: &[Transition] = {
    use Owner::{Agent, Allocator, ConstraintEnforcer, NodeWatch, Scheduler};
    use TaskState::{
        Accepted, Assigned, Complete, Failed, New, Orphaned, Pending, Preparing, Ready, Rejected,
        Running, Shutdown, Starting,
    };
    &[
        by(Allocator, New, New, Pending),
        by(Scheduler, Pending, Pending, Assigned),
        by(Agent, Assigned, Assigned, Accepted),
        by(Agent, Assigned, Accepted, Preparing),
        by(Agent, Assigned, Preparing, Ready),
        by(Agent, Assigned, Ready, Starting),
        by(Agent, Assigned, Starting, Running),
        by(Agent, Assigned, Running, Complete),
        by(Agent, Assigned, Running, Shutdown),
        by(Agent, Assigned, Running, Failed),
        by(Agent, Assigned, Running, Rejected),
        by(ConstraintEnforcer, Assigned, Running, Rejected),
        by(NodeWatch, Assigned, Running, Orphaned),
    ]
};

/// Whether `owner` may move a task so.
#[must_use]
pub fn is_allowed(owner: Owner, from: TaskState, to: TaskState) -> bool {
    TRANSITIONS.iter().any(|transition| {
        transition.owner == owner
            && transition.to == to
            && (transition.from..=transition.up_to).contains(&from)
    })
}

/// Moves a task on. A transition that is not the owner's is not made, and logged.
pub fn advance(task: &mut Task, owner: Owner, to: TaskState, message: &str, now: Now) -> bool {
    let from = task.observed_state();
    if !is_allowed(owner, from, to) {
        tracing::error!(task.id, ?owner, ?from, ?to, "refused a task transition");
        return false;
    }
    tracing::debug!(task.id, ?owner, ?from, ?to, "task moves on");
    let status = task.status.get_or_insert_default();
    *status = TaskStatus {
        timestamp: Some(now.timestamp()),
        message: message.into(),
        err: Text::default(),
        applied_at: None,
        applied_by: Text::default(),
        ..std::mem::take(status)
    };
    status.set_state(to);
    true
}

/// Notes why a task does not move on. Changes nothing when that is known already.
pub fn explain(task: &mut Task, error: &str, now: Now) {
    let status = task.status.get_or_insert_default();
    if status.err != error {
        status.err = error.into();
        status.timestamp = Some(now.timestamp());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_only_go_forward() {
        for transition in TRANSITIONS {
            assert!(transition.from <= transition.up_to, "{transition:?}");
            assert!(transition.up_to < transition.to, "{transition:?}");
        }
    }

    #[test]
    fn each_transition_has_one_owner_but_for_giving_up() {
        for one in TRANSITIONS {
            for other in TRANSITIONS.iter().filter(|other| other.to == one.to) {
                let overlap = one.from <= other.up_to && other.from <= one.up_to;
                // The enforcer overrules the agent: it rejects what the agent is content with.
                assert!(
                    !overlap || one.owner == other.owner || one.to == TaskState::Rejected,
                    "{one:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn foreign_transitions_are_not_made() {
        let now = Now {
            wall: std::time::SystemTime::UNIX_EPOCH,
            monotonic: Default::default(),
        };
        let mut task = Task::default();
        assert!(!advance(
            &mut task,
            Owner::Scheduler,
            TaskState::Assigned,
            "",
            now
        ));
        assert!(advance(
            &mut task,
            Owner::Allocator,
            TaskState::Pending,
            "waits",
            now
        ));
        assert_eq!(task.observed_state(), TaskState::Pending);
        assert!(!advance(
            &mut task,
            Owner::Allocator,
            TaskState::Pending,
            "waits",
            now
        ));
    }
}
