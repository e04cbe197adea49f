//! Reports of tasks' states. They are written in batches: while one batch is on its way the next
//! gathers, so a lone report waits for nothing and a flood costs few log entries.

use std::{
    collections::BTreeMap,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skep_objects::swarmkit::{TaskStatus, update_task_status_request::TaskStatusUpdate};
use skep_store::{Tx, TxError, View};
use tokio::sync::Notify;
use tonic::Status;
use tracing::{info, warn};

use super::Dispatcher;

/// Reports that wait to be written; of several about one task the newest.
#[derive(Debug, Default)]
pub struct StatusWriter {
    pending: Mutex<BTreeMap<String, TaskStatus>>,
    more: Notify,
}

impl StatusWriter {
    /// Takes a report, checked already.
    pub fn push(&self, updates: Vec<(String, TaskStatus)>) {
        if updates.is_empty() {
            return;
        }
        let mut pending = self.pending();
        for (task, status) in updates {
            let newer = pending
                .get(&task)
                .is_none_or(|known| known.state <= status.state);
            if newer {
                pending.insert(task, status);
            }
        }
        drop(pending);
        self.more.notify_one();
    }

    fn take(&self) -> BTreeMap<String, TaskStatus> {
        take(&mut *self.pending())
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<String, TaskStatus>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reports of a node that count: tasks that are gone are skipped, other nodes' are refused.
pub fn check(
    view: &View,
    node: &str,
    updates: Vec<TaskStatusUpdate>,
) -> Result<Vec<(String, TaskStatus)>, Status> {
    let mut checked = Vec::with_capacity(updates.len());
    for update in updates {
        let Some(status) = update.status else {
            continue;
        };
        let Some(task) = view.task(&update.task_id) else {
            continue;
        };
        if task.node_id != node {
            return Err(Status::permission_denied(
                "cannot update a task not assigned this node",
            ));
        }
        checked.push((update.task_id, status));
    }
    Ok(checked)
}

/// Writes a report, unless the store knows more already: a state never goes back.
pub fn apply(tx: &mut Tx, task: &str, mut status: TaskStatus, by: &str) -> Result<(), TxError> {
    let Some(stored) = tx.task(task) else {
        return Ok(());
    };
    let known = stored.status.as_ref();
    let mut bare = known.cloned().unwrap_or_default();
    bare.applied_by.clear();
    bare.applied_at = None;
    status.applied_by.clear();
    status.applied_at = None;
    if known.is_some_and(|known| known.state > status.state) || bare == status {
        return Ok(());
    }
    status.applied_by = by.into();
    status.applied_at = Some(tx.now());
    tx.edit_task(task, |task| task.status = Some(status))?;
    Ok(())
}

/// Writes what comes in, for as long as the dispatcher runs.
pub async fn run(dispatcher: Arc<Dispatcher>) {
    loop {
        dispatcher.statuses.more.notified().await;
        let by = &dispatcher.node_id;
        let batch = dispatcher.statuses.take().into_iter();
        let writes = batch.map(|(task, status)| move |tx: &mut Tx| apply(tx, &task, status, by));
        match dispatcher.store.batch(writes).await {
            Ok(results) => {
                for error in results.into_iter().filter_map(Result::err) {
                    warn!(%error, "state of a task could not be written");
                }
            }
            // Agents report again to the next leader.
            Err(error) => info!(%error, "states of tasks could not be written"),
        }
    }
}
