//! Parts that servers need and that are not always there.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use skep_store::Store;
use tonic::Status;

/// A part that exists only while this manager leads: where servers, which live as long as the
/// manager, find the one of the moment.
#[derive(Debug)]
pub struct Slot<T> {
    name: &'static str,
    part: Arc<RwLock<Option<Arc<T>>>>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            part: self.part.clone(),
        }
    }
}

impl<T> Slot<T> {
    /// An empty slot; `name` is what callers are told is not there.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            part: Arc::default(),
        }
    }

    /// Puts a part in, or takes it out.
    pub fn set(&self, part: Option<Arc<T>>) {
        *self.part.write().unwrap_or_else(PoisonError::into_inner) = part;
    }

    /// The part; callers find another manager when there is none.
    pub fn get(&self) -> Result<Arc<T>, Status> {
        let part = self
            .part
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        part.ok_or_else(|| Status::aborted(format!("{} is stopped", self.name)))
    }
}

/// The store, once this manager's raft has begun. Its servers listen before that.
#[derive(Debug, Clone, Default)]
pub struct LateStore(Arc<OnceLock<Store>>);

impl LateStore {
    /// Puts the store in place; a second one is not taken.
    pub fn set(&self, store: Store) {
        let _ = self.0.set(store);
    }

    /// The store; callers come again while there is none.
    pub fn get(&self) -> Result<&Store, Status> {
        self.0
            .get()
            .ok_or_else(|| Status::unavailable("this manager is still starting"))
    }
}

impl From<Store> for LateStore {
    fn from(store: Store) -> Self {
        let late = Self::default();
        late.set(store);
        late
    }
}
