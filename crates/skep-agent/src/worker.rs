//! All tasks of this node: takes assignments over, and keeps one actor for each task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_objects::swarmkit::assignment::Item;
use skep_objects::swarmkit::assignment_change::AssignmentAction;
use skep_objects::swarmkit::assignments_message::Type;
use skep_objects::swarmkit::{AssignmentChange, AssignmentsMessage, Task, TaskState};
use tokio::sync::{Mutex, watch};
use tracing::{debug, warn};

use crate::dependencies::Dependencies;
use crate::disk::Saved;
use crate::executor::{Controller, Executor};
use crate::task::{Shared, TaskHandle};

/// The tasks of a node.
pub(crate) struct Worker {
    executor: Arc<dyn Executor>,
    dependencies: Dependencies,
    shared: Shared,
    tasks: Mutex<BTreeMap<String, TaskHandle>>,
    /// Counts changes of the set of tasks.
    changed: watch::Sender<u64>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

impl Worker {
    /// Takes up the tasks from disk. Running ones are watched at once; others, which need secrets or
    /// credentials that are not on disk, wait until a manager confirms them.
    pub(crate) async fn resume(
        executor: Arc<dyn Executor>,
        shared: Shared,
        saved: Saved,
    ) -> Arc<Self> {
        if let Some(node) = &saved.node
            && let Err(error) = executor.configure(node).await
        {
            warn!(%error, "this node's network addresses cannot be set up yet");
        }
        let worker = Self {
            executor,
            dependencies: Dependencies::default(),
            shared,
            tasks: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        {
            let mut tasks = worker.tasks.lock().await;
            for (id, task) in saved.tasks {
                let state = task.observed_state();
                let is_held = state < TaskState::Running && task.wants_to_run();
                if let Some(status) = &task.status {
                    worker.shared.reporter.report(&id, status.clone());
                }
                let handle = worker.spawn(task, is_held);
                tasks.insert(id, handle);
            }
        }
        Arc::new(worker)
    }

    fn spawn(&self, task: Task, is_held: bool) -> TaskHandle {
        let controller = self.executor.controller(&task, &self.dependencies);
        TaskHandle::spawn(task, is_held, controller, self.shared.clone())
    }

    /// Takes one message of a manager over. The same message again changes nothing.
    pub(crate) async fn apply(&self, message: AssignmentsMessage) {
        let is_complete = message.r#type() == Type::Complete;
        let sorted = Changes::sort(message.changes);
        self.dependencies.apply(is_complete, sorted.dependencies);
        let mut removed = Vec::new();
        {
            let mut tasks = self.tasks.lock().await;
            if is_complete {
                let assigned: BTreeSet<&String> = sorted.tasks.iter().map(|t| &t.id).collect();
                let gone: Vec<String> = tasks
                    .keys()
                    .filter(|id| !assigned.contains(id))
                    .cloned()
                    .collect();
                removed.extend(gone.iter().filter_map(|id| tasks.remove(id)));
            }
            for task in sorted.tasks {
                self.assign(&mut tasks, task);
            }
            removed.extend(
                sorted
                    .removed_tasks
                    .iter()
                    .filter_map(|id| tasks.remove(id)),
            );
        }
        self.changed.send_modify(|n| *n += 1);
        // Removal takes as long as the containers take to end; nobody waits for it here.
        for handle in removed {
            tokio::spawn(handle.remove());
        }
        if is_complete {
            let kept = self.tasks.lock().await.keys().cloned().collect();
            self.executor.retain_tasks(&kept).await;
        }
    }

    fn assign(&self, tasks: &mut BTreeMap<String, TaskHandle>, task: Task) {
        if let Some(handle) = tasks.get_mut(&task.id) {
            handle.update(task);
            handle.release();
            return;
        }
        debug!(task.id = %task.id, service.name = task.service_annotations.as_ref()
            .map(|a| a.name.as_str()).unwrap_or_default(), "task assigned");
        self.shared.disk.set_task(&task);
        let id = task.id.clone();
        let handle = self.spawn(task, false);
        tasks.insert(id, handle);
    }

    /// Has every running task taken out of rotation: this node is about to leave the swarm.
    pub(crate) async fn withdraw(&self) {
        let tasks = self.tasks().await;
        let tasks: Vec<&Task> = tasks.iter().map(|(task, _)| &**task).collect();
        self.shared.drain.withdraw(&tasks).await;
    }

    /// Stops and removes every task and waits for it: this node leaves the swarm.
    pub(crate) async fn clear(&self) {
        let all = std::mem::take(&mut *self.tasks.lock().await);
        self.changed.send_modify(|n| *n += 1);
        futures::future::join_all(all.into_values().map(TaskHandle::remove)).await;
        self.dependencies.clear();
        self.executor.retain_tasks(&BTreeSet::new()).await;
    }

    /// Each task with its controller.
    pub(crate) async fn tasks(&self) -> Vec<(Arc<Task>, Arc<dyn Controller>)> {
        let tasks = self.tasks.lock().await;
        tasks
            .values()
            .map(|h| (Arc::clone(&h.task), h.controller()))
            .collect()
    }

    /// Marks changes of the set of tasks.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn executor(&self) -> &Arc<dyn Executor> {
        &self.executor
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// A message's changes in the order in which they are applied: a task may come before its secret.
struct Changes {
    /// Each with whether it is set (true) or removed.
    dependencies: Vec<(Item, bool)>,
    tasks: Vec<Task>,
    removed_tasks: Vec<String>,
}

impl Changes {
    fn sort(changes: Vec<AssignmentChange>) -> Self {
        let mut sorted = Self {
            dependencies: Vec::new(),
            tasks: Vec::new(),
            removed_tasks: Vec::new(),
        };
        for change in changes {
            let is_set = change.action() == AssignmentAction::Update;
            let Some(item) = change.assignment.and_then(|a| a.item) else {
                continue;
            };
            match (item, is_set) {
                (Item::Task(task), true) => sorted.tasks.push(task),
                (Item::Task(task), false) => sorted.removed_tasks.push(task.id),
                (other, is_set) => sorted.dependencies.push((other, is_set)),
            }
        }
        sorted
    }
}
