//! Jobs: tasks that run to completion, once for each iteration of the service.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_objects::swarmkit::{Service, Task, TaskState, node_status};
use skep_store::TxError;

use super::global;
use super::restart;
use super::service::{self, Mode};
use super::slot::{self, SlotKey};
use crate::pass::Pass;

/// Creates tasks until so many have completed, a few at once. Slots are numbered from 0.
pub fn reconcile_replicated(
    pass: &mut Pass<'_>,
    service: &Service,
    max_concurrent: u64,
    total: u64,
) -> Result<(), TxError> {
    let mode = Mode::ReplicatedJob {
        max_concurrent,
        total,
    };
    remove_old_iterations(pass, service)?;
    let mut used = BTreeSet::new();
    let (mut running, mut completed) = (0_u64, 0_u64);
    for (key, mut tasks) in slot::slots(pass.tx, &service.id, mode) {
        tasks.retain(|task| is_current(task, service));
        let SlotKey::Number(number) = key else {
            continue;
        };
        if tasks
            .iter()
            .any(|task| task.observed_state() == TaskState::Complete)
        {
            completed += 1;
        } else if tasks.iter().any(|task| slot::is_live(task)) {
            running += 1;
        } else if tasks
            .last()
            .is_none_or(|newest| restart::is_due(newest, &tasks, mode))
        {
            continue;
        }
        used.insert(number);
    }
    let at_once = if max_concurrent == 0 {
        total
    } else {
        max_concurrent
    };
    let room = at_once.saturating_sub(running);
    let left = total.saturating_sub(completed).saturating_sub(running);
    let count = usize::try_from(room.min(left)).unwrap_or(usize::MAX);
    for number in (0..total)
        .filter(|number| !used.contains(number))
        .take(count)
    {
        if pass.is_full_for_tasks() {
            break;
        }
        let slot = SlotKey::Number(number);
        let task = service::new_task(service, &slot, TaskState::Complete, pass.tx, pass.now);
        pass.tx.create_task(task)?;
    }
    Ok(())
}

/// Creates a task on each node that may have one and has had none in this iteration.
pub fn reconcile_global(pass: &mut Pass<'_>, service: &Service) -> Result<(), TxError> {
    remove_old_iterations(pass, service)?;
    let mut slots = slot::slots(pass.tx, &service.id, Mode::GlobalJob);
    let nodes: Vec<_> = pass.tx.nodes().cloned().collect();
    for node in nodes {
        let key = SlotKey::Node(node.id.as_str().into());
        let mut tasks = slots.remove(&key).unwrap_or_default();
        tasks.retain(|task| is_current(task, service));
        if !global::keeps_tasks(Some(&node), service) {
            global::shut_down(pass, &tasks)?;
            continue;
        }
        let ready = node
            .status
            .as_ref()
            .is_some_and(|status| status.state() == node_status::State::Ready);
        if tasks.is_empty()
            && ready
            && global::takes_tasks(Some(&node), service)
            && !pass.is_full_for_tasks()
        {
            let task = service::new_task(service, &key, TaskState::Complete, pass.tx, pass.now);
            pass.tx.create_task(task)?;
        }
    }
    for tasks in slots.values() {
        global::shut_down(pass, tasks)?;
    }
    Ok(())
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
        restart::want(pass, &task.id, TaskState::Remove)?;
    }
    Ok(())
}
