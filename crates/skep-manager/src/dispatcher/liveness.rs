//! Writes down which nodes fell silent.

use std::sync::Arc;

use skep_objects::swarmkit::node_status::State;
use skep_store::{Tx, TxError};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::Dispatcher;

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
                let down = dispatcher.sessions().expire(deadline, Instant::now());
                write(&dispatcher, down).await;
            }
        }
    }
}

async fn write(dispatcher: &Dispatcher, down: Vec<Arc<str>>) {
    for node in down {
        warn!(node.id = %node, "node is silent and taken for down");
        let write = |tx: &mut Tx| {
            // It may have come back while this write waited for its turn.
            if dispatcher.sessions().is_down(&node) {
                mark_down(tx, &node)
            } else {
                Ok(())
            }
        };
        if let Err(error) = dispatcher.store.update(write).await {
            info!(%error, node.id = %node, "node could not be written down as down");
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
