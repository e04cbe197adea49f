//! The key that unlocks managers after a restart.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use rand::RngCore;
use skep_objects::swarmkit::{Cluster, EncryptionKey, encryption_key::Algorithm};

/// Subsystem of the key in [`Cluster::unlock_keys`].
pub const MANAGER_SUBSYSTEM: &str = "swarm-manager";
const KEY_BYTES: usize = 32;
const PREFIX: &str = "SWMKEY-1-";

/// The key as people see and type it.
pub fn unlock_key_text(key: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD_NO_PAD.encode(key))
}

/// The key of the cluster's managers; none unless they lock themselves.
pub fn unlock_key(cluster: &Cluster) -> Option<&[u8]> {
    let mut keys = cluster.unlock_keys.iter();
    let key = keys.find(|key| key.subsystem == MANAGER_SUBSYSTEM)?;
    Some(&key.key)
}

/// Makes a key when managers begin to lock themselves, or when asked; drops it when they stop.
pub fn follow_autolock(cluster: &mut Cluster, rotate: bool) {
    let spec = cluster
        .spec
        .as_ref()
        .and_then(|spec| spec.encryption_config.as_ref());
    if !spec.is_some_and(|config| config.auto_lock_managers) {
        cluster
            .unlock_keys
            .retain(|key| key.subsystem != MANAGER_SUBSYSTEM);
    } else if rotate || unlock_key(cluster).is_none() {
        cluster
            .unlock_keys
            .retain(|key| key.subsystem != MANAGER_SUBSYSTEM);
        cluster.unlock_keys.push(new_key());
    }
}

fn new_key() -> EncryptionKey {
    let mut key = vec![0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    EncryptionKey {
        subsystem: MANAGER_SUBSYSTEM.to_owned(),
        algorithm: Algorithm::Aes128Gcm.into(),
        key,
        lamport_time: 0,
    }
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{ClusterSpec, EncryptionConfig};

    use super::*;

    fn cluster(auto_lock_managers: bool) -> Cluster {
        let config = EncryptionConfig { auto_lock_managers };
        let spec = ClusterSpec {
            encryption_config: Some(config),
            ..Default::default()
        };
        Cluster {
            spec: Some(spec),
            ..Default::default()
        }
    }

    #[test]
    fn the_key_comes_and_goes_with_autolock_and_changes_when_asked() {
        let mut locked = cluster(true);
        follow_autolock(&mut locked, false);
        let first = unlock_key(&locked).unwrap().to_vec();
        assert_eq!(first.len(), 32);
        follow_autolock(&mut locked, false);
        assert_eq!(unlock_key(&locked), Some(&first[..]));
        follow_autolock(&mut locked, true);
        assert_ne!(unlock_key(&locked), Some(&first[..]));
        locked.spec = cluster(false).spec;
        follow_autolock(&mut locked, true);
        assert_eq!(unlock_key(&locked), None);
    }

    #[test]
    fn the_text_is_dockers() {
        assert_eq!(
            unlock_key_text(&[0; 32]),
            format!("SWMKEY-1-{}", "A".repeat(43))
        );
    }
}
