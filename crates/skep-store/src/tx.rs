//! A transaction: reads its own writes, and becomes one log entry or nothing.

use std::ops::Deref;
use std::sync::Arc;

use prost_types::Timestamp;
use skep_objects::ErrorKind;
use skep_objects::swarmkit::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
};

use crate::codec;
use crate::event::{self, Event};
use crate::object::{Kind, Object, StoreObject, stamp};
use crate::view::View;

/// Why a transaction may not write an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// The id is taken.
    #[error("{kind} {id} already exists")]
    Exists {
        /// Kind of the object.
        kind: Kind,
        /// Its id.
        id: String,
    },
    /// No object of this id.
    #[error("{kind} {id} not found")]
    NotFound {
        /// Kind of the object.
        kind: Kind,
        /// The id asked for.
        id: String,
    },
    /// Another object of the kind has the name.
    #[error("name conflicts with an existing object")]
    NameConflict {
        /// Kind of the objects.
        kind: Kind,
        /// The name that both want.
        name: String,
        /// The object that has it.
        holder: String,
    },
    /// The object was written since the caller read it.
    #[error("update out of sequence")]
    OutOfSequence {
        /// Kind of the object.
        kind: Kind,
        /// Its id.
        id: String,
        /// The version that the caller read.
        given: u64,
        /// The version in the store.
        stored: u64,
    },
    /// A resource whose kind is the name of no extension.
    #[error("resource kind {kind} is not known")]
    UnknownResourceKind {
        /// The kind it names.
        kind: String,
    },
}

