//! Which nodes a kind of task may go to, lightest first, remembered between decisions.
//!
//! The heap's weights may be out of date, but only too light: a node that got heavier is put back
//! with its true weight when it comes up, and one that got lighter is entered anew, from the list
//! that [`Cluster::eased`] keeps. So a decision costs the logarithm of the nodes, not their number.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::filter::Kind;
use super::nodes::{Cluster, NodeIndex};

/// Kinds of task that are remembered.
const REMEMBERED: usize = 1024;

/// The nodes for each kind of task.
#[derive(Debug, Default)]
pub struct Eligibility {
    kinds: HashMap<Kind, Eligible>,
    generation: u64,
}

/// The nodes for one kind of task.
#[derive(Debug, Default)]
pub struct Eligible {
    nodes: Vec<NodeIndex>,
    heap: BinaryHeap<Reverse<(u32, NodeIndex)>>,
    /// The weight under which each node is in the heap; other entries of it are leftovers.
    entered: Vec<Option<u32>>,
    /// How much of [`Cluster::eased`] has been read.
    read: usize,
}

impl Eligibility {
    /// The nodes for a kind of task, as the cluster is now.
    pub fn of(&mut self, kind: &Kind, cluster: &Cluster) -> &mut Eligible {
        if self.generation != cluster.generation
            || (self.kinds.len() >= REMEMBERED && !self.kinds.contains_key(kind))
        {
            self.kinds.clear();
            self.generation = cluster.generation;
        }
        self.kinds
            .entry(kind.clone())
            .or_insert_with(|| Eligible::new(kind, cluster))
    }
}

impl Eligible {
    fn new(kind: &Kind, cluster: &Cluster) -> Self {
        let accepting = cluster
            .nodes()
            .filter(|(_, state)| kind.accepts(&state.node));
        let nodes: Vec<NodeIndex> = accepting.map(|(at, _)| at).collect();
        let mut eligible = Self {
            entered: vec![None; cluster.node_slots()],
            read: cluster.eased().len(),
            ..Self::default()
        };
        for at in &nodes {
            eligible.enter(*at, cluster);
        }
        eligible.nodes = nodes;
        eligible
    }

    /// All of them, in no order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeIndex] {
        &self.nodes
    }

    /// Takes the lightest node out.
    pub fn pop(&mut self, cluster: &Cluster) -> Option<NodeIndex> {
        self.catch_up(cluster);
        while let Some(Reverse((weight, at))) = self.heap.pop() {
            if self.entered[at as usize] != Some(weight) {
                continue;
            }
            let actual = cluster.node(at).map_or(0, |state| state.active_tasks);
            if actual > weight {
                self.enter(at, cluster);
                continue;
            }
            self.entered[at as usize] = None;
            return Some(at);
        }
        None
    }

    /// Puts a node back.
    pub fn enter(&mut self, at: NodeIndex, cluster: &Cluster) {
        let weight = cluster.node(at).map_or(0, |state| state.active_tasks);
        self.entered[at as usize] = Some(weight);
        self.heap.push(Reverse((weight, at)));
    }

    fn catch_up(&mut self, cluster: &Cluster) {
        let eased = cluster.eased();
        while self.read < eased.len() {
            let at = eased[self.read];
            self.read += 1;
            let weight = cluster.node(at).map_or(0, |state| state.active_tasks);
            if self.entered[at as usize].is_some_and(|entered| entered > weight) {
                self.enter(at, cluster);
            }
        }
    }
}
