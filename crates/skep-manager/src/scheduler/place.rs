//! Placing a group: tasks of one service and spec version, which all ask for the same.
//!
//! The eligible nodes stand in a heap (spread, binpack) or a bag (random); each task takes the
//! best and puts it back with its new weight, so a task costs the logarithm of the nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::constraint::spread_value;
use super::filter::{Demand, Refusals, Requirements};
use super::nodes::{Cluster, NodeIndex, ServiceIndex};
use super::strategy::Strategy;
use crate::clock::Monotonic;

/// What the tasks of a group have in common.
#[derive(Debug, Clone)]
pub struct Group {
    /// The service.
    pub service: ServiceIndex,
    /// Its spec version, for which failures are counted.
    pub spec_version: u64,
    /// What each task asks for.
    pub requirements: Requirements,
    /// Its demand again, shared by the tasks' claims.
    pub demand: Arc<Demand>,
    /// Spread descriptors, outermost first.
    pub preferences: Vec<String>,
    /// How nodes are chosen.
    pub strategy: Strategy,
}

/// Lower is better: (failures, tasks of the service or room left, tasks or their complement).
type Weight = (u32, u64, u64);

/// Nodes to choose from, best first.
#[derive(Debug)]
enum Pick {
    Heap(BinaryHeap<Reverse<(Weight, NodeIndex)>>),
    Bag(Vec<NodeIndex>),
    /// Branches by number of the service's tasks in them; preferences make the levels.
    Tree(BinaryHeap<Reverse<(u64, usize)>>, Vec<Pick>),
}

/// One group being placed.
#[derive(Debug)]
pub struct Placement<'a> {
    cluster: &'a mut Cluster,
    group: &'a Group,
    faulty: HashMap<NodeIndex, u32>,
    pick: Pick,
}

impl<'a> Placement<'a> {
    /// Sorts the nodes, of which `eligible` pass what only their objects decide.
    pub fn new(
        cluster: &'a mut Cluster,
        group: &'a Group,
        eligible: &[NodeIndex],
        now: Monotonic,
    ) -> Self {
        let faulty = cluster.faulty_nodes(group.service, group.spec_version, now);
        let here: HashMap<_, _> = cluster.nodes_of(group.service).collect();
        let nodes: Vec<_> = eligible
            .iter()
            .copied()
            .filter(|at| {
                let here = here.get(at).copied().unwrap_or(0);
                cluster.node(*at).is_some_and(|state| {
                    group.requirements.refusal_by_others(state, here).is_none()
                })
            })
            .collect();
        let pick = match group.strategy {
            Strategy::Random => Pick::Bag(nodes),
            Strategy::Spread => {
                let view = Sorter {
                    cluster,
                    group,
                    here: &here,
                    faulty: &faulty,
                };
                view.tree(&nodes, &group.preferences)
            }
            Strategy::Binpack => {
                let view = Sorter {
                    cluster,
                    group,
                    here: &here,
                    faulty: &faulty,
                };
                view.heap(&nodes)
            }
        };
        Self {
            cluster,
            group,
            faulty,
            pick,
        }
    }

    /// Places one task; `None` when no node can take it.
    pub fn place(
        &mut self,
        task: &str,
        rng: &mut StdRng,
    ) -> Option<(NodeIndex, Vec<skep_objects::swarmkit::GenericResource>)> {
        let Self {
            cluster,
            group,
            faulty,
            pick,
        } = self;
        let mut placed = None;
        pick.next(rng, &mut |node| {
            let generic = cluster.place(task, group.service, node, &group.demand);
            placed = Some((node, generic));
            let here = cluster.tasks_of(group.service, node);
            let state = cluster.node(node)?;
            if group.requirements.refusal_by_others(state, here).is_some() {
                return None;
            }
            let faulty = faulty.get(&node).copied().unwrap_or(0);
            Some(weigh(cluster, group, node, here, faulty))
        });
        placed
    }

    /// Why nodes refuse a further task of this group.
    pub fn refusals(&self) -> Refusals {
        let mut refusals = Refusals::default();
        for (at, state) in self.cluster.nodes() {
            let here = self.cluster.tasks_of(self.group.service, at);
            if let Some(refusal) = self.group.requirements.refusal(state, here) {
                refusals.add(refusal);
            }
        }
        refusals
    }
}

