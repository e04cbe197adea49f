//! Keys of the gossip and of encrypted networks: three of each, of which the middle one by age is
//! in use, the oldest is still understood, and the newest is already understood. Every twelve hours
//! the oldest goes and a new one comes, so that no two nodes ever share no key.

use std::time::Duration;

use rand::RngCore;
use skep_objects::swarmkit::{Cluster, EncryptionKey, encryption_key::Algorithm};
use skep_store::{Store, Tx, TxError, UpdateError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::retry;

/// What the keys are for.
pub const SUBSYSTEMS: [&str; 2] = ["networking:gossip", "networking:ipsec"];
const KEYS_PER_SUBSYSTEM: usize = 3;
const KEY_BYTES: usize = 16;
/// How often the oldest keys are replaced.
pub const ROTATION: Duration = Duration::from_secs(12 * 3600);

/// The keys of a new swarm, and the clock that dates them.
pub fn initial_keys() -> (Vec<EncryptionKey>, u64) {
    let mut clock = u64::from(rand::random::<u16>());
    let mut keys = Vec::with_capacity(SUBSYSTEMS.len() * KEYS_PER_SUBSYSTEM);
    for subsystem in SUBSYSTEMS {
        keys.extend((0..KEYS_PER_SUBSYSTEM).map(|_| new_key(subsystem, &mut clock)));
    }
    (keys, clock)
}

/// Replaces the oldest key of each subsystem.
pub fn rotate(cluster: &mut Cluster) {
    let clock = &mut cluster.encryption_key_lamport_clock;
    for subsystem in SUBSYSTEMS {
        let keys = &mut cluster.network_bootstrap_keys;
        let fresh = new_key(subsystem, clock);
        let own = |key: &EncryptionKey| key.subsystem == subsystem;
        while keys.iter().filter(|key| own(key)).count() >= KEYS_PER_SUBSYSTEM {
            let oldest = keys.iter().enumerate().filter(|(_, key)| own(key));
            let Some((index, _)) = oldest.min_by_key(|(_, key)| key.lamport_time) else {
                break;
            };
            keys.remove(index);
        }
        keys.push(fresh);
    }
}

fn new_key(subsystem: &str, clock: &mut u64) -> EncryptionKey {
    *clock += 1;
    let mut key = vec![0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    EncryptionKey {
        subsystem: subsystem.to_owned(),
        algorithm: Algorithm::Aes128Gcm.into(),
        key,
        lamport_time: *clock,
    }
}

fn rotate_in_store(tx: &mut Tx) -> Result<(), TxError> {
    let Some(id) = tx.the_cluster().map(|cluster| cluster.id.clone()) else {
        return Ok(());
    };
    tx.edit_cluster(&id, rotate)?;
    Ok(())
}

/// Rotates until stopped, or until the store is.
pub async fn run(store: Store, stop: CancellationToken) {
    let mut backoff = retry::backoff();
    let mut is_due = false;
    loop {
        if !is_due {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(ROTATION) => is_due = true,
            }
        }
        match store.update(rotate_in_store).await {
            Ok(()) => {
                info!("network keys rotated");
                backoff.reset();
                is_due = false;
            }
            Err(UpdateError::Refused(error)) => {
                warn!(%error, "network keys cannot be rotated");
                is_due = false;
            }
            Err(UpdateError::Commit(error)) => {
                info!(%error, "network keys could not be rotated yet");
                if !retry::again(&error, &mut backoff, &stop).await {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cluster: &Cluster, subsystem: &str) -> Vec<u64> {
        let own = cluster
            .network_bootstrap_keys
            .iter()
            .filter(|key| key.subsystem == subsystem);
        own.map(|key| key.lamport_time).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotation_that_could_not_be_written_is_tried_again() {
        let store = Store::in_memory();
        let cluster = Cluster {
            id: "c".to_owned(),
            ..Cluster::default()
        };
        store.update(|tx| tx.create_cluster(cluster)).await.unwrap();
        store.refuse(skep_store::CommitError::Transferring);
        let stop = CancellationToken::new();
        let keys = tokio::spawn(run(store.clone(), stop.clone()));
        tokio::time::sleep(ROTATION + Duration::from_secs(60)).await;
        let (_, mut watch) = store.watch();
        store.accept_up_to(usize::MAX);
        let soon = tokio::time::timeout(Duration::from_secs(10), watch.recv());
        assert!(soon.await.unwrap().is_some());
        stop.cancel();
        keys.await.unwrap();
    }

    #[test]
    fn a_rotation_takes_the_oldest_key_and_leaves_three() {
        let (keys, clock) = initial_keys();
        let mut cluster = Cluster {
            network_bootstrap_keys: keys,
            encryption_key_lamport_clock: clock,
            ..Cluster::default()
        };
        for subsystem in SUBSYSTEMS {
            let before = times(&cluster, subsystem);
            assert_eq!(before.len(), 3);
        }
        let before = SUBSYSTEMS.map(|subsystem| times(&cluster, subsystem));
        rotate(&mut cluster);
        for (subsystem, before) in SUBSYSTEMS.into_iter().zip(before) {
            let after = times(&cluster, subsystem);
            assert_eq!(after[..2], before[1..]);
            assert!(after[2] > clock);
        }
        assert_eq!(cluster.encryption_key_lamport_clock, clock + 2);
    }
}
