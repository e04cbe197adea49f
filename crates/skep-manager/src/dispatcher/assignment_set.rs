//! What one node has been told to have: its tasks, and the secrets and configs that those need.
//! Pure: changes of the store go in, changes for the agent come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use skep_objects::swarmkit::{
    Assignment, AssignmentChange, Config, ResourceType, Secret, Task, TaskState, assignment::Item,
    assignment_change::AssignmentAction, task_spec::Runtime,
};
use skep_store::View;

/// Something that tasks need and that nodes get only for them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dependency {
    Secret(String),
    Config(String),
}

/// The assignments of one node as its agent knows them.
#[derive(Debug, Default)]
pub struct AssignmentSet {
    tasks: BTreeMap<String, Arc<Task>>,
    /// The tasks that need each dependency.
    users: BTreeMap<Dependency, BTreeSet<String>>,
}

impl AssignmentSet {
    /// The whole of a node's assignments.
    pub fn complete(view: &View, node: &str) -> (Self, Vec<AssignmentChange>) {
        let mut set = Self::default();
        let mut changes = Vec::new();
        for task in view.tasks_by_node(node) {
            set.set_task(view, task, &mut changes);
        }
        (set, changes)
    }

    /// A task of the node was created or changed.
    pub fn set_task(&mut self, view: &View, task: &Arc<Task>, changes: &mut Vec<AssignmentChange>) {
        let state = task.observed_state();
        if state < TaskState::Assigned {
            return;
        }
        let known = self.tasks.insert(task.id.clone(), task.clone());
        match &known {
            None if state <= TaskState::Running => self.need(view, task, changes),
            Some(_) if state > TaskState::Running => self.release(task, changes),
            _ => {}
        }
        let worth_telling = known
            .is_none_or(|known| state <= TaskState::Assigned || !same_but_for_status(&known, task));
        if worth_telling {
            changes.push(change(
                AssignmentAction::Update,
                Item::Task(Task::clone(task)),
            ));
        }
    }

    /// A task of the node was deleted.
    pub fn remove_task(&mut self, id: &str, changes: &mut Vec<AssignmentChange>) {
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        self.release(&task, changes);
        let only_id = Task {
            id: id.to_owned(),
            ..Task::default()
        };
        changes.push(change(AssignmentAction::Remove, Item::Task(only_id)));
    }

    /// The first user of a dependency brings it along.
    fn need(&mut self, view: &View, task: &Task, changes: &mut Vec<AssignmentChange>) {
        for dependency in dependencies(task) {
            let users = self.users.entry(dependency.clone()).or_default();
            if users.is_empty() {
                changes.extend(dependency.content(view));
            }
            users.insert(task.id.clone());
        }
    }

    /// The last user of a dependency takes it away.
    fn release(&mut self, task: &Task, changes: &mut Vec<AssignmentChange>) {
        for dependency in dependencies(task) {
            let Some(users) = self.users.get_mut(&dependency) else {
                continue;
            };
            if users.remove(&task.id) && users.is_empty() {
                self.users.remove(&dependency);
                changes.push(dependency.removal());
            }
        }
    }
}

impl Dependency {
    /// None when the object was deleted meanwhile: the task will fail for want of it.
    fn content(&self, view: &View) -> Option<AssignmentChange> {
        let item = match self {
            Self::Secret(id) => Item::Secret(Secret::clone(view.secret(id)?)),
            Self::Config(id) => Item::Config(Config::clone(view.config(id)?)),
        };
        Some(change(AssignmentAction::Update, item))
    }

    fn removal(self) -> AssignmentChange {
        let item = match self {
            Self::Secret(id) => Item::Secret(Secret {
                id,
                ..Secret::default()
            }),
            Self::Config(id) => Item::Config(Config {
                id,
                ..Config::default()
            }),
        };
        change(AssignmentAction::Remove, item)
    }
}

fn dependencies(task: &Task) -> BTreeSet<Dependency> {
    let mut needed = BTreeSet::new();
    let Some(spec) = &task.spec else {
        return needed;
    };
    for reference in &spec.resource_references {
        let id = reference.resource_id.clone();
        match reference.resource_type() {
            ResourceType::Secret => drop(needed.insert(Dependency::Secret(id))),
            ResourceType::Config => drop(needed.insert(Dependency::Config(id))),
            ResourceType::Task | ResourceType::Volume => {}
        }
    }
    if let Some(Runtime::Container(container)) = &spec.runtime {
        let secrets = container
            .secrets
            .iter()
            .map(|reference| reference.secret_id.clone());
        needed.extend(secrets.map(Dependency::Secret));
        let configs = container
            .configs
            .iter()
            .map(|reference| reference.config_id.clone());
        needed.extend(configs.map(Dependency::Config));
    }
    needed
}

/// Agents know the status: they report it. Nothing is copied to find out; parts that both share
/// are equal at a glance.
fn same_but_for_status(task: &Task, other: &Task) -> bool {
    let Task {
        status: _,
        meta: _,
        id,
        spec,
        service_id,
        slot,
        node_id,
        annotations,
        service_annotations,
        desired_state,
        networks,
        endpoint,
        log_driver,
        spec_version,
        assigned_generic_resources,
        job_iteration,
        volumes,
    } = task;
    *id == other.id
        && *desired_state == other.desired_state
        && *node_id == other.node_id
        && *spec == other.spec
        && *service_id == other.service_id
        && *slot == other.slot
        && *annotations == other.annotations
        && *service_annotations == other.service_annotations
        && *networks == other.networks
        && *endpoint == other.endpoint
        && *log_driver == other.log_driver
        && *spec_version == other.spec_version
        && *assigned_generic_resources == other.assigned_generic_resources
        && *job_iteration == other.job_iteration
        && *volumes == other.volumes
}

fn change(action: AssignmentAction, item: Item) -> AssignmentChange {
    AssignmentChange {
        action: action.into(),
        assignment: Some(Assignment { item: Some(item) }),
    }
}

#[cfg(test)]
mod tests;
