//! A part that exists only while this manager leads.

use std::sync::{Arc, PoisonError, RwLock};

use tonic::Status;

/// Where servers, which live as long as the manager, find the part of the moment.
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
