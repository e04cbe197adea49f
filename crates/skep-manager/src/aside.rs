//! What the loops leave alone, since alone it does not fit into a log entry.
//!
//! A task repeats its service's spec and its networks, so what was small enough to be stored may
//! become too large later. Such an object must not keep the loops from everything else: its service,
//! or itself where there is none, is set aside until somebody changes it.

use std::collections::BTreeSet;

use skep_objects::swarmkit::Task;
use skep_store::{Event, MAX_ENTRY_BYTES, Object, Tx};
use tracing::error;

/// What a task is set aside with: its service, or itself where it has none.
#[must_use]
pub fn owner(task: &Task) -> &str {
    if task.service_id.is_empty() {
        &task.id
    } else {
        &task.service_id
    }
}

/// What is set aside.
#[derive(Debug, Default)]
pub struct Aside {
    /// Ids of services, and of objects that belong to none.
    owners: BTreeSet<String>,
    found: bool,
}

impl Aside {
    /// Whether this service, or object without one, is left alone.
    #[must_use]
    pub fn has(&self, owner: &str) -> bool {
        self.owners.contains(owner)
    }

    /// Takes back what was changed. True when there was something to take back.
    pub fn observe(&mut self, event: &Event) -> bool {
        match event.object() {
            // Their states change without anybody having done something about their size.
            Some(Object::Task(_)) | None => false,
            Some(object) => self.owners.remove(object.id()),
        }
    }

    /// Looks for what makes the transaction too large whatever else is in it.
    pub fn look_into(&mut self, tx: &mut Tx) {
        if tx.encoded_len() <= MAX_ENTRY_BYTES {
            return;
        }
        for event in tx.changes() {
            let Some(object) = event.object() else {
                continue;
            };
            let bytes = event.encoded_len();
            if bytes <= MAX_ENTRY_BYTES {
                continue;
            }
            let owner = match object {
                Object::Task(task) => owner(task),
                other => other.id(),
            };
            if self.owners.insert(owner.to_owned()) {
                self.found = true;
                error!(
                    object.id = object.id(),
                    owner.id = owner,
                    bytes,
                    "an object is too large to be replicated and is left alone until it is changed"
                );
            }
        }
    }

    /// Whether something was found since this was last asked.
    pub fn take_found(&mut self) -> bool {
        std::mem::take(&mut self.found)
    }
}
