//! What a watcher is told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::codec;
use crate::object::{Kind, Object, StoreObject, sealed::Stored};
use crate::table::{Table, Tables};
use crate::view::View;

/// One change of the store, or the end of a transaction's changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An object that was not there before.
    Created(Object),
    /// A new version of an object.
    Updated {
        /// The version before.
        old: Object,
        /// The version now.
        new: Object,
    },
    /// An object that is gone, in its last version.
    Removed(Object),
    /// All changes of the transaction have been told; the store is at this version.
    Committed(u64),
}

impl Event {
    /// The object as it is now, or was last; none for [`Event::Committed`].
    pub fn object(&self) -> Option<&Object> {
        match self {
            Event::Created(object) | Event::Removed(object) => Some(object),
            Event::Updated { new, .. } => Some(new),
            Event::Committed(_) => None,
        }
    }

    /// Bytes that the change takes in a log entry, about.
    pub fn encoded_len(&self) -> usize {
        self.object().map_or(0, codec::change_len)
    }

    /// Both changes of one object as one; none when they cancel out.
    fn then(self, next: Event) -> Option<Event> {
        Some(match (self, next) {
            (Event::Created(_), Event::Removed(_)) => return None,
            (Event::Created(_), Event::Created(new) | Event::Updated { new, .. }) => {
                Event::Created(new)
            }
            (Event::Updated { old, .. }, Event::Updated { new, .. }) => Event::Updated { old, new },
            (Event::Removed(old), Event::Created(new) | Event::Updated { new, .. }) => {
                Event::Updated { old, new }
            }
            (_, next) => next,
        })
    }

    /// Brings tables to where the change left them.
    pub(crate) fn apply(&self, tables: &mut Tables) {
        match self {
            Event::Created(object) | Event::Updated { new: object, .. } => {
                object.insert_into(tables);
            }
            Event::Removed(object) => object.remove_from(tables),
            Event::Committed(_) => {}
        }
    }
}

/// One event for each object, in the order of the first: neither the log nor watchers see states
/// that lasted for a part of a transaction only.
pub(crate) fn net(events: Vec<Event>) -> Vec<Event> {
    let mut places: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    let mut net: Vec<Option<Event>> = Vec::with_capacity(events.len());
    for event in events {
        let Some(object) = event.object() else {
            continue;
        };
        match places.entry((object.kind(), object.id().to_owned())) {
            Entry::Vacant(vacant) => {
                vacant.insert(net.len());
                net.push(Some(event));
            }
            Entry::Occupied(place) => {
                let first = &mut net[*place.get()];
                *first = match first.take() {
                    Some(first) => first.then(event),
                    None => Some(event),
                };
            }
        }
    }
    net.into_iter().flatten().collect()
}

/// One transaction as watchers see it: its changes in order, and the store right after them.
#[derive(Debug, Clone)]
pub struct Commit {
    /// What changed.
    pub events: Arc<[Event]>,
    /// The store after these changes and before any others.
    pub view: View,
}

/// What changed between two states of the tables.
pub(crate) fn difference(old: &Tables, new: &Tables) -> Vec<Event> {
    let mut events = Vec::new();
    // A task mentions all the others: what it mentions is told first.
    table_difference(&old.clusters, &new.clusters, &mut events);
    table_difference(&old.extensions, &new.extensions, &mut events);
    table_difference(&old.resources, &new.resources, &mut events);
    table_difference(&old.networks, &new.networks, &mut events);
    table_difference(&old.secrets, &new.secrets, &mut events);
    table_difference(&old.configs, &new.configs, &mut events);
    table_difference(&old.volumes, &new.volumes, &mut events);
    table_difference(&old.nodes, &new.nodes, &mut events);
    table_difference(&old.services, &new.services, &mut events);
    table_difference(&old.tasks, &new.tasks, &mut events);
    events
}

fn table_difference<T: StoreObject + Stored>(
    old: &Table<T>,
    new: &Table<T>,
    events: &mut Vec<Event>,
) {
    events.extend(old.objects().diff(new.objects()).map(|item| match item {
        DiffItem::Add(_, object) => Event::Created(object.clone().into_object()),
        DiffItem::Update {
            old: (_, old),
            new: (_, new),
        } => Event::Updated {
            old: old.clone().into_object(),
            new: new.clone().into_object(),
        },
        DiffItem::Remove(_, object) => Event::Removed(object.clone().into_object()),
    }));
}
