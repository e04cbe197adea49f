//! Slots: the tasks that stand for one replica, and those that stand for one node.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use skep_objects::Text;
use skep_objects::swarmkit::{Service, Task, TaskState, update_status::UpdateState};
use skep_objects::timestamp::unix_nanos;
use skep_store::View;

use super::restart;
use super::service::Mode;

/// What the tasks of a slot have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotKey {
    /// A number (replicated services and jobs).
    Number(u64),
    /// A node (global services and jobs).
    Node(Text),
}

/// The tasks of one slot, the live one and its history.
pub type Tasks = Vec<Arc<Task>>;

impl SlotKey {
    /// The slot that a task of a service of this mode is in.
    #[must_use]
    pub fn of(task: &Task, mode: Mode) -> Self {
        if mode.is_global() {
            Self::Node(task.node_id.clone())
        } else {
            Self::Number(task.slot)
        }
    }
}

/// All slots of a service. Tasks are in the order of their creation.
#[must_use]
pub fn slots(view: &View, service: &str, mode: Mode) -> BTreeMap<SlotKey, Tasks> {
    let mut slots: BTreeMap<SlotKey, Tasks> = BTreeMap::new();
    for task in view.tasks_by_service(service) {
        slots
            .entry(SlotKey::of(task, mode))
            .or_default()
            .push(Arc::clone(task));
    }
    slots.values_mut().for_each(sort_by_age);
    slots
}

/// The other tasks in the slot of a task, and itself, in the order of their creation.
#[must_use]
pub fn slot_of(view: &View, task: &Task, mode: Mode) -> Tasks {
    tasks_at(view, &task.service_id, &SlotKey::of(task, mode))
}

/// The tasks of one slot of a service, in the order of their creation.
#[must_use]
pub fn tasks_at(view: &View, service: &str, key: &SlotKey) -> Tasks {
    match key {
        SlotKey::Node(node) => on_node(view, service, node),
        SlotKey::Number(number) => by_age(view.tasks_by_slot(service, *number)),
    }
}

/// A service's tasks on a node, in the order of their creation. Looked up by the node: it has fewer
/// tasks than a global service.
#[must_use]
pub fn on_node(view: &View, service: &str, node: &str) -> Tasks {
    let here = view.tasks_by_node(node);
    by_age(here.filter(|task| task.service_id == service))
}

/// Tasks in the order of their creation.
#[must_use]
pub fn by_age<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> Tasks {
    let mut tasks: Tasks = tasks.cloned().collect();
    sort_by_age(&mut tasks);
    tasks
}

fn sort_by_age(tasks: &mut Tasks) {
    fn age(task: &Task) -> (Option<i128>, &str) {
        let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
        (created.map(unix_nanos), &task.id)
    }
    tasks.sort_by(|one, other| age(one).cmp(&age(other)));
}

/// Whether the task is meant to run or to complete, now or in a while.
#[must_use]
pub fn is_live(task: &Task) -> bool {
    task.wanted_state() <= TaskState::Complete
}

/// Whether the task ended without having been told to. A service's task that exits, even with
/// success, has ended early.
#[must_use]
pub fn ended_by_itself(task: &Task) -> bool {
    matches!(
        task.observed_state(),
        TaskState::Complete | TaskState::Failed | TaskState::Rejected
    )
}

/// Whether nothing of the task runs any more, or ever will.
#[must_use]
pub fn is_over(task: &Task) -> bool {
    task.has_stopped() || (!is_live(task) && task.observed_state() < TaskState::Assigned)
}

/// The tasks of a slot that an update replaces: the live ones, or the newest one when it is over
/// and will not be restarted. Empty for a dead slot.
#[must_use]
pub fn updatable(tasks: &Tasks, service: &Service, mode: Mode) -> Tasks {
    let live: Tasks = tasks.iter().filter(|task| is_live(task)).cloned().collect();
    if !live.is_empty() {
        return live;
    }
    if tasks
        .last()
        .is_some_and(|newest| predates_rollback(newest, service))
    {
        return Vec::new();
    }
    match tasks.last() {
        Some(newest)
            if newest.wanted_state() != TaskState::Remove
                // A global task that went with its node's availability comes back with it.
                && (!mode.is_global() || ended_by_itself(newest))
                && !restart::is_due(newest, tasks, mode) =>
        {
            vec![Arc::clone(newest)]
        }
        _ => Vec::new(),
    }
}

/// Whether a rollback under way is newer than the task. It ends with all replicas, even those that
/// had stopped for good before.
fn predates_rollback(task: &Task, service: &Service) -> bool {
    let Some(status) = &service.update_status else {
        return false;
    };
    let created = task
        .meta
        .as_ref()
        .and_then(|meta| meta.created_at.as_ref())
        .map(unix_nanos);
    status.state() == UpdateState::RollbackStarted
        && created < status.started_at.as_ref().map(unix_nanos)
}

/// Orders slots so that those to keep at a smaller scale come first: running before not, low
/// numbers before high, and those alone on their node before those that crowd it.
pub fn sort_for_scale_down(slots: &mut Vec<(SlotKey, Tasks)>) {
    let running = |tasks: &Tasks| {
        tasks
            .iter()
            .any(|task| task.observed_state() == TaskState::Running)
    };
    slots.sort_by_key(|(key, tasks)| (Reverse(running(tasks)), key.clone()));
    let mut per_node: BTreeMap<Text, usize> = BTreeMap::new();
    let mut ranked: Vec<_> = std::mem::take(slots)
        .into_iter()
        .map(|(key, tasks)| {
            let rank = match tasks.as_slice() {
                [task] if !task.node_id.is_empty() => {
                    let count = per_node.entry(task.node_id.clone()).or_default();
                    *count += 1;
                    *count
                }
                _ => usize::MAX,
            };
            (rank, key, tasks)
        })
        .collect();
    ranked.sort_by_key(|(rank, ..)| *rank);
    slots.extend(ranked.into_iter().map(|(_, key, tasks)| (key, tasks)));
}
