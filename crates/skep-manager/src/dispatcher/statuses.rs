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
use tracing::info;

use super::{Dispatcher, limits};
use crate::retry;

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

    /// Takes back what could not be written, unless something newer came meanwhile.
    fn put_back(&self, updates: Vec<(String, TaskStatus)>) {
        let mut pending = self.pending();
        for (task, status) in updates {
            if pending
                .get(&task)
                .is_none_or(|known| known.state < status.state)
            {
                pending.insert(task, status);
            }
        }
        drop(pending);
        self.more.notify_one();
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
        checked.push((update.task_id, limits::bounded(status)));
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

/// Writes what comes in, for as long as the dispatcher runs. Agents were told that their reports are
/// taken: one that could not be written yet is kept.
pub async fn run(dispatcher: Arc<Dispatcher>) {
    let mut backoff = retry::backoff();
    loop {
        dispatcher.statuses.more.notified().await;
        let batch: Vec<(String, TaskStatus)> = dispatcher.statuses.take().into_iter().collect();
        let by = &dispatcher.node_id;
        let write = |tx: &mut Tx, (task, status): &(String, TaskStatus)| {
            apply(tx, task, status.clone(), by)
        };
        match retry::write_each(&dispatcher.store, &batch, write).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                info!(%error, "states of tasks could not be written yet");
                dispatcher.statuses.put_back(batch);
                if !retry::again(&error, &mut backoff, &dispatcher.stop).await {
                    return;
                }
            }
        }
    }
}
