//! What is where: nodes with what is left of them, and the tasks that hold it.
//!
//! Kept up to date by events and by the scheduler's own decisions; applying the same task twice
//! changes nothing, so the event of a decision already counted does no harm.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use skep_objects::swarmkit::{GenericResource, Node, Task, TaskState};

use super::blocked::{Gain, Need};
use super::filter::{Demand, HostPort};
use super::generic::GenericPool;
use super::hash::FastMap;
use crate::clock::Monotonic;

/// Index of a node in the [`Cluster`]: dense, re-used after removal.
pub type NodeIndex = u32;
/// Index of a service in the [`Cluster`].
pub type ServiceIndex = u32;

/// A failure is forgotten after this time.
const FAILURE_MEMORY: std::time::Duration = std::time::Duration::from_secs(5 * 60);
/// A node with so many failures of a service is used last.
const FAULTY: usize = 5;

/// One node and what is left of it.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// The node as stored.
    pub node: Arc<Node>,
    /// CPU not reserved, in 10⁻⁹.
    pub nano_cpus: i64,
    /// Memory not reserved.
    pub memory_bytes: i64,
    /// Generic resources not assigned.
    pub generic: GenericPool,
    /// Host ports taken, with the number of tasks that hold each.
    pub host_ports: BTreeMap<HostPort, u32>,
    /// Tasks there that are wanted.
    pub active_tasks: u32,
}

#[derive(Debug, Default)]
struct ServiceLoad {
    per_node: FastMap<NodeIndex, u32>,
    /// When tasks of a spec version failed on a node.
    failures: HashMap<(u64, NodeIndex), VecDeque<Monotonic>>,
    /// The id of a service that is removed and still has tasks somewhere.
    gone: Option<Box<str>>,
}

/// What one task holds.
#[derive(Debug)]
struct Claim {
    node: NodeIndex,
    service: ServiceIndex,
    demand: Arc<Demand>,
    assigned: Vec<GenericResource>,
    /// What of it the node had to give: only that comes back to it.
    taken: Vec<GenericResource>,
    active: bool,
}

/// All nodes with their load.
#[derive(Debug, Default)]
pub struct Cluster {
    index: HashMap<String, NodeIndex>,
    nodes: Vec<Option<NodeState>>,
    vacant: Vec<NodeIndex>,
    services: HashMap<String, ServiceIndex>,
    loads: Vec<ServiceLoad>,
    vacant_services: Vec<ServiceIndex>,
    claims: FastMap<Box<str>, Claim>,
    /// Nodes that lost a task, in order, since the generation began.
    eased: Vec<NodeIndex>,
    /// What nodes have more of, since it was last asked for.
    gains: Vec<Gain>,
    /// Rises when a node's own object changes in a way that filters can see.
    pub generation: u64,
}

/// Entries of [`Cluster::eased`] after which a new generation begins.
const EASED: usize = 1 << 20;

impl NodeState {
    fn new(node: Arc<Node>) -> Self {
        let resources = node.description.as_ref().and_then(|d| d.resources.as_ref());
        Self {
            nano_cpus: resources.map_or(0, |resources| resources.nano_cpus),
            memory_bytes: resources.map_or(0, |resources| resources.memory_bytes),
            generic: resources.map_or_else(GenericPool::default, |resources| {
                GenericPool::of(&resources.generic)
            }),
            host_ports: BTreeMap::new(),
            active_tasks: 0,
            node,
        }
    }

    /// How full the node is by what tasks reserved: 0 (empty) to 2 000 000 (CPU and memory full).
    #[must_use]
    pub fn fullness(&self) -> u64 {
        let resources = self
            .node
            .description
            .as_ref()
            .and_then(|d| d.resources.as_ref());
        let part = |left: i64, all: i64| match all {
            1.. => {
                u64::try_from((i128::from(all) - i128::from(left)) * 1_000_000 / i128::from(all))
                    .unwrap_or(0)
            }
            _ => 0,
        };
        resources.map_or(0, |all| {
            part(self.nano_cpus, all.nano_cpus) + part(self.memory_bytes, all.memory_bytes)
        })
    }

