//! Placing a group: tasks of one service and spec version, which all ask for the same.
//!
//! The eligible nodes stand in a heap (spread, binpack) or a bag (random); each task takes the
//! best and puts it back with its new weight, so a task costs the logarithm of the nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use skep_objects::swarmkit::GenericResource;

use super::constraint::spread_value;
use super::eligible::Eligible;
use super::filter::{Demand, Refusals, Requirements};
use super::hash::FastMap;
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

/// Nodes of a branch, and those with tasks of the service, with how many.
type Branch = (Vec<NodeIndex>, Vec<(NodeIndex, u32)>);

/// One group being placed.
#[derive(Debug)]
pub struct Placement<'a> {
    cluster: &'a mut Cluster,
    group: &'a Group,
    faulty: HashMap<NodeIndex, u32>,
    eligible: &'a mut Eligible,
    /// Nodes taken out of `eligible` that cannot be the first choice, while there are others.
    passed_over: Vec<NodeIndex>,
    /// All nodes sorted for this group; not made while `eligible` will do.
    pick: Option<Pick>,
}

/// A node with the generic resources that a task got there.
pub type Placed = (NodeIndex, Vec<GenericResource>);

impl<'a> Placement<'a> {
    /// Prepares for so many tasks.
    pub fn new(
        cluster: &'a mut Cluster,
        group: &'a Group,
        eligible: &'a mut Eligible,
        tasks: usize,
        now: Monotonic,
    ) -> Self {
        let faulty = cluster.faulty_nodes(group.service, group.spec_version, now);
        // A few tasks go to the lightest nodes that have none of the service. When there are many
        // tasks, or many such nodes, it is cheaper to sort all of them for this group.
        let few = tasks + cluster.node_count_of(group.service) < eligible.nodes().len() / 8;
        let plain = group.strategy == Strategy::Spread && group.preferences.is_empty();
        let mut placement = Self {
            cluster,
            group,
            faulty,
            eligible,
            passed_over: Vec::new(),
            pick: None,
        };
        if !(few && plain && placement.faulty.is_empty()) {
            placement.sort_all();
        }
        placement
    }

    /// Places one task; `None` when no node can take it.
    pub fn place(&mut self, task: &str, rng: &mut StdRng) -> Option<Placed> {
        if self.pick.is_none() {
            if let Some(node) = self.lightest() {
                let generic =
                    self.cluster
                        .place(task, self.group.service, node, &self.group.demand);
                self.passed_over.push(node);
                return Some((node, generic));
            }
            self.sort_all();
        }
        let Self {
            cluster,
            group,
            faulty,
            pick,
            ..
        } = self;
        let mut placed = None;
        pick.as_mut()?.next(rng, &mut |node| {
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

    /// The lightest node without a task of the service, if one has room.
    fn lightest(&mut self) -> Option<NodeIndex> {
        while let Some(node) = self.eligible.pop(self.cluster) {
            let state = self.cluster.node(node)?;
            if !self.cluster.has_task_of(self.group.service, node)
                && self
                    .group
                    .requirements
                    .refusal_by_others(state, 0)
                    .is_none()
            {
                return Some(node);
            }
            self.passed_over.push(node);
        }
        None
    }

    fn put_back(&mut self) {
        for node in self.passed_over.drain(..) {
            self.eligible.enter(node, self.cluster);
        }
    }

    fn sort_all(&mut self) {
        self.put_back();
        let Self {
            cluster,
            group,
            faulty,
            eligible,
            ..
        } = self;
        let here: FastMap<_, _> = cluster.nodes_of(group.service).collect();
        let nodes: Vec<_> = eligible
            .nodes()
            .iter()
            .copied()
            .filter(|at| {
                let here = here.get(at).copied().unwrap_or(0);
                cluster.node(*at).is_some_and(|state| {
                    group.requirements.refusal_by_others(state, here).is_none()
                })
            })
            .collect();
        let sorter = Sorter {
            cluster,
            group,
            here: &here,
            faulty,
        };
        self.pick = Some(match group.strategy {
            Strategy::Random => Pick::Bag(nodes),
            Strategy::Spread => sorter.tree(&nodes, &group.preferences),
            Strategy::Binpack => sorter.heap(&nodes),
        });
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

impl Drop for Placement<'_> {
    fn drop(&mut self) {
        self.put_back();
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
    here: &'a FastMap<NodeIndex, u32>,
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
        let mut parts: BTreeMap<&str, Branch> = BTreeMap::new();
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
