//! Generic resources: `gpu=UUID1` (named) and `ssd=3` (discrete) on nodes, counts in reservations.

use std::collections::BTreeMap;

use skep_objects::swarmkit::{
    DiscreteGenericResource, GenericResource, NamedGenericResource, generic_resource::Resource,
};

/// What a node has left of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenericPool {
    named: BTreeMap<String, Vec<String>>,
    discrete: BTreeMap<String, i64>,
}

/// The counts a reservation asks for, by kind.
#[must_use]
pub fn wanted(reservations: &[GenericResource]) -> Vec<(String, i64)> {
    reservations
        .iter()
        .filter_map(|resource| match resource.resource.as_ref()? {
            Resource::DiscreteResourceSpec(discrete) => {
                Some((discrete.kind.clone(), discrete.value))
            }
            // A reservation never names; one that does counts as one of its kind.
            Resource::NamedResourceSpec(named) => Some((named.kind.clone(), 1)),
        })
        .collect()
}

impl GenericPool {
    /// Everything the node's description lists.
    #[must_use]
    pub fn of(resources: &[GenericResource]) -> Self {
        let mut pool = Self::default();
        pool.give_back(resources);
        pool
    }

    /// Whether all of `wanted` is there.
    #[must_use]
    pub fn covers(&self, wanted: &[(String, i64)]) -> bool {
        wanted.iter().all(|(kind, count)| self.left(kind) >= *count)
    }

    /// How many of a kind are there.
    pub(super) fn left(&self, kind: &str) -> i64 {
        match self.named.get(kind) {
            Some(names) => i64::try_from(names.len()).unwrap_or(i64::MAX),
            None => self.discrete.get(kind).copied().unwrap_or(0),
        }
    }

    /// Takes `wanted` and says what was taken: names where the kind is named, else counts.
    pub fn claim(&mut self, wanted: &[(String, i64)]) -> Vec<GenericResource> {
        let mut claimed = Vec::new();
        for (kind, count) in wanted {
            if let Some(names) = self.named.get_mut(kind) {
                let count = usize::try_from(*count).unwrap_or(0).min(names.len());
                claimed.extend(names.drain(..count).map(|value| {
                    let named = NamedGenericResource {
                        kind: kind.clone(),
                        value,
                    };
                    GenericResource {
                        resource: Some(Resource::NamedResourceSpec(named)),
                    }
                }));
            } else if let Some(left) = self.discrete.get_mut(kind) {
                *left -= count;
                let discrete = DiscreteGenericResource {
                    kind: kind.clone(),
                    value: *count,
                };
                claimed.push(GenericResource {
                    resource: Some(Resource::DiscreteResourceSpec(discrete)),
                });
            }
        }
        claimed
    }

    /// Removes what a stored task already has, and says what of it was there: a node may have lost a
    /// named one meanwhile, which must not come back to it with the task's end.
    pub fn take(&mut self, assigned: &[GenericResource]) -> Vec<GenericResource> {
        let all = assigned.iter();
        all.filter(|resource| self.take_one(resource))
            .cloned()
            .collect()
    }

    fn take_one(&mut self, resource: &GenericResource) -> bool {
        match resource.resource.as_ref() {
            Some(Resource::NamedResourceSpec(named)) => {
                let names = self.named.get_mut(&named.kind);
                let place = names.and_then(|names| {
                    let at = names.iter().position(|name| *name == named.value)?;
                    Some(names.remove(at))
                });
                place.is_some()
            }
            Some(Resource::DiscreteResourceSpec(discrete)) => {
                *self.discrete.entry(discrete.kind.clone()).or_default() -= discrete.value;
                true
            }
            None => false,
        }
    }

    /// Whether more of a kind is taken than there is.
    #[must_use]
    pub fn is_overdrawn(&self) -> bool {
        self.discrete.values().any(|left| *left < 0)
    }

    /// Returns what a finished task had.
    pub fn give_back(&mut self, resources: &[GenericResource]) {
        for resource in resources {
            match resource.resource.as_ref() {
                Some(Resource::NamedResourceSpec(named)) => {
                    self.named
                        .entry(named.kind.clone())
                        .or_default()
                        .push(named.value.clone());
                }
                Some(Resource::DiscreteResourceSpec(discrete)) => {
                    *self.discrete.entry(discrete.kind.clone()).or_default() += discrete.value;
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: &str, value: &str) -> GenericResource {
        let named = NamedGenericResource {
            kind: kind.into(),
            value: value.into(),
        };
        GenericResource {
            resource: Some(Resource::NamedResourceSpec(named)),
        }
    }

    fn discrete(kind: &str, value: i64) -> GenericResource {
        let discrete = DiscreteGenericResource {
            kind: kind.into(),
            value,
        };
        GenericResource {
            resource: Some(Resource::DiscreteResourceSpec(discrete)),
        }
    }

    #[test]
    fn claims_name_the_named_and_count_the_discrete() {
        let mut pool = GenericPool::of(&[named("gpu", "a"), named("gpu", "b"), discrete("ssd", 3)]);
        let wants = wanted(&[discrete("gpu", 1), discrete("ssd", 2)]);
        assert!(pool.covers(&wants));
        let claimed = pool.claim(&wants);
        assert_eq!(claimed, [named("gpu", "a"), discrete("ssd", 2)]);
        assert!(!pool.covers(&wants));
        pool.give_back(&claimed);
        assert!(pool.covers(&wants));
    }

    #[test]
    fn what_is_gone_is_not_taken() {
        let mut pool = GenericPool::of(&[named("gpu", "a"), discrete("ssd", 1)]);
        assert_eq!(pool.take(&[named("gpu", "a")]), [named("gpu", "a")]);
        assert_eq!(pool.take(&[named("gpu", "a"), named("fpga", "x")]), []);
        assert_eq!(pool.take(&[discrete("ssd", 2)]), [discrete("ssd", 2)]);
        assert!(
            !pool.covers(&[("ssd".to_owned(), 0)]),
            "it has less than nothing"
        );
    }

    #[test]
    fn a_kind_that_is_counted_now_has_no_names_left() {
        let mut pool = GenericPool::of(&[discrete("gpu", 2)]);
        assert_eq!(pool.take(&[named("gpu", "a")]), []);
        assert_eq!(pool.left("gpu"), 2);
    }
}
