//! The task reaper: deletes tasks that nobody will look at again.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_objects::Text;
use skep_objects::swarmkit::{Task, TaskState};
use skep_objects::timestamp::unix_nanos;
use skep_store::{Event, Object, TxError, View};

use super::jobs;
use super::service::Mode;
use super::slot;
use crate::clock::{Monotonic, Now};
use crate::pass::{Pass, Stage};

/// Tasks kept for a slot when the cluster says nothing.
const DEFAULT_HISTORY: i64 = 5;
/// After a first slot, this long more are collected. Tasks that nobody wants go at once: agents
/// remove their containers only then.
const COLLECT: Duration = Duration::from_millis(250);
/// With so many slots collected it starts at once.
const AT_ONCE: usize = 1000;

/// Service, with slot number or node.
type Place = (Text, u64, Text);

/// The task reaper's stage.
#[derive(Debug, Default)]
pub struct TaskReaper {
    /// Slots whose history may have become too long.
    slots: BTreeSet<Place>,
    /// Tasks to delete once they have stopped.
    doomed: BTreeSet<String>,
    due: Option<Monotonic>,
}

impl TaskReaper {
    fn note(&mut self, task: &Task, now: Now) {
        if is_doomed(task) {
            self.doomed.insert(task.id.clone());
        } else if slot::is_over(task) && !task.service_id.is_empty() {
            let node = if task.slot == 0 {
                task.node_id.clone()
            } else {
                Text::default()
            };
            self.slots
                .insert((task.service_id.clone(), task.slot, node));
            self.due.get_or_insert(now.monotonic + COLLECT);
        }
    }

    fn reap_doomed(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        while let Some(id) = self.doomed.first().cloned() {
            if pass.is_full() {
                return Ok(());
            }
            if pass.tx.task(&id).is_some_and(|task| is_doomed(task)) {
                pass.tx.remove_task(&id)?;
            }
            self.doomed.remove(&id);
        }
        Ok(())
    }

    fn reap_slot(&mut self, place: &Place, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let (service_id, number, node) = place;
        let Some(service) = pass.tx.service(service_id).cloned() else {
            return Ok(());
        };
        let mode = Mode::of(&service);
        let tasks: Vec<Arc<Task>> = if mode.is_global() {
            let here = pass.tx.tasks_by_node(node);
            here.filter(|task| task.service_id == *service_id)
                .cloned()
                .collect()
        } else {
            pass.tx
                .tasks_by_slot(service_id, *number)
                .cloned()
                .collect()
        };
        // What has completed in a job's iteration of now is the job's result.
        let is_result = |task: &Task| {
            task.observed_state() == TaskState::Complete && jobs::is_current(task, &service)
        };
        let tasks: Vec<Arc<Task>> = tasks
            .into_iter()
            .filter(|task| !(mode.is_job() && is_result(task)))
            .collect();
        let max_attempts = service
            .spec
            .as_ref()
            .and_then(|spec| spec.task.as_ref()?.restart.as_ref())
            .map_or(0, |restart| restart.max_attempts);
        let Some(keep) = history_limit(pass.tx, max_attempts) else {
            return Ok(());
        };
        if tasks.len() <= keep {
            return Ok(());
        }
        let excess = tasks.len() - keep;
        // The newest says what is to become of the slot: whether it is to be restarted, and when.
        let newest = slot::by_age(tasks.iter()).pop();
        let is_newest = |task: &Task| newest.as_ref().is_some_and(|newest| newest.id == task.id);
        let mut over: Vec<_> = tasks
            .iter()
            .filter(|task| slot::is_over(task) && !is_newest(task))
            .collect();
        over.sort_by_cached_key(|task| Reverse(applied_at(task)));
        for task in over.iter().rev().take(excess) {
            pass.tx.remove_task(&task.id)?;
        }
        Ok(())
    }
}

/// Tasks to keep in a slot; `None` to keep all. Restart attempts are counted from what is kept.
fn history_limit(view: &View, max_attempts: u64) -> Option<usize> {
    let limit = view
        .the_cluster()
        .and_then(|cluster| cluster.spec.as_ref()?.orchestration)
        .map_or(DEFAULT_HISTORY, |orchestration| {
            orchestration.task_history_retention_limit
        });
    let limit = usize::try_from(limit).ok()?;
    match usize::try_from(max_attempts) {
        Ok(0) | Err(_) => Some(limit),
        Ok(attempts) => Some(attempts.saturating_add(1)),
    }
}

fn applied_at(task: &Task) -> i128 {
    let status = task.status.as_ref();
    status
        .and_then(|status| status.applied_at.as_ref().or(status.timestamp.as_ref()))
        .map_or(0, unix_nanos)
}

/// Whether the task goes as soon as it has stopped, whatever the history.
fn is_doomed(task: &Task) -> bool {
    let state = task.observed_state();
    let stopped = state < TaskState::Assigned || state >= TaskState::Complete;
    (task.wanted_state() == TaskState::Remove && stopped)
        || (task.service_id.is_empty() && state == TaskState::Orphaned)
        || (task.wanted_state() > TaskState::Complete && state < TaskState::Assigned)
}

impl Stage for TaskReaper {
    fn name(&self) -> &'static str {
        "task reaper"
    }

    fn load(&mut self, view: &View, now: Now) {
        *self = Self::default();
        for task in view.tasks() {
            self.note(task, now);
        }
        self.due = Some(now.monotonic);
    }

    fn observe(&mut self, event: &Event, view: &View, now: Now) {
        if let Some(Object::Task(task)) = event.object() {
            match view.task(&task.id) {
                Some(task) => self.note(task, now),
                None => drop(self.doomed.remove(&task.id)),
            }
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        self.reap_doomed(pass)?;
        let Some(due) = self.due else { return Ok(()) };
        if due > pass.now.monotonic && self.slots.len() < AT_ONCE {
            pass.wake_at(due);
            return Ok(());
        }
        while let Some(place) = self.slots.first().cloned() {
            if pass.is_full() {
                return Ok(());
            }
            self.reap_slot(&place, pass)?;
            self.slots.remove(&place);
        }
        self.due = None;
        Ok(())
    }
}