    /// Takes what a task has; answers what generic resources were there.
    fn take(&mut self, demand: &Demand, assigned: &[GenericResource]) -> Vec<GenericResource> {
        self.nano_cpus -= demand.nano_cpus;
        self.memory_bytes -= demand.memory_bytes;
        for port in &demand.host_ports {
            *self.host_ports.entry(*port).or_default() += 1;
        }
        self.generic.take(assigned)
    }

    /// Takes back what a task had, and hands on what there is more of: how much before, and now.
    fn release(
        &mut self,
        demand: &Demand,
        taken: &[GenericResource],
        mut gained: impl FnMut(Need, i64, i64),
    ) {
        let before = (self.nano_cpus, self.memory_bytes);
        self.nano_cpus += demand.nano_cpus;
        self.memory_bytes += demand.memory_bytes;
        gained(Need::Cpu, before.0, self.nano_cpus);
        gained(Need::Memory, before.1, self.memory_bytes);
        let left = |pool: &GenericPool| -> Vec<i64> {
            let kinds = demand.generic.iter();
            kinds.map(|(kind, _)| pool.left(kind)).collect()
        };
        let before = left(&self.generic);
        self.generic.give_back(taken);
        let now = left(&self.generic);
        for (((kind, _), before), now) in demand.generic.iter().zip(before).zip(now) {
            gained(Need::Generic(kind.clone()), before, now);
        }
        for port in &demand.host_ports {
            if let Some(holders) = self.host_ports.get_mut(port) {
                *holders -= 1;
                if *holders == 0 {
                    self.host_ports.remove(port);
                    gained(Need::Port(*port), 0, 1);
                }
            }
        }
    }
}

impl Cluster {
    /// Adds the node, or takes over its new object.
    pub fn set_node(&mut self, node: Arc<Node>) -> NodeIndex {
        self.begin_generation();
        if let Some(&at) = self.index.get(&node.id) {
            let mut state = NodeState::new(node);
            for claim in self.claims.values_mut().filter(|claim| claim.node == at) {
                claim.taken = state.take(&claim.demand, &claim.assigned);
                state.active_tasks += u32::from(claim.active);
            }
            self.nodes[at as usize] = Some(state);
            return at;
        }
        let id = node.id.clone();
        let state = Some(NodeState::new(node));
        let at = match self.vacant.pop() {
            Some(at) => {
                self.nodes[at as usize] = state;
                at
            }
            None => {
                self.nodes.push(state);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 nodes")
            }
        };
        self.index.insert(id, at);
        at
    }

    /// Takes over a node's new object when nothing changed that resources depend on.
    pub fn refresh_node(&mut self, node: &Arc<Node>) -> bool {
        let Some(state) = self
            .index
            .get(&node.id)
            .and_then(|at| self.nodes[*at as usize].as_mut())
        else {
            return false;
        };
        let resources = |node: &Node| node.description.as_ref().and_then(|d| d.resources.clone());
        if resources(&state.node) != resources(node) {
            return false;
        }
        state.node = Arc::clone(node);
        self.begin_generation();
        true
    }

    /// Forgets a node and what tasks hold there.
    pub fn remove_node(&mut self, id: &str) {
        let Some(at) = self.index.remove(id) else {
            return;
        };
        self.begin_generation();
        self.claims.retain(|_, claim| claim.node != at);
        for load in &mut self.loads {
            load.per_node.remove(&at);
            load.failures.retain(|(_, node), _| *node != at);
        }
        let services = 0..u32::try_from(self.loads.len()).unwrap_or(u32::MAX);
        services.for_each(|service| self.free_service(service));
        self.nodes[at as usize] = None;
        self.vacant.push(at);
    }

    /// The node's index.
    #[must_use]
    pub fn node_index(&self, id: &str) -> Option<NodeIndex> {
        self.index.get(id).copied()
    }

    /// The node at an index.
    #[must_use]
    pub fn node(&self, at: NodeIndex) -> Option<&NodeState> {
        self.nodes.get(at as usize).and_then(Option::as_ref)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &NodeState)> {
        (0..)
            .zip(&self.nodes)
            .filter_map(|(at, state)| Some((at, state.as_ref()?)))
    }