fn weigh(cluster: &Cluster, group: &Group, node: NodeIndex, here: u32, faulty: u32) -> Weight {
    let state = cluster.node(node);
    let tasks = u64::from(state.map_or(0, |state| state.active_tasks));
    match group.strategy {
        Strategy::Spread | Strategy::Random => (faulty, u64::from(here), tasks),
        Strategy::Binpack => (
            faulty,
            u64::MAX - state.map_or(0, super::nodes::NodeState::fullness),
            u64::MAX - tasks,
        ),
    }
}

struct Sorter<'a> {
    cluster: &'a Cluster,
    group: &'a Group,
    here: &'a HashMap<NodeIndex, u32>,
    faulty: &'a HashMap<NodeIndex, u32>,
}

impl Sorter<'_> {
    fn heap(&self, nodes: &[NodeIndex]) -> Pick {
        let weighed = nodes.iter().map(|at| {
            let here = self.here.get(at).copied().unwrap_or(0);
            let faulty = self.faulty.get(at).copied().unwrap_or(0);
            Reverse((weigh(self.cluster, self.group, *at, here, faulty), *at))
        });
        Pick::Heap(weighed.collect::<Vec<_>>().into())
    }

    fn tree(&self, nodes: &[NodeIndex], preferences: &[String]) -> Pick {
        let here: Vec<_> = self.here.iter().map(|(at, count)| (*at, *count)).collect();
        self.branch(nodes, &here, preferences)
    }

    /// A level of the tree over `nodes`; `here` are the service's tasks in this branch, on nodes
    /// that cannot take more too: the branch already has them.
    fn branch(
        &self,
        nodes: &[NodeIndex],
        here: &[(NodeIndex, u32)],
        preferences: &[String],
    ) -> Pick {
        let Some((descriptor, deeper)) = preferences.split_first() else {
            return self.heap(nodes);
        };
        let value_of = |at: &NodeIndex| {
            self.cluster
                .node(*at)
                .and_then(|state| spread_value(descriptor, &state.node))
        };
        let mut parts: BTreeMap<&str, (Vec<NodeIndex>, Vec<(NodeIndex, u32)>)> = BTreeMap::new();
        for at in nodes {
            match value_of(at) {
                Some(value) => parts.entry(value).or_default().0.push(*at),
                // Not a label: the preference is ignored.
                None => return self.branch(nodes, here, deeper),
            }
        }
        for (at, count) in here {
            if let Some((_, tasks)) = value_of(at).and_then(|value| parts.get_mut(value)) {
                tasks.push((*at, *count));
            }
        }
        let total =
            |tasks: &[(NodeIndex, u32)]| tasks.iter().map(|(_, count)| u64::from(*count)).sum();
        let order = parts
            .values()
            .enumerate()
            .map(|(at, (_, tasks))| Reverse((total(tasks), at)))
            .collect();
        let branches = parts
            .values()
            .map(|(nodes, tasks)| self.branch(nodes, tasks, deeper))
            .collect();
        Pick::Tree(order, branches)
    }
}

impl Pick {
    /// Hands the best node to `use_node`, which says what it weighs now, or that it is full.
    /// False when there is no node left.
    fn next(
        &mut self,
        rng: &mut StdRng,
        use_node: &mut dyn FnMut(NodeIndex) -> Option<Weight>,
    ) -> bool {
        match self {
            Self::Heap(heap) => {
                let Some(mut best) = heap.peek_mut() else {
                    return false;
                };
                let node = best.0.1;
                match use_node(node) {
                    Some(weight) => best.0.0 = weight,
                    None => drop(std::collections::binary_heap::PeekMut::pop(best)),
                }
                true
            }
            Self::Bag(nodes) => {
                if nodes.is_empty() {
                    return false;
                }
                let at = rng.random_range(0..nodes.len());
                if use_node(nodes[at]).is_none() {
                    nodes.swap_remove(at);
                }
                true
            }
            Self::Tree(order, branches) => {
                while let Some(mut best) = order.peek_mut() {
                    if branches[best.0.1].next(rng, use_node) {
                        best.0.0 += 1;
                        return true;
                    }
                    std::collections::binary_heap::PeekMut::pop(best);
                }
                false
            }
        }
    }
}
