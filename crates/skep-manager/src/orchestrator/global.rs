//! Global services: a task on each node that may have one.

use std::collections::BTreeMap;

use skep_objects::swarmkit::{Node, Service, TaskState, node_spec::Availability};
use skep_store::TxError;

use super::restart;
use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use crate::pass::Pass;

/// Whether the service's tasks may stay on the node.
#[must_use]
pub fn keeps_tasks(node: Option<&Node>, service: &Service) -> bool {
    node.is_some_and(|node| {
        !service::is_invalid(Some(node))
            && service::meets_constraints(node, &service::task_spec(service))
    })
}

/// Whether the service may get new tasks on the node. Its membership says nothing here: a dockerd
/// loses that field with every update of a node.
#[must_use]
pub fn takes_tasks(node: Option<&Node>, service: &Service) -> bool {
    keeps_tasks(node, service)
        && node.is_some_and(|node| service::availability(node) == Availability::Active)
}

/// Adds and removes tasks. Returns the slots that an update may roll over.
pub fn reconcile(pass: &mut Pass<'_>, service: &Service) -> Result<Vec<(SlotKey, Tasks)>, TxError> {
    let mut updatable = Vec::new();
    for (key, tasks) in slots(pass, service, Mode::Global) {
        let current = reconcile_slot(pass, service, &key, &tasks)?;
        if !current.is_empty() {
            updatable.push((key, current));
        }
    }
    Ok(updatable)
}

/// The slots that there are, and those that there may be.
pub fn slots(pass: &Pass<'_>, service: &Service, mode: Mode) -> BTreeMap<SlotKey, Tasks> {
    let mut slots = slot::slots(pass.tx, &service.id, mode);
    for node in pass.tx.nodes() {
        let key = SlotKey::Node(node.id.as_str().into());
        slots.entry(key).or_default();
    }
    slots
}

/// Adds and removes tasks of one node. Returns those that an update may roll over.
pub fn reconcile_slot(
    pass: &mut Pass<'_>,
    service: &Service,
    key: &SlotKey,
    tasks: &Tasks,
) -> Result<Tasks, TxError> {
    let SlotKey::Node(id) = key else {
        return Ok(Tasks::new());
    };
    let Some(node) = pass.tx.node(id).cloned() else {
        for task in tasks {
            if pass.is_full() {
                break;
            }
            if id.is_empty() {
                restart::stop(pass, &task.id)?;
            } else {
                pass.tx.remove_task(&task.id)?;
            }
        }
        return Ok(Tasks::new());
    };
    if !keeps_tasks(Some(&node), service) {
        shut_down(pass, tasks)?;
        return Ok(Tasks::new());
    }
    // What is on a node that gets no new tasks stays as it is.
    if !takes_tasks(Some(&node), service) {
        return Ok(Tasks::new());
    }
    let current = slot::updatable(tasks, service, Mode::Global);
    if current.is_empty() && !pass.is_full_for_tasks() {
        let task = service::new_task(service, key, TaskState::Running, pass.tx, pass.now);
        pass.tx.create_task(task)?;
    }
    Ok(current)
}

/// Stops what is live of a slot; what there is no room for, in the next pass.
pub fn shut_down(pass: &mut Pass<'_>, tasks: &Tasks) -> Result<(), TxError> {
    for task in tasks.iter().filter(|task| slot::is_live(task)) {
        if pass.is_full() {
            return Ok(());
        }
        restart::stop(pass, &task.id)?;
    }
    Ok(())
}
