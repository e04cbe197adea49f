//! Tasks that were deleted a while ago: their nodes may still be telling what they wrote.

use std::collections::{HashMap, VecDeque};

use skep_objects::{Text, swarmkit::Task};

/// So many are remembered.
const REMEMBERED: usize = 4096;

/// The tasks deleted last, with their nodes and services.
#[derive(Debug, Default)]
pub struct Departed {
    tasks: HashMap<String, (Text, Text)>,
    order: VecDeque<String>,
}

impl Departed {
    /// Remembers a task that was deleted.
    pub fn note(&mut self, task: &Task) {
        if task.node_id.is_empty() {
            return;
        }
        let of = (task.node_id.clone(), task.service_id.clone());
        if self.tasks.insert(task.id.clone(), of).is_none() {
            self.order.push_back(task.id.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.tasks.remove(&oldest);
        }
    }

    /// The node and the service of a task that was deleted.
    pub fn find(&self, task: &str) -> Option<&(Text, Text)> {
        self.tasks.get(task)
    }
}
