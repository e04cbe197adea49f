//! Secrets, configs and volumes that tasks of this node use. In memory only: a secret never reaches
//! the disk. A manager may send each of them any number of times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_objects::swarmkit::assignment::Item;
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

    /// Takes a message's changes over, each with whether it is set (true) or removed; a complete
    /// message's in place of all that there was. At once: whoever looks meanwhile misses nothing.
    pub(crate) fn apply(&self, is_complete: bool, changes: Vec<(Item, bool)>) {
        let mut sets = self.lock();
        if is_complete {
            *sets = Sets::default();
        }
        changes
            .into_iter()
            .for_each(|(item, is_set)| sets.apply(item, is_set));
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        *self.lock() = Sets::default();
    }
}

impl Sets {
    fn apply(&mut self, item: Item, is_set: bool) {
        match item {
            Item::Secret(secret) => put(&mut self.secrets, secret.id.clone(), secret, is_set),
            Item::Config(config) => put(&mut self.configs, config.id.clone(), config, is_set),
            Item::Volume(volume) => put(&mut self.volumes, volume.id.clone(), volume, is_set),
            Item::Task(_) => {}
        }
    }
}

fn put<T>(set: &mut BTreeMap<String, Arc<T>>, id: String, object: T, is_set: bool) {
    if is_set {
        set.insert(id, Arc::new(object));
    } else {
        set.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(id: &str) -> Item {
        Item::Secret(Secret {
            id: id.to_owned(),
            ..Secret::default()
        })
    }

    #[test]
    fn a_complete_message_takes_the_place_of_what_there_was_in_one_step() {
        let dependencies = Dependencies::default();
        dependencies.apply(true, vec![(secret("kept"), true), (secret("gone"), true)]);
        let held = dependencies.lock();
        std::thread::scope(|scope| {
            let again = scope.spawn(|| dependencies.apply(true, vec![(secret("kept"), true)]));
            let looks = scope.spawn(|| dependencies.secret("t", "kept").is_some());
            drop(held);
            assert!(looks.join().unwrap(), "it is never missing");
            again.join().unwrap();
        });
        assert!(dependencies.secret("t", "gone").is_none());
        dependencies.apply(false, vec![(secret("kept"), false)]);
        assert!(dependencies.secret("t", "kept").is_none());
    }
}
