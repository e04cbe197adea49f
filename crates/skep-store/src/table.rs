//! One kind's objects and its indices, as persistent maps: a clone costs nothing and shares all.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use skep_objects::swarmkit::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
};

use crate::index::{KeyRef, OwnedKey};
use crate::object::{Id, StoreObject, sealed::Stored};
use crate::places::{FIRST, Places};

/// All tables.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub(crate) nodes: Table<Node>,
    pub(crate) services: Table<Service>,
    pub(crate) networks: Table<Network>,
    pub(crate) tasks: Table<Task>,
    pub(crate) clusters: Table<Cluster>,
    pub(crate) secrets: Table<Secret>,
    pub(crate) resources: Table<Resource>,
    pub(crate) extensions: Table<Extension>,
    pub(crate) configs: Table<Config>,
    pub(crate) volumes: Table<Volume>,
}

/// One kind's objects.
#[derive(Debug, Clone)]
pub struct Table<T> {
    objects: OrdMap<Id, Arc<T>>,
    index: OrdSet<(OwnedKey, Id)>,
    places: Places,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            objects: OrdMap::new(),
            index: OrdSet::new(),
            places: Places::default(),
        }
    }
}

impl<T: StoreObject + Stored> Table<T> {
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.objects.get(id)
    }

    /// The id, as all that mention it may hold it together.
    pub(crate) fn id(&self, id: &str) -> Option<&Id> {
        self.objects.get_key_value(id).map(|(id, _)| id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values()
    }

    pub(crate) fn objects(&self) -> &OrdMap<Id, Arc<T>> {
        &self.objects
    }

    pub(crate) fn by_id_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<T>> {
        let from = (
            std::ops::Bound::Included(prefix),
            std::ops::Bound::Unbounded,
        );
        let found = self.objects.range::<_, str>(from);
        found
            .take_while(move |(id, _)| id.starts_with(prefix))
            .map(|(_, object)| object)
    }

    /// The objects filed under exactly this key, by id.
    pub(crate) fn by_key<'a>(
        &'a self,
        key: &KeyRef<'_>,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let key = key.to_owned_key();
        self.starting_at(key.clone()..)
            .take_while(move |(at, _)| **at == key)
            .map(|(_, o)| o)
    }

    /// The objects filed from this key on, as long as their key matches.
    pub(crate) fn starting_at_while<'a, F: Fn(&OwnedKey) -> bool>(
        &'a self,
        key: &KeyRef<'_>,
        matches: F,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T, F> {
        let found = self.starting_at(key.to_owned_key()..);
        found
            .take_while(move |(at, _)| matches(at))
            .map(|(_, object)| object)
    }

    fn starting_at(
        &self,
        keys: std::ops::RangeFrom<OwnedKey>,
    ) -> impl Iterator<Item = (&OwnedKey, &Arc<T>)> {
        let range = (keys.start, FIRST.clone())..;
        self.index
            .range(range)
            .filter_map(|(key, id)| Some((key, self.objects.get::<str>(id)?)))
    }

    /// A service's objects, by slot.
    pub(crate) fn by_service<'a>(
        &'a self,
        service: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        self.of(self.places.of_service(service))
    }

    /// A slot's objects, by id.
    pub(crate) fn by_slot<'a>(
        &'a self,
        service: &str,
        slot: u64,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        self.of(self.places.of_slot(service, slot))
    }

    /// A node's objects, by id.
    pub(crate) fn by_node<'a>(
        &'a self,
        node: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        self.of(self.places.of_node(node))
    }

    fn of<'a, I: Iterator<Item = &'a Id>>(
        &'a self,
        ids: I,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T, I> {
        ids.filter_map(|id| self.objects.get::<str>(id))
    }

    /// An object of a service, at this slot or near it.
    pub(crate) fn near_in_service(&self, service: &str, slot: u64) -> Option<&Arc<T>> {
        self.objects.get::<str>(self.places.near(service, slot)?)
    }

    /// Files an object, over an older version of itself.
    pub(crate) fn insert(&mut self, object: Arc<T>) {
        let old = self
            .objects
            .get_key_value(object.id())
            .map(|(id, old)| (id.clone(), old.clone()));
        let id = old
            .as_ref()
            .map_or_else(|| Id::from(object.id()), |(id, _)| id.clone());
        self.reindex(
            &id,
            old.as_ref().map(|(_, old)| old.as_ref()),
            Some(object.as_ref()),
        );
        self.objects.insert(id, object);
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<T>> {
        let (id, old) = self.objects.remove_with_key(id)?;
        self.reindex(&id, Some(old.as_ref()), None);
        Some(old)
    }

    /// Brings the index from the old version's keys to the new version's, touching only those that differ.
    fn reindex(&mut self, id: &Id, old: Option<&T>, new: Option<&T>) {
        self.places
            .moved(id, old.and_then(Stored::place), new.and_then(Stored::place));
        let (before, after) = (keys_of(old), keys_of(new));
        for key in before
            .iter()
            .filter(|key| after.binary_search(key).is_err())
        {
            self.index.remove(&(key.to_owned_key(), id.clone()));
        }
        for key in after
            .iter()
            .filter(|key| before.binary_search(key).is_err())
        {
            let key = self.interned(key.to_owned_key());
            self.index.insert((key, id.clone()));
        }
    }

    /// The same key with its text shared with a neighbour that has the same text.
    fn interned(&self, key: OwnedKey) -> OwnedKey {
        let near = self.index.range((key.clone(), FIRST.clone())..).next();
        match near {
            Some((near, _)) if *near == key => near.clone(),
            _ => key,
        }
    }
}

/// An object's keys, sorted, each once.
fn keys_of<T: Stored>(object: Option<&T>) -> Vec<KeyRef<'_>> {
    let mut keys = Vec::new();
    if let Some(object) = object {
        object.index_keys(&mut keys);
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
