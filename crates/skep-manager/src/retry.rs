//! Writes that are made until they are: nothing that a leader's part does ends with one failure.
//!
//! While leadership is being handed over nothing can be proposed, and when that fails the leader
//! leads on: a part that had given up would be missed until the next election. So a part ends when it
//! is told to, or when the store is stopped, and what one object alone cannot have concerns no other.

use skep_rpc::Backoff;
use skep_store::{CommitError, Store, Tx, TxError, UpdateError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Waits until something that failed may be tried again; false when there is nothing more to try.
pub async fn again(error: &CommitError, backoff: &mut Backoff, stop: &CancellationToken) -> bool {
    if *error == CommitError::Stopped {
        return false;
    }
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(backoff.next_delay()) => true,
    }
}

/// How long the leader's parts wait for their next try.
#[must_use]
pub fn backoff() -> Backoff {
    use std::time::Duration;
    Backoff::doubling(Duration::from_millis(200), Duration::from_secs(5))
}

/// Writes a change for each item, many in one log entry. A change that is refused, or alone larger
/// than a log entry may be, is left out. After an error some may be written: `write` must bear to be
/// run again.
pub async fn write_each<T>(
    store: &Store,
    items: &[T],
    write: impl Fn(&mut Tx, &T) -> Result<(), TxError>,
) -> Result<(), CommitError> {
    let write = &write;
    // By their places: so no closure is generic over lifetimes, and the future can be sent.
    let all = (0..items.len()).map(|at| move |tx: &mut Tx| write(tx, &items[at]));
    match store.batch(all).await {
        Ok(results) => {
            for error in results.into_iter().filter_map(Result::err) {
                warn!(%error, "a change is refused");
            }
            Ok(())
        }
        Err(error @ CommitError::TooLarge { .. }) => {
            info!(%error, "changes are written one by one");
            write_singly(store, items, write).await
        }
        Err(error) => Err(error),
    }
}

async fn write_singly<T>(
    store: &Store,
    items: &[T],
    write: impl Fn(&mut Tx, &T) -> Result<(), TxError>,
) -> Result<(), CommitError> {
    for item in items {
        match store.update(|tx| write(tx, item)).await {
            Ok(()) => {}
            Err(
                error @ (UpdateError::Refused(_)
                | UpdateError::Commit(CommitError::TooLarge { .. })),
            ) => warn!(%error, "a change is left out"),
            Err(UpdateError::Commit(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::Node;

    use super::*;

    fn create(tx: &mut Tx, (id, bytes): &(&str, usize)) -> Result<(), TxError> {
        if tx.node(id).is_some() {
            return Ok(());
        }
        let mut node = Node {
            id: (*id).to_owned(),
            ..Node::default()
        };
        node.status.get_or_insert_default().message = "x".repeat(*bytes);
        tx.create_node(node).map(drop)
    }

    #[tokio::test]
    async fn what_is_too_large_holds_up_nothing_else() {
        let store = Store::in_memory();
        store.accept_up_to(2_000);
        let items = [("a", 1_000), ("b", 3_000), ("c", 1_500)];
        write_each(&store, &items, create).await.unwrap();
        let view = store.view();
        let ids: Vec<&str> = view.nodes().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_next_try_unless_all_is_over() {
        let (mut backoff, stop) = (backoff(), CancellationToken::new());
        assert!(again(&CommitError::Transferring, &mut backoff, &stop).await);
        assert!(!again(&CommitError::Stopped, &mut backoff, &stop).await);
        stop.cancel();
        assert!(!again(&CommitError::Transferring, &mut backoff, &stop).await);
    }
}
