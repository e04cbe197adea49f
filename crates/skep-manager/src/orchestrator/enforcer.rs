//! The constraint enforcer: takes tasks off nodes that they may no longer be on.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_objects::swarmkit::{Node, Task, TaskSpec, TaskState, node_spec::Availability};
use skep_store::{Event, Object, TxError, View};

use super::service;
use crate::clock::Now;
use crate::pass::{Pass, Stage};
use crate::scheduler::generic::GenericPool;
use crate::transitions::{self, Owner};

const MESSAGE: &str = "task rejected by constraint enforcer";
const ERROR: &str = "assigned node no longer meets constraints";

/// The constraint enforcer's stage.
#[derive(Debug, Default)]
pub struct ConstraintEnforcer {
    nodes: BTreeSet<String>,
}

impl ConstraintEnforcer {
    fn check(node: &Node, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let resources = node.description.as_ref().and_then(|d| d.resources.clone());
        let known = resources.is_some();
        let resources = resources.unwrap_or_default();
        let (mut cpus, mut memory) = (resources.nano_cpus, resources.memory_bytes);
        let mut generic = GenericPool::of(&resources.generic);
        let tasks: Vec<Arc<Task>> = pass.tx.tasks_by_node(&node.id).cloned().collect();
        for task in tasks.iter().filter(|task| is_checked(task)) {
            let default = TaskSpec::default();
            let spec = task.spec.as_deref().unwrap_or(&default);
            let reserved = spec
                .resources
                .as_ref()
                .and_then(|resources| resources.reservations.clone());
            let reserved = reserved.unwrap_or_default();
            let fits = (reserved.nano_cpus == 0 || reserved.nano_cpus <= cpus)
                && (reserved.memory_bytes == 0 || reserved.memory_bytes <= memory);
            let assigned = &task.assigned_generic_resources;
            let taken = generic.take(assigned);
            let has_generic = taken.len() == assigned.len() && !generic.is_overdrawn();
            if !meets_current_constraints(node, task, pass.tx) || (known && !(fits && has_generic))
            {
                reject(&task.id, pass)?;
                generic.give_back(&taken);
                continue;
            }
            cpus -= reserved.nano_cpus;
            memory -= reserved.memory_bytes;
        }
        Ok(())
    }
}

fn is_checked(task: &Task) -> bool {
    (TaskState::Assigned..=TaskState::Complete).contains(&task.wanted_state())
        && (TaskState::Assigned..TaskState::Complete).contains(&task.observed_state())
}

/// The service's constraints of now count, not those that the task was created with.
fn meets_current_constraints(node: &Node, task: &Task, view: &View) -> bool {
    let of_service = view
        .service(&task.service_id)
        .and_then(|service| service.spec.as_ref());
    let of_service = of_service.and_then(|spec| spec.task.as_ref());
    let spec = of_service.or(task.spec.as_ref());
    spec.is_none_or(|spec| service::meets_constraints(node, spec))
}

fn reject(task: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
    let now = pass.now;
    pass.tx.edit_task(task, |task| {
        if transitions::advance(
            task,
            Owner::ConstraintEnforcer,
            TaskState::Rejected,
            MESSAGE,
            now,
        ) {
            transitions::explain(task, ERROR, now);
        }
    })?;
    Ok(())
}

impl Stage for ConstraintEnforcer {
    fn name(&self) -> &'static str {
        "constraint enforcer"
    }

    fn load(&mut self, view: &View, _now: Now) {
        self.nodes = view.nodes().map(|node| node.id.clone()).collect();
    }

    fn observe(&mut self, event: &Event, _view: &View, _now: Now) {
        if let Some(Object::Node(node)) = event.object()
            && !matches!(event, Event::Updated { old: Object::Node(old), .. }
                if old.spec == node.spec
                    && old.role == node.role
                    && old.description == node.description
                    && old.status == node.status)
        {
            self.nodes.insert(node.id.clone());
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        while let Some(id) = self.nodes.first().cloned() {
            if pass.is_full() {
                return Ok(());
            }
            self.nodes.remove(&id);
            if let Some(node) = pass.tx.node(&id).cloned()
                && service::availability(&node) == Availability::Active
            {
                Self::check(&node, pass)?;
            }
        }
        Ok(())
    }
}
