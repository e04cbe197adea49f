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
    /// By node, which tells of nobody else's tasks.
    reports: Arc<Mutex<HashMap<String, Report>>>,
    clock: Clock,
}

/// All that a node said last.
#[derive(Debug)]
struct Report {
    at: Monotonic,
    tasks: HashMap<String, TaskUsage>,
}

impl UsageBook {
    /// An empty book.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            reports: Arc::default(),
            clock,
        }
    }

    fn reports(&self) -> MutexGuard<'_, HashMap<String, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a node says now, of all its tasks whose load is of interest.
    pub fn hear(&self, node: &str, said: Vec<TaskUsage>) {
        if !said.is_empty() {
            self.note(node, said, self.clock.now().monotonic);
        }
    }

    /// Notes what a node said at a time, in the place of what it said before.
    pub fn note(&self, node: &str, said: Vec<TaskUsage>, at: Monotonic) {
        let tasks = said.into_iter();
        let tasks = tasks.map(|usage| (usage.task_id.clone(), usage)).collect();
        self.reports().insert(node.to_owned(), Report { at, tasks });
    }

    /// What was said of a task by its node, if that is fresh.
    #[must_use]
    pub fn of(&self, task: &str, node: &str, now: Monotonic) -> Option<TaskUsage> {
        let reports = self.reports();
        let report = reports.get(node).filter(|report| report.at + FRESH > now)?;
        report.tasks.get(task).cloned()
    }

    /// Drops what is out of date.
    pub fn forget_old(&self, now: Monotonic) {
        self.reports().retain(|_, report| report.at + FRESH > now);
    }
}
