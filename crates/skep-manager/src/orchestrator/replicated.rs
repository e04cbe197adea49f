//! Replicated services: so many slots, numbered from 1.

use std::collections::BTreeMap;

use skep_objects::swarmkit::{Service, TaskState};
use skep_store::TxError;

use super::restart;
use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use crate::pass::Pass;

/// Adds and removes slots. Returns those that stay, with the tasks that an update would replace.
pub fn reconcile(
    pass: &mut Pass<'_>,
    service: &Service,
    replicas: u64,
    changed: bool,
) -> Result<Vec<(SlotKey, Tasks)>, TxError> {
    let mode = Mode::Replicated { replicas };
    let mut live: Vec<(SlotKey, Tasks)> = Vec::new();
    let mut dead: BTreeMap<SlotKey, Tasks> = BTreeMap::new();
    for (key, tasks) in slot::slots(pass.tx, &service.id, mode) {
        match slot::updatable(&tasks, service, mode) {
            updatable if updatable.is_empty() => drop(dead.insert(key, tasks)),
            updatable => live.push((key, updatable)),
        }
    }
    let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
    if live.len() > replicas {
        slot::sort_for_scale_down(&mut live);
        for (key, _) in live.drain(replicas..) {
            if pass.is_full() {
                break;
            }
            give_up(pass, service, mode, &key)?;
        }
    }
    let missing = replicas - live.len();
    let taken: std::collections::BTreeSet<_> = live.iter().map(|(key, _)| key.clone()).collect();
    let free = (1..)
        .map(SlotKey::Number)
        .filter(|key| !taken.contains(key))
        .take(missing);
    for key in free {
        if pass.is_full_for_tasks() {
            break;
        }
        dead.remove(&key);
        let task = service::new_task(service, &key, TaskState::Running, pass.tx, pass.now);
        pass.tx.create_task(task)?;
    }
    if changed {
        remove_dead(pass, dead)?;
    }
    Ok(live)
}

/// Ends a slot. What ended for good before must not stand for the slot when the rest is gone.
fn give_up(
    pass: &mut Pass<'_>,
    service: &Service,
    mode: Mode,
    key: &SlotKey,
) -> Result<(), TxError> {
    let tasks = slot::tasks_at(pass.tx, &service.id, key);
    for task in &tasks {
        if slot::is_live(task) || !restart::is_due(task, &tasks, mode) {
            restart::want(pass, &task.id, TaskState::Remove)?;
        }
    }
    Ok(())
}

/// History of slots that are no more goes when the service changes.
fn remove_dead(pass: &mut Pass<'_>, dead: BTreeMap<SlotKey, Tasks>) -> Result<(), TxError> {
    for task in dead.into_values().flatten() {
        if pass.is_full() {
            return Ok(());
        }
        if slot::is_over(&task) {
            pass.tx.remove_task(&task.id)?;
        }
    }
    Ok(())
}
