//! Writes down which nodes fell silent.

use std::sync::Arc;

use skep_objects::swarmkit::{TaskState, node_status::State};
use skep_store::{Tx, TxError};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{Dispatcher, sessions::Expired};

/// Waits for deadlines, for as long as the dispatcher runs.
pub async fn run(dispatcher: Arc<Dispatcher>) {
    loop {
        let rearm = dispatcher.rearm.notified();
        let next = dispatcher.sessions().next_deadline();
        let Some(deadline) = next else {
            rearm.await;
            continue;
        };
        tokio::select! {
            () = rearm => {}
            () = sleep_until(deadline) => {
                let expired = dispatcher.sessions().expire(deadline, Instant::now());
                write(&dispatcher, expired).await;
            }
        }
    }
}

async fn write(dispatcher: &Dispatcher, expired: Vec<Expired>) {
    for what in expired {
        let result = match &what {
            Expired::Down(node) => {
                warn!(node.id = %node, "node is silent and taken for down");
                let write = |tx: &mut Tx| {
                    // It may have come back while this write waited for its turn.
                    if dispatcher.sessions().is_down(node) {
                        mark_down(tx, node)
                    } else {
                        Ok(())
                    }
                };
                dispatcher.store.update(write).await
            }
            Expired::Orphaned(node) => {
                warn!(node.id = %node, "node has been down for a day: its tasks are given up");
                dispatcher.store.update(|tx| orphan_tasks(tx, node)).await
            }
        };
        if let Err(error) = result {
            info!(%error, ?what, "state of a node could not be written");
        }
    }
}

/// The node does not answer.
pub fn mark_down(tx: &mut Tx, node: &str) -> Result<(), TxError> {
    if tx.node(node).is_none() {
        return Ok(());
    }
    tx.edit_node(node, |node| {
        let status = node.status.get_or_insert_default();
        status.state = State::Down.into();
        status.message = "heartbeat failure".to_owned();
    })?;
    Ok(())
}

/// The tasks of a node that will not come back.
pub fn orphan_tasks(tx: &mut Tx, node: &str) -> Result<(), TxError> {
    let lost = tx
        .tasks_by_node(node)
        .filter(|task| (TaskState::Assigned..=TaskState::Running).contains(&task.observed_state()));
    let ids: Vec<String> = lost.map(|task| task.id.clone()).collect();
    let now = tx.now();
    for id in ids {
        tx.edit_task(&id, |task| {
            let status = task.status.get_or_insert_default();
            status.state = TaskState::Orphaned.into();
            status.timestamp = Some(now);
            status.message = "Task is on a node that has been down for a day".to_owned();
        })?;
    }
    Ok(())
}
