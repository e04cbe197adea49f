//! What nodes last said of the load of their tasks. Not in the store: it is old news in seconds, and
//! only the leader asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skep_objects::skep_v1::TaskUsage;

use crate::clock::{Clock, Monotonic};

/// What was said longer ago says nothing of now.
pub const FRESH: Duration = Duration::from_secs(20);

/// The load of tasks; clones are the same book.
#[derive(Debug, Clone)]
pub struct UsageBook {
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    clock: Clock,
}

#[derive(Debug)]
struct Entry {
    node: String,
    at: Monotonic,
    usage: TaskUsage,
}

impl UsageBook {
    /// An empty book.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            entries: Arc::default(),
            clock,
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a node says now.
    pub fn hear(&self, node: &str, said: Vec<TaskUsage>) {
        if !said.is_empty() {
            self.note(node, said, self.clock.now().monotonic);
        }
    }

    /// Notes what a node said at a time. A task is its node's to tell of, while it is fresh.
    pub fn note(&self, node: &str, said: Vec<TaskUsage>, at: Monotonic) {
        let mut entries = self.entries();
        for usage in said {
            let of_other = entries
                .get(&usage.task_id)
                .is_some_and(|known| known.node != node && known.at + FRESH > at);
            if !of_other {
                let (id, node) = (usage.task_id.clone(), node.to_owned());
                entries.insert(id, Entry { node, at, usage });
            }
        }
    }

    /// What was said of a task on its node, if that is fresh.
    #[must_use]
    pub fn of(&self, task: &str, node: &str, now: Monotonic) -> Option<TaskUsage> {
        let entries = self.entries();
        let entry = entries.get(task)?;
        (entry.node == node && entry.at + FRESH > now).then(|| entry.usage.clone())
    }

    /// Drops what is out of date.
    pub fn forget_old(&self, now: Monotonic) {
        self.entries().retain(|_, entry| entry.at + FRESH > now);
    }
}
