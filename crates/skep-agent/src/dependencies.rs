//! Secrets, configs and volumes that tasks of this node use. In memory only: a secret never reaches
//! the disk. A manager may send each of them any number of times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_objects::swarmkit::{Config, Secret, VolumeAssignment};

/// Shared by all tasks of a node; clones are the same set.
#[derive(Clone, Default)]
pub struct Dependencies {
    inner: Arc<Mutex<Sets>>,
}

#[derive(Default)]
struct Sets {
    secrets: BTreeMap<String, Arc<Secret>>,
    configs: BTreeMap<String, Arc<Config>>,
    volumes: BTreeMap<String, Arc<VolumeAssignment>>,
}

impl std::fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sets = self.lock();
        f.debug_struct("Dependencies")
            .field("secrets", &sets.secrets.keys())
            .field("configs", &sets.configs.keys())
            .field("volumes", &sets.volumes.keys())
            .finish()
    }
}

impl Dependencies {
    fn lock(&self) -> MutexGuard<'_, Sets> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secret that a task uses: its own variant where a secret driver made one.
    pub fn secret(&self, task_id: &str, secret_id: &str) -> Option<Arc<Secret>> {
        let sets = self.lock();
        let own = sets.secrets.get(&format!("{secret_id}.{task_id}"));
        own.or_else(|| sets.secrets.get(secret_id)).cloned()
    }

    /// A config.
    pub fn config(&self, config_id: &str) -> Option<Arc<Config>> {
        self.lock().configs.get(config_id).cloned()
    }

    /// A cluster volume.
    pub fn volume(&self, volume_id: &str) -> Option<Arc<VolumeAssignment>> {
        self.lock().volumes.get(volume_id).cloned()
    }

    pub(crate) fn set_secret(&self, secret: Secret) {
        self.lock()
            .secrets
            .insert(secret.id.clone(), Arc::new(secret));
    }

    pub(crate) fn set_config(&self, config: Config) {
        self.lock()
            .configs
            .insert(config.id.clone(), Arc::new(config));
    }

    pub(crate) fn set_volume(&self, volume: VolumeAssignment) {
        self.lock()
            .volumes
            .insert(volume.id.clone(), Arc::new(volume));
    }

    pub(crate) fn remove_secret(&self, id: &str) {
        self.lock().secrets.remove(id);
    }

    pub(crate) fn remove_config(&self, id: &str) {
        self.lock().configs.remove(id);
    }

    pub(crate) fn remove_volume(&self, id: &str) {
        self.lock().volumes.remove(id);
    }

    /// Forgets all, before a complete set is applied.
    pub(crate) fn clear(&self) {
        *self.lock() = Sets::default();
    }
}
