//! The restart supervisor: replaces tasks that stopped, as their policy says.
//!
//! How often a slot was restarted is read off its stored tasks, which the reaper keeps for that.
//! A replacement is created at once with desired state READY, so that its image is pulled while
//! the delay passes, and starts when the delay is over and the old task has stopped.

use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::{
    Node, RestartPolicy, Service, Task, TaskState, restart_policy::RestartCondition,
};
use skep_objects::timestamp::{duration, system_time, unix_nanos};
use skep_store::{TxError, View};

use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use crate::clock::{Monotonic, Now};
use crate::pass::Pass;

/// Delay when the policy names none.
const DEFAULT_DELAY: Duration = Duration::from_secs(5);
/// How long a replacement waits for the old task to stop.
pub const OLD_TASK_TIMEOUT: Duration = Duration::from_secs(60);

/// When a replacement may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Not before this.
    pub not_before: Monotonic,
    /// At this even when the old task still runs.
    pub at_last: Monotonic,
}

impl Start {
    /// A start after a delay from now.
    #[must_use]
    pub fn after(delay: Duration, now: Now) -> Self {
        let not_before = now.monotonic + delay;
        Self {
            not_before,
            at_last: not_before.max(now.monotonic + OLD_TASK_TIMEOUT),
        }
    }

    /// What is left of the start of a replacement that an earlier leader created.
    #[must_use]
    pub fn resumed(task: &Task, now: Now) -> Self {
        let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
        let waited = created.map_or(Duration::ZERO, |created| now.since(created));
        let left = delay(policy(task)).saturating_sub(waited);
        let timeout = OLD_TASK_TIMEOUT.saturating_sub(waited);
        Self {
            not_before: now.monotonic + left,
            at_last: now.monotonic + left.max(timeout),
        }
    }
}

fn policy(task: &Task) -> Option<&RestartPolicy> {
    task.spec.as_ref().and_then(|spec| spec.restart.as_ref())
}

fn delay(policy: Option<&RestartPolicy>) -> Duration {
    policy
        .and_then(|policy| policy.delay.as_ref())
        .map_or(DEFAULT_DELAY, duration)
}

/// Whether a task that stopped is to be replaced. `tasks` are those of its slot, oldest first.
#[must_use]
pub fn is_due(task: &Task, tasks: &Tasks, mode: Mode) -> bool {
    let policy = policy(task);
    let condition = policy.map_or(RestartCondition::Any, RestartPolicy::condition);
    let completed = task.observed_state() == TaskState::Complete;
    match condition {
        RestartCondition::None => return false,
        RestartCondition::OnFailure if completed => return false,
        RestartCondition::Any if mode.is_job() && completed => return false,
        RestartCondition::OnFailure | RestartCondition::Any => {}
    }
    let max_attempts = policy.map_or(0, |policy| policy.max_attempts);
    if max_attempts == 0 {
        return true;
    }
    let window = policy
        .and_then(|policy| policy.window.as_ref())
        .map(duration);
    let restarts = restarts(task, tasks, window.filter(|window| !window.is_zero()));
    u64::try_from(restarts).unwrap_or(u64::MAX) < max_attempts
}

/// Restarts of the slot with this spec version, of late when there is a window.
fn restarts(task: &Task, tasks: &Tasks, window: Option<Duration>) -> usize {
    let same: Vec<&Arc<Task>> = tasks
        .iter()
        .rev()
        .skip_while(|other| other.id != task.id)
        .take_while(|other| {
            other.spec_version == task.spec_version && other.job_iteration == task.job_iteration
        })
        .collect();
    // Each but the oldest came in place of the one before it. Those that made room for another since
    // they were told to, as on a node that is drained, did not use up an attempt.
    let pairs = same.windows(2);
    let replacements: Vec<&Arc<Task>> = pairs
        .filter(|pair| slot::ended_by_itself(pair[1]))
        .map(|pair| pair[0])
        .collect();
    let Some(window) = window else {
        return replacements.len();
    };
    let stopped = task
        .status
        .as_ref()
        .and_then(|s| s.applied_at.as_ref().or(s.timestamp.as_ref()));
    let Some(from) = stopped.and_then(|at| system_time(at).checked_sub(window)) else {
        return replacements.len();
    };
    let from = unix_nanos(&from.into());
    let created = |task: &Task| task.meta.as_ref()?.created_at.as_ref().map(unix_nanos);
    replacements
        .iter()
        .filter(|task| created(task).is_some_and(|created| created > from))
        .count()
}

/// Stops a task and creates its replacement when its policy asks for one. Returns the replacement
/// with its start when it has to wait.
pub fn restart(
    pass: &mut Pass<'_>,
    service: &Service,
    task: &Task,
    mode: Mode,
) -> Result<Option<(String, Start)>, TxError> {
    if task.wanted_state() > TaskState::Complete {
        return Ok(None);
    }
    let slot = slot::slot_of(pass.tx, task, mode);
    stop(pass, &task.id)?;
    if !is_due(task, &slot, mode) {
        return Ok(None);
    }
    // The delay tames tasks that fail. One that lost its node did nothing wrong.
    let node = pass.tx.node(&task.node_id);
    let lost_its_node = !task.node_id.is_empty() && service::is_invalid(node.map(Arc::as_ref));
    let delay = if lost_its_node {
        Duration::ZERO
    } else {
        delay(policy(task))
    };
    let slot = SlotKey::of(task, mode);
    let (id, start) = replace(pass, service, &slot, mode, Start::after(delay, pass.now))?;
    Ok(start.map(|start| (id, start)))
}

/// Creates a task in a slot that starts when it may; returns its start unless that is now.
pub fn replace(
    pass: &mut Pass<'_>,
    service: &Service,
    slot: &SlotKey,
    mode: Mode,
    start: Start,
) -> Result<(String, Option<Start>), TxError> {
    let mut task = service::new_task(service, slot, TaskState::Ready, pass.tx, pass.now);
    let tasks = slot::slot_of(pass.tx, &task, mode);
    if start.not_before <= pass.now.monotonic && old_tasks_stopped(&tasks, &task.id, pass.tx) {
        task.set_desired_state(mode.goal());
        return Ok((pass.tx.create_task(task)?.id.clone(), None));
    }
    Ok((pass.tx.create_task(task)?.id.clone(), Some(start)))
}

/// Asks the agent to stop a task.
pub fn stop(pass: &mut Pass<'_>, task: &str) -> Result<(), TxError> {
    want(pass, task, TaskState::Shutdown)
}

/// Raises a task's desired state; it never falls.
pub fn want(pass: &mut Pass<'_>, task: &str, desired: TaskState) -> Result<(), TxError> {
    if pass.tx.task(task).is_none() {
        return Ok(());
    }
    pass.tx.edit_task(task, |task| {
        if task.wanted_state() < desired {
            task.set_desired_state(desired);
        }
    })?;
    Ok(())
}

/// Whether the tasks of a slot that are to stop have done so, as far as one can know.
#[must_use]
pub fn old_tasks_stopped(slot: &Tasks, replacement: &str, view: &View) -> bool {
    slot.iter()
        .filter(|task| task.id != replacement && !slot::is_live(task))
        .all(|task| {
            slot::is_over(task) || {
                let node: Option<&Node> = view.node(&task.node_id).map(Arc::as_ref);
                node.is_none_or(service::is_down)
            }
        })
}