    /// Nodes that lost a task since the generation began; a node may be there many times.
    #[must_use]
    pub fn eased(&self) -> &[NodeIndex] {
        &self.eased
    }

    /// Whether a service has active tasks on a node.
    #[must_use]
    pub fn has_task_of(&self, service: ServiceIndex, node: NodeIndex) -> bool {
        self.loads[service as usize].per_node.contains_key(&node)
    }

    /// Number of nodes that have active tasks of a service.
    #[must_use]
    pub fn node_count_of(&self, service: ServiceIndex) -> usize {
        self.loads[service as usize].per_node.len()
    }

    fn begin_generation(&mut self) {
        self.generation += 1;
        self.eased.clear();
    }

    /// Number of index values in use or vacant.
    #[must_use]
    pub fn node_slots(&self) -> usize {
        self.nodes.len()
    }

    /// The service's index, made when it is new.
    pub fn service_index(&mut self, id: &str) -> ServiceIndex {
        if let Some(&at) = self.services.get(id) {
            return at;
        }
        let at = self.vacant_services.pop().unwrap_or_else(|| {
            self.loads.push(ServiceLoad::default());
            u32::try_from(self.loads.len() - 1).expect("fewer than 2^32 services")
        });
        self.services.insert(id.to_owned(), at);
        at
    }

    /// Forgets a service that is removed: at once, or with the last of its tasks.
    pub fn forget_service(&mut self, id: &str) {
        let Some(&at) = self.services.get(id) else {
            return;
        };
        let load = &mut self.loads[at as usize];
        load.failures.clear();
        load.gone = Some(id.into());
        self.free_service(at);
    }

    /// Forgets all services but these.
    pub fn retain_services(&mut self, is_there: impl Fn(&str) -> bool) {
        let ids = self.services.keys().filter(|id| !is_there(id));
        for id in ids.cloned().collect::<Vec<_>>() {
            self.forget_service(&id);
        }
    }

    /// A service that is gone and has no tasks left needs no place.
    fn free_service(&mut self, at: ServiceIndex) {
        let load = &mut self.loads[at as usize];
        if load.per_node.is_empty()
            && let Some(id) = load.gone.take()
        {
            self.services.remove(&*id);
            self.vacant_services.push(at);
        }
    }

    /// How many services there is a place for.
    #[cfg(test)]
    fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Active tasks of a service on a node.
    #[must_use]
    pub fn tasks_of(&self, service: ServiceIndex, node: NodeIndex) -> u32 {
        self.loads[service as usize]
            .per_node
            .get(&node)
            .copied()
            .unwrap_or(0)
    }

    /// Nodes that have active tasks of a service.
    pub fn nodes_of(&self, service: ServiceIndex) -> impl Iterator<Item = (NodeIndex, u32)> {
        self.loads[service as usize]
            .per_node
            .iter()
            .map(|(node, count)| (*node, *count))
    }

    /// Notes that a task of the service and spec version failed on the node.
    pub fn note_failure(&mut self, service: &str, version: u64, node: &str, now: Monotonic) {
        let Some(node) = self.node_index(node) else {
            return;
        };
        let service = self.service_index(service);
        let failures = &mut self.loads[service as usize].failures;
        let times = failures.entry((version, node)).or_default();
        times.push_back(now);
        while times.len() > 64 || times.front().is_some_and(|at| *at + FAILURE_MEMORY < now) {
            times.pop_front();
        }
    }

    /// Nodes where the service's spec version failed often of late, with how often.
    pub fn faulty_nodes(
        &mut self,
        service: ServiceIndex,
        version: u64,
        now: Monotonic,
    ) -> HashMap<NodeIndex, u32> {
        let failures = &mut self.loads[service as usize].failures;
        if failures.is_empty() {
            return HashMap::new();
        }
        failures.retain(|_, times| {
            while times.front().is_some_and(|at| *at + FAILURE_MEMORY < now) {
                times.pop_front();
            }
            !times.is_empty()
        });
        failures
            .iter()
            .filter(|((of, _), times)| *of == version && times.len() >= FAULTY)
            .map(|((_, node), times)| (*node, u32::try_from(times.len()).unwrap_or(u32::MAX)))
            .collect()
    }

