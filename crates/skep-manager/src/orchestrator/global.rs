//! Global services: a task on each node that may have one.

use skep_objects::Text;
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
    let mut slots = slot::slots(pass.tx, &service.id, Mode::Global);
    let nodes: Vec<_> = pass.tx.nodes().cloned().collect();
    let mut updatable = Vec::new();
    for node in nodes {
        let key = SlotKey::Node(node.id.as_str().into());
        let tasks = slots.remove(&key).unwrap_or_default();
        if !keeps_tasks(Some(&node), service) {
            shut_down(pass, &tasks)?;
            continue;
        }
        if !takes_tasks(Some(&node), service) {
            continue;
        }
        let current = slot::updatable(&tasks, service, Mode::Global);
        if !current.is_empty() {
            updatable.push((key, current));
        } else if !pass.is_full_for_tasks() {
            let task = service::new_task(service, &key, TaskState::Running, pass.tx, pass.now);
            pass.tx.create_task(task)?;
        }
    }
    // What is left belongs to nodes that were removed.
    for (key, tasks) in slots {
        for task in tasks {
            if key == SlotKey::Node(Text::default()) {
                restart::stop(pass, &task.id)?;
            } else {
                pass.tx.remove_task(&task.id)?;
            }
        }
    }
    Ok(updatable)
}

/// Stops what is live of a slot.
pub fn shut_down(pass: &mut Pass<'_>, tasks: &Tasks) -> Result<(), TxError> {
    for task in tasks.iter().filter(|task| slot::is_live(task)) {
        restart::stop(pass, &task.id)?;
    }
    Ok(())
}