impl TxError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TxError::Exists { .. } | TxError::NameConflict { .. } => ErrorKind::AlreadyExists,
            TxError::NotFound { .. } => ErrorKind::NotFound,
            TxError::OutOfSequence { .. } => ErrorKind::Conflict,
            TxError::UnknownResourceKind { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// A transaction over the newest state, including writes that are proposed and not yet committed.
///
/// Reads are [`View`]'s, and see what the transaction wrote. Versions and times in an object's
/// meta are the store's to set: `create` and `update` return the object as stored.
#[derive(Debug)]
pub struct Tx {
    view: View,
    events: Vec<Event>,
    version: u64,
    now: Timestamp,
    /// The time that was last written: of two objects the one made later is so by its time, too.
    latest: Option<Timestamp>,
    weight: Weight,
}

/// Bytes of the first changes of a transaction.
#[derive(Debug, Default, Clone, Copy)]
struct Weight {
    /// How many changes are counted.
    changes: usize,
    bytes: usize,
}

/// Where to return to when a part of a transaction fails.
#[derive(Debug)]
pub(crate) struct Savepoint {
    view: View,
    events: usize,
    weight: Weight,
}

macro_rules! writes {
    ($($type:ident: $create:ident $update:ident $edit:ident $remove:ident, $a:literal;)*) => {$(
        #[doc = concat!("Adds a ", $a, "; its id and name must be free.")]
        pub fn $create(&mut self, object: $type) -> Result<Arc<$type>, TxError> {
            self.create(object)
        }

        #[doc = concat!("Writes a ", $a, " whose version is the stored one.")]
        pub fn $update(&mut self, object: $type) -> Result<Arc<$type>, TxError> {
            self.update(object)
        }

        #[doc = concat!("Changes a ", $a, " as it is stored now.")]
        pub fn $edit(
            &mut self,
            id: &str,
            change: impl FnOnce(&mut $type),
        ) -> Result<Arc<$type>, TxError> {
            self.edit(id, change)
        }

        #[doc = concat!("Removes the ", $a, " of this id.")]
        pub fn $remove(&mut self, id: &str) -> Result<Arc<$type>, TxError> {
            self.remove(id)
        }
    )*};
}

impl Tx {
    pub(crate) fn new(view: View, version: u64, now: Timestamp) -> Self {
        Tx {
            view,
            events: Vec::new(),
            version,
            now,
            latest: None,
            weight: Weight::default(),
        }
    }

    /// The time of the transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds an object; its id and name must be free.
    pub fn create<T: StoreObject>(&mut self, object: T) -> Result<Arc<T>, TxError> {
        self.insert(object, None)
    }

    /// Adds an object of a backup, which keeps the time that it was created at.
    pub fn restore<T: StoreObject>(&mut self, object: T) -> Result<Arc<T>, TxError> {
        let created_at = object.created_at();
        self.insert(object, created_at)
    }

    fn insert<T: StoreObject>(
        &mut self,
        mut object: T,
        created_at: Option<Timestamp>,
    ) -> Result<Arc<T>, TxError> {
        let id = object.id().to_owned();
        if self.view.get::<T>(&id).is_some() {
            return Err(TxError::Exists { kind: T::KIND, id });
        }
        self.check_name(&object)?;
        if let Some(kind) = object.needs_extension()
            && self.view.extension_by_name(kind).is_none()
        {
            return Err(TxError::UnknownResourceKind {
                kind: kind.to_owned(),
            });
        }
        object.share(&self.view.tables);
        let now = self.latest.map_or(self.now, following);
        self.latest = Some(now);
        object.set_meta(stamp(created_at, self.version, now));
        let object = Arc::new(object);
        self.record(Event::Created(object.clone().into_object()));
        Ok(object)
    }

    /// Writes an object whose version is the stored one: nobody wrote it since the caller read it.
    pub fn update<T: StoreObject>(&mut self, object: T) -> Result<Arc<T>, TxError> {
        let stored = self.existing::<T>(object.id())?;
        if object.version() != stored.version() {
            return Err(TxError::OutOfSequence {
                kind: T::KIND,
                id: object.id().to_owned(),
                given: object.version(),
                stored: stored.version(),
            });
        }
        self.replace(stored, object)
    }

    /// Writes an object whatever its version is.
    pub fn overwrite<T: StoreObject>(&mut self, object: T) -> Result<Arc<T>, TxError> {
        let stored = self.existing::<T>(object.id())?;
        self.replace(stored, object)
    }

    /// Changes an object as it is stored now. Writes nothing when the change changes nothing.
    pub fn edit<T: StoreObject>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, TxError> {
        let stored = self.existing::<T>(id)?;
        let mut object = T::clone(&stored);
        change(&mut object);
        if object == *stored {
            return Ok(stored);
        }
        self.replace(stored, object)
    }

    /// Removes the object of this kind and id.
    pub fn remove<T: StoreObject>(&mut self, id: &str) -> Result<Arc<T>, TxError> {
        let stored = self.existing::<T>(id)?;
        self.record(Event::Removed(stored.clone().into_object()));
        Ok(stored)
    }

    writes! {
        Node: create_node update_node edit_node remove_node, "node";
        Service: create_service update_service edit_service remove_service, "service";
        Network: create_network update_network edit_network remove_network, "network";
        Task: create_task update_task edit_task remove_task, "task";
        Cluster: create_cluster update_cluster edit_cluster remove_cluster, "cluster";
        Secret: create_secret update_secret edit_secret remove_secret, "secret";
        Resource: create_resource update_resource edit_resource remove_resource, "resource";
        Extension: create_extension update_extension edit_extension remove_extension, "extension";
        Config: create_config update_config edit_config remove_config, "config";
        Volume: create_volume update_volume edit_volume remove_volume, "volume";
    }

    /// What the transaction changed so far.
    pub fn changes(&self) -> &[Event] {
        &self.events
    }

    /// Bytes that the transaction takes in the log so far, about. Counts what is new since it was
    /// last asked.
    pub fn encoded_len(&mut self) -> usize {
        for event in &self.events[self.weight.changes..] {
            self.weight.bytes += event.encoded_len();
            // Of several changes of an object the log gets one.
            if let Event::Updated { old, .. } | Event::Removed(old) = event
                && self.has_written(old)
            {
                let before = codec::change_len(old);
                self.weight.bytes = self.weight.bytes.saturating_sub(before);
            }
        }
        self.weight.changes = self.events.len();
        self.weight.bytes
    }

    fn has_written(&self, object: &Object) -> bool {
        let version = object.meta().and_then(|meta| meta.version);
        version.is_some_and(|version| version.index == self.version)
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            view: self.view.clone(),
            events: self.events.len(),
            weight: self.weight,
        }
    }

    pub(crate) fn roll_back(&mut self, to: Savepoint) {
        self.view = to.view;
        self.events.truncate(to.events);
        self.weight = to.weight;
    }

    pub(crate) fn into_parts(self) -> (View, Vec<Event>, u64) {
        (self.view, event::net(self.events), self.version)
    }

    fn existing<T: StoreObject>(&self, id: &str) -> Result<Arc<T>, TxError> {
        let found = self.view.get::<T>(id).cloned();
        found.ok_or_else(|| TxError::NotFound {
            kind: T::KIND,
            id: id.to_owned(),
        })
    }

    fn replace<T: StoreObject>(&mut self, old: Arc<T>, mut new: T) -> Result<Arc<T>, TxError> {
        self.check_name(&new)?;
        new.share(&self.view.tables);
        let now = self.latest.unwrap_or(self.now);
        new.set_meta(stamp(old.created_at(), self.version, now));
        let new = Arc::new(new);
        let event = Event::Updated {
            old: old.into_object(),
            new: new.clone().into_object(),
        };
        self.record(event);
        Ok(new)
    }

    fn check_name<T: StoreObject>(&self, object: &T) -> Result<(), TxError> {
        if !T::UNIQUE_NAME {
            return Ok(());
        }
        let holder = self
            .view
            .by_name::<T>(object.name())
            .find(|held| held.id() != object.id());
        match holder {
            None => Ok(()),
            Some(holder) => Err(TxError::NameConflict {
                kind: T::KIND,
                name: object.name().to_owned(),
                holder: holder.id().to_owned(),
            }),
        }
    }

    fn record(&mut self, event: Event) {
        event.apply(Arc::make_mut(&mut self.view.tables));
        self.events.push(event);
    }
}

/// The next time after one.
fn following(time: Timestamp) -> Timestamp {
    if time.nanos < 999_999_999 {
        return Timestamp {
            nanos: time.nanos + 1,
            ..time
        };
    }
    Timestamp {
        seconds: time.seconds + 1,
        nanos: 0,
    }
}

impl Deref for Tx {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
