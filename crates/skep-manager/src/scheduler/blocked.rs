//! Groups that no node can take, by what they are short of.
//!
//! A task that ends gives back CPU, memory, generic resources and ports on one node, and room for
//! one more of its service. Each gain is the step of one such amount; only the groups whose need
//! lies within the step can fit now where they did not before, so only they are tried again. What a
//! node's own object decides (labels, availability, platform) wakes all: their explanations change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::GroupKey;
use super::filter::{HostPort, Requirements};
use super::nodes::{NodeIndex, ServiceIndex};

/// Something of a node that tasks compete for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// CPU in 10⁻⁹.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Pieces of a kind of generic resource.
    Generic(String),
    /// A port of the node itself.
    Port(HostPort),
    /// Places for tasks of a service under its `max_replicas`: the tasks there, negated.
    Place(ServiceIndex),
}

/// A node has more of something than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gain {
    /// Where.
    pub node: NodeIndex,
    /// Of what.
    pub need: Need,
    /// How much there was.
    pub before: i64,
    /// How much there is.
    pub now: i64,
}

/// The groups that wait for a node to gain something.
#[derive(Debug, Default)]
pub struct Blocked {
    groups: HashMap<GroupKey, Vec<(Need, i64)>>,
    by_need: BTreeMap<Need, BTreeSet<(i64, GroupKey)>>,
}

/// The least that a node must have of each thing, to take a task of these requirements.
#[must_use]
pub fn needs(requirements: &Requirements, service: ServiceIndex) -> Vec<(Need, i64)> {
    let demand = &requirements.demand;
    let mut needs = Vec::new();
    if demand.nano_cpus > 0 {
        needs.push((Need::Cpu, demand.nano_cpus));
    }
    if demand.memory_bytes > 0 {
        needs.push((Need::Memory, demand.memory_bytes));
    }
    let generic = demand.generic.iter();
    needs.extend(generic.map(|(kind, count)| (Need::Generic(kind.clone()), *count)));
    needs.extend(demand.host_ports.iter().map(|port| (Need::Port(*port), 1)));
    if let Ok(most @ 1..) = i64::try_from(requirements.max_replicas) {
        needs.push((Need::Place(service), 1 - most));
    }
    needs
}

impl Blocked {
    /// Whether the group waits here.
    #[must_use]
    pub fn contains(&self, group: &GroupKey) -> bool {
        self.groups.contains_key(group)
    }

    /// Lets a group wait for any of its needs.
    pub fn insert(&mut self, group: GroupKey, needs: Vec<(Need, i64)>) {
        self.remove(&group);
        for (need, amount) in &needs {
            let waiting = self.by_need.entry(need.clone()).or_default();
            waiting.insert((*amount, group.clone()));
        }
        self.groups.insert(group, needs);
    }

    /// Takes a group out.
    pub fn remove(&mut self, group: &GroupKey) {
        for (need, amount) in self.groups.remove(group).unwrap_or_default() {
            if let Some(waiting) = self.by_need.get_mut(&need) {
                waiting.remove(&(amount, group.clone()));
                if waiting.is_empty() {
                    self.by_need.remove(&need);
                }
            }
        }
    }

    /// Takes out the groups that a gain may help.
    pub fn wake(&mut self, gain: &Gain) -> Vec<GroupKey> {
        let Some(waiting) = self.by_need.get(&gain.need) else {
            return Vec::new();
        };
        let from = (gain.before.saturating_add(1), GroupKey::default());
        let woken: Vec<GroupKey> = waiting
            .range(from..)
            .take_while(|(amount, _)| *amount <= gain.now)
            .map(|(_, group)| group.clone())
            .collect();
        for group in &woken {
            self.remove(group);
        }
        woken
    }

    /// Takes out all of them.
    pub fn wake_all(&mut self) -> impl Iterator<Item = GroupKey> + use<> {
        self.by_need.clear();
        std::mem::take(&mut self.groups).into_keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> GroupKey {
        (name.into(), 1)
    }

    fn gain(need: Need, before: i64, now: i64) -> Gain {
        Gain {
            node: 0,
            need,
            before,
            now,
        }
    }

    #[test]
    fn a_gain_wakes_those_whose_need_it_meets_and_no_others() {
        let mut blocked = Blocked::default();
        blocked.insert(group("small"), vec![(Need::Cpu, 10), (Need::Memory, 5)]);
        blocked.insert(group("middle"), vec![(Need::Cpu, 20)]);
        blocked.insert(group("large"), vec![(Need::Cpu, 30)]);
        blocked.insert(group("port"), vec![(Need::Port((0, 80)), 1)]);
        // There were 10 before: "small" was not short of CPU there.
        assert_eq!(blocked.wake(&gain(Need::Cpu, 10, 25)), [group("middle")]);
        assert!(!blocked.contains(&group("middle")));
        assert_eq!(blocked.wake(&gain(Need::Memory, 0, 5)), [group("small")]);
        assert_eq!(blocked.wake(&gain(Need::Cpu, 0, 25)), []);
        assert_eq!(
            blocked.wake(&gain(Need::Port((0, 80)), 0, 1)),
            [group("port")]
        );
        assert_eq!(blocked.wake_all().collect::<Vec<_>>(), [group("large")]);
        assert!(blocked.by_need.is_empty());
    }

    #[test]
    fn a_place_is_free_once_there_are_fewer_than_the_most() {
        let requirements = Requirements {
            max_replicas: 2,
            ..Default::default()
        };
        let mut blocked = Blocked::default();
        blocked.insert(group("web"), needs(&requirements, 7));
        assert_eq!(blocked.wake(&gain(Need::Place(7), -3, -2)), []);
        assert_eq!(blocked.wake(&gain(Need::Place(7), -2, -1)), [group("web")]);
    }
}
