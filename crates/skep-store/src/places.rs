//! Where tasks stand: by service and slot, and by node.
//!
//! Not in the common index: with a key each, a hundred thousand tasks would hold their services' and
//! nodes' ids over and over. Here a service's tasks are one set, and so are a node's.

use std::sync::LazyLock;

use imbl::{OrdMap, OrdSet};

use crate::object::Id;

/// Sorts before every id.
pub(crate) static FIRST: LazyLock<Id> = LazyLock::new(Id::default);

/// Where one task stands; an empty service or node is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub(crate) service: &'a Id,
    pub(crate) slot: u64,
    pub(crate) node: &'a Id,
}

/// All places of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    by_service: OrdMap<Id, OrdSet<(u64, Id)>>,
    by_node: OrdMap<Id, OrdSet<Id>>,
}

impl Places {
    /// An object stood in one place and stands in another now.
    pub(crate) fn moved(&mut self, id: &Id, was: Option<Place<'_>>, is: Option<Place<'_>>) {
        if was == is {
            return;
        }
        let slot = |place: Place<'_>| (place.slot, id.clone());
        if let Some(was) = was {
            take_out(&mut self.by_service, was.service, &slot(was));
            take_out(&mut self.by_node, was.node, id);
        }
        if let Some(is) = is {
            put_in(&mut self.by_service, is.service, slot(is));
            put_in(&mut self.by_node, is.node, id.clone());
        }
    }

    /// Ids of a service's tasks, by slot.
    pub(crate) fn of_service(&self, service: &str) -> impl Iterator<Item = &Id> + use<'_> {
        let set = self.by_service.get(service);
        set.into_iter().flatten().map(|(_, id)| id)
    }

    /// Ids of the tasks in a slot.
    pub(crate) fn of_slot(&self, service: &str, slot: u64) -> impl Iterator<Item = &Id> + use<'_> {
        let set = self.by_service.get(service).into_iter();
        set.flat_map(move |set| set.range((slot, FIRST.clone())..))
            .take_while(move |(at, _)| *at == slot)
            .map(|(_, id)| id)
    }

    /// Ids of a node's tasks.
    pub(crate) fn of_node(&self, node: &str) -> impl Iterator<Item = &Id> + use<'_> {
        self.by_node.get(node).into_iter().flatten()
    }

    /// Id of a task of a service, at this slot or near it.
    pub(crate) fn near(&self, service: &str, slot: u64) -> Option<&Id> {
        let set = self.by_service.get(service)?;
        let probe = (slot, FIRST.clone());
        let near = set.get_prev(&probe).or_else(|| set.get_next(&probe));
        near.map(|(_, id)| id)
    }
}

fn put_in<T: Ord + Clone>(sets: &mut OrdMap<Id, OrdSet<T>>, of: &Id, entry: T) {
    if of.is_empty() {
        return;
    }
    match sets.get_mut(of.as_str()) {
        Some(set) => drop(set.insert(entry)),
        None => drop(sets.insert(of.clone(), OrdSet::unit(entry))),
    }
}

fn take_out<T: Ord + Clone>(sets: &mut OrdMap<Id, OrdSet<T>>, of: &str, entry: &T) {
    let Some(set) = sets.get_mut(of) else { return };
    set.remove(entry);
    if set.is_empty() {
        sets.remove(of);
    }
}