    /// What nodes have more of since this was last asked.
    pub fn take_gains(&mut self) -> Vec<Gain> {
        std::mem::take(&mut self.gains)
    }

    /// Brings the books in line with a stored task.
    pub fn apply_task(&mut self, task: &Task) {
        let state = task.observed_state();
        let holds =
            !task.node_id.is_empty() && state >= TaskState::Assigned && state <= TaskState::Running;
        let Some(node) = self.node_index(&task.node_id).filter(|_| holds) else {
            return self.release(&task.id);
        };
        let active = task.wanted_state() <= TaskState::Complete;
        if let Some(claim) = self.claims.get_mut(task.id.as_str()) {
            if claim.active != active {
                claim.active = active;
                let service = claim.service;
                self.count(service, node, active);
            }
            return;
        }
        let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        let demand = Arc::new(Demand::of(
            task.spec.as_deref().unwrap_or(&Default::default()),
            ports,
        ));
        let service = self.service_index(&task.service_id);
        self.claim(
            &task.id,
            service,
            node,
            demand,
            task.assigned_generic_resources.clone(),
            active,
        );
    }

    /// Forgets a task, and notes what its node gains by that.
    pub fn release(&mut self, task: &str) {
        let Some(claim) = self.claims.remove(task) else {
            return;
        };
        let (node, gains) = (claim.node, &mut self.gains);
        if let Some(state) = self.nodes[node as usize].as_mut() {
            state.release(&claim.demand, &claim.taken, |need, before, now| {
                if before < now {
                    gains.push(Gain {
                        node,
                        need,
                        before,
                        now,
                    });
                }
            });
        }
        if claim.active {
            self.count(claim.service, claim.node, false);
        }
    }

    /// Puts a task on a node and returns the generic resources it got.
    pub fn place(
        &mut self,
        task: &str,
        service: ServiceIndex,
        node: NodeIndex,
        demand: &Arc<Demand>,
    ) -> Vec<GenericResource> {
        let assigned = match self.nodes[node as usize].as_ref() {
            Some(state) if !demand.generic.is_empty() => {
                state.generic.clone().claim(&demand.generic)
            }
            _ => Vec::new(),
        };
        self.claim(
            task,
            service,
            node,
            Arc::clone(demand),
            assigned.clone(),
            true,
        );
        assigned
    }

    fn claim(
        &mut self,
        task: &str,
        service: ServiceIndex,
        node: NodeIndex,
        demand: Arc<Demand>,
        assigned: Vec<GenericResource>,
        active: bool,
    ) {
        let state = self.nodes[node as usize].as_mut();
        let taken = state.map_or_else(Vec::new, |state| state.take(&demand, &assigned));
        if active {
            self.count(service, node, true);
        }
        self.claims.insert(
            task.into(),
            Claim {
                node,
                service,
                demand,
                assigned,
                taken,
                active,
            },
        );
    }

    fn count(&mut self, service: ServiceIndex, node: NodeIndex, more: bool) {
        let mut emptied = false;
        let per_node = &mut self.loads[service as usize].per_node;
        let here = per_node.entry(node).or_default();
        let state = self.nodes[node as usize].as_mut();
        if more {
            *here += 1;
            state.into_iter().for_each(|state| state.active_tasks += 1);
        } else {
            let before = -i64::from(*here);
            self.gains.push(Gain {
                node,
                need: Need::Place(service),
                before,
                now: before + 1,
            });
            *here = here.saturating_sub(1);
            if *here == 0 {
                per_node.remove(&node);
                emptied = per_node.is_empty();
            }
            state.into_iter().for_each(|state| {
                state.active_tasks = state.active_tasks.saturating_sub(1);
            });
            self.eased.push(node);
            if self.eased.len() > EASED {
                self.begin_generation();
            }
        }
        if emptied {
            self.free_service(service);
        }
    }
}

#[cfg(test)]
mod tests;
