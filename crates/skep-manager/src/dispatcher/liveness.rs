//! Writes down which nodes fell silent.

use std::sync::Arc;

use skep_objects::swarmkit::node_status::State;
use skep_store::{CommitError, Tx, TxError};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::Dispatcher;
use crate::retry;

/// Waits for deadlines, for as long as the dispatcher runs.
pub async fn run(dispatcher: Arc<Dispatcher>) {
    let mut backoff = retry::backoff();
    // Down, and not written down yet.
    let mut unwritten: Vec<Arc<str>> = Vec::new();
    let mut retry_at = None;
    loop {
        let rearm = dispatcher.rearm.notified();
        let next = dispatcher.sessions().next_deadline();
        let until = |at: Option<Instant>| async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = rearm => continue,
            () = until(retry_at) => {}
            () = until(next) => {
                let planned = next.unwrap_or_else(Instant::now);
                let down = dispatcher.sessions().expire(planned, Instant::now());
                for node in &down {
                    warn!(node.id = %node, "node is silent and taken for down");
                }
                unwritten.extend(down);
            }
        }
        // Those that came back are written by their registration.
        unwritten.retain(|node| dispatcher.sessions().is_down(node));
        if unwritten.is_empty() {
            retry_at = None;
            continue;
        }
        match write(&dispatcher, &unwritten).await {
            Ok(()) => {
                unwritten.clear();
                backoff.reset();
                retry_at = None;
            }
            Err(CommitError::Stopped) => return,
            Err(error) => {
                info!(%error, nodes = unwritten.len(), "nodes could not be written down as down yet");
                retry_at = Some(Instant::now() + backoff.next_delay());
            }
        }
    }
}

/// One transaction for all of them, as far as there is room in it.
async fn write(dispatcher: &Dispatcher, down: &[Arc<str>]) -> Result<(), CommitError> {
    retry::write_each(&dispatcher.store, down, |tx, node| {
        // It may have come back while this write waited for its turn.
        if dispatcher.sessions().is_down(node) {
            mark_down(tx, node)
        } else {
            Ok(())
        }
    })
    .await
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
