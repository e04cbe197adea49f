//! Jobs: tasks that run to completion, once for each iteration of the service.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_objects::swarmkit::{Service, Task, TaskState, node_status};
use skep_store::TxError;

use super::global;
use super::restart;
use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use crate::pass::Pass;

/// How far a replicated job's iteration of now is: what became of each slot. Slots are numbered from 0.
#[derive(Debug, Default)]
pub struct Run {
    slots: BTreeMap<u64, Phase>,
    running: u64,
    completed: u64,
    /// All numbers below are taken.
    taken_below: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Completed,
    /// It failed, and is not tried again.
    Over,
}

impl Run {
    /// Notes what a slot's tasks, old and new, say of it.
    pub fn note(&mut self, service: &Service, mode: Mode, key: &SlotKey, mut tasks: Tasks) {
        let SlotKey::Number(number) = *key else {
            return;
        };
        tasks.retain(|task| is_current(task, service));
        let completed = |task: &Arc<Task>| task.observed_state() == TaskState::Complete;
        let phase = if tasks.iter().any(completed) {
            Some(Phase::Completed)
        } else if tasks.iter().any(|task| slot::is_live(task)) {
            Some(Phase::Running)
        } else {
            let newest = tasks.last();
            let is_over = newest.is_some_and(|newest| !restart::is_due(newest, &tasks, mode));
            is_over.then_some(Phase::Over)
        };
        self.set(number, phase);
    }

    fn set(&mut self, number: u64, phase: Option<Phase>) {
        let before = match phase {
            Some(phase) => self.slots.insert(number, phase),
            None => self.slots.remove(&number),
        };
        for (counted, count) in [
            (Phase::Running, &mut self.running),
            (Phase::Completed, &mut self.completed),
        ] {
            *count -= u64::from(before == Some(counted));
            *count += u64::from(phase == Some(counted));
        }
        if phase.is_none() {
            self.taken_below = self.taken_below.min(number);
        }
    }

    /// Creates tasks until so many have completed, a few at once.
    pub fn fill(
        &mut self,
        service: &Service,
        mode: Mode,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        let Mode::ReplicatedJob {
            max_concurrent,
            total,
        } = mode
        else {
            return Ok(());
        };
        let at_once = if max_concurrent == 0 {
            total
        } else {
            max_concurrent
        };
        let room = at_once.saturating_sub(self.running);
        let left = total.saturating_sub(self.completed + self.running);
        for _ in 0..room.min(left) {
            while self.slots.contains_key(&self.taken_below) {
                self.taken_below += 1;
            }
            if self.taken_below >= total || pass.is_full_for_tasks() {
                break;
            }
            let slot = SlotKey::Number(self.taken_below);
            let task = service::new_task(service, &slot, TaskState::Complete, pass.tx, pass.now);
            pass.tx.create_task(task)?;
            self.set(self.taken_below, Some(Phase::Running));
        }
        Ok(())
    }
}

/// Looks at all slots of a job, and creates the tasks that it may have now.
pub fn reconcile_replicated(
    pass: &mut Pass<'_>,
    service: &Service,
    mode: Mode,
) -> Result<Run, TxError> {
    remove_old_iterations(pass, service)?;
    let mut run = Run::default();
    for (key, tasks) in slot::slots(pass.tx, &service.id, mode) {
        run.note(service, mode, &key, tasks);
    }
    run.fill(service, mode, pass)?;
    Ok(run)
}

/// Creates a task on each node that may have one and is not served in this iteration.
pub fn reconcile_global(pass: &mut Pass<'_>, service: &Service) -> Result<(), TxError> {
    remove_old_iterations(pass, service)?;
    for (key, tasks) in global::slots(pass, service, Mode::GlobalJob) {
        reconcile_slot(pass, service, &key, &tasks)?;
    }
    Ok(())
}

/// The same for one node.
pub fn reconcile_slot(
    pass: &mut Pass<'_>,
    service: &Service,
    key: &SlotKey,
    tasks: &Tasks,
) -> Result<(), TxError> {
    let SlotKey::Node(id) = key else {
        return Ok(());
    };
    let node = pass.tx.node(id).cloned();
    let node = node.as_deref();
    if !global::keeps_tasks(node, service) {
        return global::shut_down(pass, tasks);
    }
    let status = node.and_then(|node| node.status.as_ref());
    let is_ready = status.is_some_and(|status| status.state() == node_status::State::Ready);
    let mut tasks = tasks.clone();
    tasks.retain(|task| is_current(task, service));
    // What is to stop there must have done so first.
    if is_ready
        && !is_served(&tasks)
        && tasks.iter().all(|task| slot::is_over(task))
        && global::takes_tasks(node, service)
        && !pass.is_full_for_tasks()
    {
        let task = service::new_task(service, key, TaskState::Complete, pass.tx, pass.now);
        pass.tx.create_task(task)?;
    }
    Ok(())
}

/// Whether a node's tasks of a job's iteration do, or did, what was to be done there, or have been given
/// up. What was stopped since the node was away did nothing.
fn is_served(tasks: &Tasks) -> bool {
    let does =
        |task: &Arc<Task>| slot::is_live(task) || task.observed_state() == TaskState::Complete;
    let given_up = |newest: &Arc<Task>| {
        slot::ended_by_itself(newest) && !restart::is_due(newest, tasks, Mode::GlobalJob)
    };
    tasks.iter().any(does) || tasks.last().is_some_and(given_up)
}

fn iteration(service: &Service) -> u64 {
    let status = service.job_status.as_ref();
    status
        .and_then(|status| status.job_iteration)
        .map_or(0, |iteration| iteration.index)
}

/// Whether the task is of the job's iteration of now.
pub fn is_current(task: &Task, service: &Service) -> bool {
    task.job_iteration.map_or(0, |of_task| of_task.index) == iteration(service)
}

fn remove_old_iterations(pass: &mut Pass<'_>, service: &Service) -> Result<(), TxError> {
    let old: Vec<Arc<Task>> = pass
        .tx
        .tasks_by_service(&service.id)
        .filter(|task| !is_current(task, service) && slot::is_live(task) && !task.has_stopped())
        .cloned()
        .collect();
    for task in old {
        if pass.is_full() {
            return Ok(());
        }
        restart::want(pass, &task.id, TaskState::Remove)?;
    }
    Ok(())
}
