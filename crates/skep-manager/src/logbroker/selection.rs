//! Which tasks a subscription is about, and where they are.

use std::{collections::BTreeSet, sync::Arc};

use skep_objects::swarmkit::{LogSelector, Task, TaskState};
use skep_store::View;

/// The nodes to ask, and the tasks that cannot be asked about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Nodes that have, or had, a task that was selected.
    pub nodes: BTreeSet<String>,
    /// Tasks selected that no node has.
    pub unscheduled: Vec<String>,
}

/// Finds what is selected. Without `follow`, tasks that have not run yet have no logs to offer.
pub fn select(view: &View, selector: &LogSelector, follow: bool) -> Selection {
    let mut selection = Selection {
        nodes: selector.node_ids.iter().cloned().collect(),
        ..Default::default()
    };
    let services = selector
        .service_ids
        .iter()
        .flat_map(|id| view.tasks_by_service(id));
    let tasks = selector.task_ids.iter().filter_map(|id| view.task(id));
    for task in services.chain(tasks) {
        selection.add(task, follow);
    }
    selection
}

impl Selection {
    fn add(&mut self, task: &Arc<Task>, follow: bool) {
        if !task.node_id.is_empty() {
            if follow || task.observed_state() >= TaskState::Running {
                self.nodes.insert(task.node_id.to_string());
            }
        } else if task.wants_to_run() {
            self.unscheduled.push(task.id.clone());
        }
    }
}

/// Whether a task belongs to what is selected.
pub fn is_selected(selector: &LogSelector, task: &Task) -> bool {
    selector.task_ids.contains(&task.id)
        || selector.service_ids.iter().any(|id| *id == task.service_id)
        || selector.node_ids.iter().any(|id| *id == task.node_id)
}
