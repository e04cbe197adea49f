//! Statuses on their way to the manager: the latest of each task only, many in one call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_objects::swarmkit::TaskStatus;
use skep_objects::swarmkit::update_task_status_request::TaskStatusUpdate;
use tokio::sync::Notify;

/// Shared by all tasks of a node; clones are the same queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reporter {
    queue: Arc<Mutex<Queue>>,
    added: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The last status of every task that there is.
    latest: BTreeMap<String, TaskStatus>,
    /// Not yet taken by a manager.
    waiting: BTreeMap<String, TaskStatus>,
}

impl Reporter {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a status into the queue, in place of an older one.
    pub(crate) fn report(&self, task_id: &str, status: TaskStatus) {
        let mut queue = self.lock();
        let is_older = |known: &TaskStatus| known.state > status.state;
        if queue.latest.get(task_id).is_some_and(is_older) {
            return;
        }
        queue.latest.insert(task_id.to_owned(), status.clone());
        queue.waiting.insert(task_id.to_owned(), status);
        self.added.notify_one();
    }

    /// The task is gone; nobody wants to hear of it.
    pub(crate) fn forget(&self, task_id: &str) {
        let mut queue = self.lock();
        queue.latest.remove(task_id);
        queue.waiting.remove(task_id);
    }

    /// A new session: all statuses are reported again.
    pub(crate) fn repeat_all(&self) {
        let mut queue = self.lock();
        queue.waiting = queue.latest.clone();
        self.added.notify_one();
    }

    /// Waits for statuses and takes up to `max` of them.
    pub(crate) async fn take(&self, max: usize) -> Vec<TaskStatusUpdate> {
        loop {
            let batch = self.take_now(max);
            if !batch.is_empty() {
                return batch;
            }
            self.added.notified().await;
        }
    }

    fn take_now(&self, max: usize) -> Vec<TaskStatusUpdate> {
        let mut queue = self.lock();
        let ids: Vec<String> = queue.waiting.keys().take(max).cloned().collect();
        let take = |task_id: String| {
            let status = queue.waiting.remove(&task_id);
            TaskStatusUpdate { task_id, status }
        };
        ids.into_iter().map(take).collect()
    }

    /// No manager took these; they wait again unless there are newer ones.
    pub(crate) fn put_back(&self, batch: Vec<TaskStatusUpdate>) {
        let mut queue = self.lock();
        for update in batch {
            let is_alive = queue.latest.contains_key(&update.task_id);
            if let (true, Some(status)) = (is_alive, update.status) {
                queue.waiting.entry(update.task_id).or_insert(status);
            }
        }
        self.added.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::swarmkit::TaskState;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus {
            state: state.into(),
            ..Default::default()
        }
    }

    fn states(batch: &[TaskStatusUpdate]) -> Vec<(String, i32)> {
        batch
            .iter()
            .map(|u| (u.task_id.clone(), u.status.as_ref().unwrap().state))
            .collect()
    }

    #[test]
    fn only_the_latest_status_of_a_task_is_sent() {
        let reporter = Reporter::default();
        reporter.report("a", status(TaskState::Preparing));
        reporter.report("a", status(TaskState::Running));
        reporter.report("a", status(TaskState::Ready));
        let batch = reporter.take_now(10);
        assert_eq!(
            states(&batch),
            [("a".to_owned(), TaskState::Running as i32)]
        );
        assert!(reporter.take_now(10).is_empty());
    }

    #[test]
    fn what_no_manager_took_is_sent_again_unless_outdated() {
        let reporter = Reporter::default();
        reporter.report("a", status(TaskState::Ready));
        reporter.report("b", status(TaskState::Ready));
        reporter.report("c", status(TaskState::Ready));
        let batch = reporter.take_now(10);
        reporter.report("a", status(TaskState::Running));
        reporter.forget("c");
        reporter.put_back(batch);
        let expect = [
            ("a".to_owned(), TaskState::Running as i32),
            ("b".to_owned(), TaskState::Ready as i32),
        ];
        assert_eq!(states(&reporter.take_now(10)), expect);
    }

    #[test]
    fn a_new_session_hears_of_every_task() {
        let reporter = Reporter::default();
        reporter.report("a", status(TaskState::Running));
        reporter.take_now(10);
        reporter.repeat_all();
        assert_eq!(reporter.take_now(10).len(), 1);
    }
}
