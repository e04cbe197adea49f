//! Gives up the tasks of nodes that have been down for long, and of nodes that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_objects::Text;
use skep_objects::swarmkit::{Task, TaskState};
use skep_store::{Event, Object, TxError, View};

use super::service;
use crate::clock::{Monotonic, Now};
use crate::pass::{Pass, Stage};
use crate::transitions::{self, Owner};

/// A node that has been down for this long is not expected to report on its tasks any more.
const GIVE_UP: Duration = Duration::from_secs(24 * 60 * 60);

/// Docker's words for tasks of a node that was removed.
const REMOVED: &str = "Task belonged to a node that has been deleted";
/// And for those of a node that does not come back.
const DOWN: &str = "Task is on a node that has been down for a day";

/// The stage.
#[derive(Debug, Default)]
pub struct NodeWatch {
    /// Nodes that are down, with the time at which their tasks are given up.
    down: BTreeMap<String, Monotonic>,
    gone: BTreeSet<String>,
}

impl NodeWatch {
    fn orphan_tasks(node: &str, message: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let tasks: Vec<Arc<Task>> = pass.tx.tasks_by_node(node).cloned().collect();
        let now = pass.now;
        let unfinished = |task: &&Arc<Task>| {
            (TaskState::Assigned..TaskState::Complete).contains(&task.observed_state())
        };
        for task in tasks.iter().filter(unfinished) {
            pass.tx.edit_task(&task.id, |task| {
                transitions::advance(task, Owner::NodeWatch, TaskState::Orphaned, message, now);
            })?;
        }
        Ok(())
    }
}

impl Stage for NodeWatch {
    fn name(&self) -> &'static str {
        "node watch"
    }

    fn load(&mut self, view: &View, now: Now) {
        *self = Self::default();
        for node in view.nodes().filter(|node| service::is_down(node)) {
            let since = node.meta.as_ref().and_then(|meta| meta.updated_at.as_ref());
            let waited = since.map_or(Duration::ZERO, |since| now.since(since));
            self.down.insert(
                node.id.clone(),
                now.monotonic + GIVE_UP.saturating_sub(waited),
            );
        }
        let holders: BTreeSet<&Text> = view.tasks().map(|task| &task.node_id).collect();
        self.gone = holders
            .into_iter()
            .filter(|id| !id.is_empty() && view.node(id).is_none())
            .map(Text::to_string)
            .collect();
    }

    fn observe(&mut self, event: &Event, view: &View, now: Now) {
        let Some(Object::Node(node)) = event.object() else {
            return;
        };
        match view.node(&node.id) {
            Some(node) if service::is_down(node) => {
                self.down
                    .entry(node.id.clone())
                    .or_insert(now.monotonic + GIVE_UP);
            }
            Some(node) => drop(self.down.remove(&node.id)),
            None => {
                self.down.remove(&node.id);
                self.gone.insert(node.id.clone());
            }
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        while let Some(id) = self.gone.first().cloned() {
            if pass.is_full() {
                return Ok(());
            }
            self.gone.remove(&id);
            Self::orphan_tasks(&id, REMOVED, pass)?;
        }
        let due: Vec<String> = self
            .down
            .iter()
            .filter(|(_, at)| **at <= pass.now.monotonic)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.down.remove(&id);
            Self::orphan_tasks(&id, DOWN, pass)?;
        }
        if let Some(next) = self.down.values().min() {
            pass.wake_at(*next);
        }
        Ok(())
    }
}
