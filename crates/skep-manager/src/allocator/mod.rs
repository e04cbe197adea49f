//! The allocator: gives networks their subnets and VNIs, services their virtual addresses and
//! published ports, tasks and nodes their addresses.
//!
//! What is taken is read off the stored objects when a leader starts: what exists keeps its
//! addresses, and only then is anything new given out.

pub mod cidr;
mod networks;
mod nodes;
mod pools;
pub mod ports;
mod services;
mod starved;
mod subnet;
mod tasks;
mod vni;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use skep_objects::swarmkit::{Network, NetworkAttachmentConfig, ServiceSpec, TaskSpec, TaskState};
use skep_store::{Event, Object, TxError, View};

use self::networks::Networks;
use self::pools::Pools;
use self::ports::PortTable;
use self::starved::Starved;
use crate::aside;
use crate::clock::Now;
use crate::pass::{Pass, Stage};

pub use self::networks::{NetworkError, is_overlay, local_v6};

/// An address on a network.
type Held = (String, String);

/// The allocator's stage.
#[derive(Debug)]
pub struct Allocator {
    networks: Networks,
    ports: PortTable,
    /// Addresses of services and nodes, so that each is given back once.
    services: HashMap<String, Vec<Held>>,
    /// Tasks whose addresses, which are in their attachments, are to be given back.
    tasks: HashSet<Box<str>>,
    nodes: HashMap<String, Vec<Held>>,
    pending: Pending,
    /// What could not be allocated; tried again when something is given back.
    blocked: Pending,
    /// Tasks that only an address of a network helps: each address given back is for one of them.
    starved: Starved,
}

/// Ids of objects to look at.
#[derive(Debug, Default)]
struct Pending {
    networks: BTreeSet<String>,
    services: BTreeSet<String>,
    tasks: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

impl Default for Allocator {
    fn default() -> Self {
        Self {
            networks: Networks::new(Pools::new(&[], 0)),
            ports: PortTable::default(),
            services: HashMap::new(),
            tasks: HashSet::new(),
            nodes: HashMap::new(),
            pending: Pending::default(),
            blocked: Pending::default(),
            starved: Starved::default(),
        }
    }
}

impl Allocator {
    fn is_blocked_task(&self, task: &str) -> bool {
        self.blocked.tasks.contains(task) || self.starved.contains(task)
    }

    fn release_address(&mut self, network: &str, address: &str) {
        self.networks.release_address(network, address);
        self.pending.tasks.extend(self.starved.feed(network));
    }

    fn retry_blocked(&mut self) {
        let Pending {
            networks,
            services,
            tasks,
            nodes,
        } = std::mem::take(&mut self.blocked);
        self.pending.networks.extend(networks);
        self.pending.services.extend(services);
        self.pending.tasks.extend(tasks);
        self.pending.nodes.extend(nodes);
    }

    fn release(&mut self, held: Option<Vec<Held>>) {
        let Some(held) = held.filter(|held| !held.is_empty()) else {
            return;
        };
        for (network, address) in held {
            self.release_address(&network, &address);
        }
        self.retry_blocked();
    }

    fn plan_network(&mut self, id: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let Some(network) = pass.tx.network(id) else {
            return Ok(());
        };
        if networks::is_allocated(network) {
            self.networks.restore(network);
            return Ok(());
        }
        let mut network = Network::clone(network);
        match self.networks.allocate(&mut network) {
            Ok(()) => {
                let network = pass.tx.update_network(network)?;
                if network.spec.as_ref().is_some_and(|spec| spec.ingress) {
                    let nodes = pass.tx.nodes().map(|node| node.id.clone());
                    self.pending.nodes.extend(nodes);
                }
                self.pending.tasks.extend(self.starved.feed_all(id));
                self.retry_blocked();
            }
            Err(error) => {
                tracing::warn!(network.id = id, %error, "network cannot be allocated");
                self.blocked.networks.insert(id.to_owned());
            }
        }
        Ok(())
    }

    fn observe_network(&mut self, id: &str, view: &View) {
        if view.network(id).is_some() {
            self.pending.networks.insert(id.to_owned());
        } else {
            self.networks.release(id);
            self.pending.tasks.extend(self.starved.feed_all(id));
            self.retry_blocked();
        }
    }

    fn configure(&mut self, view: &View) {
        if let Some(cluster) = view.the_cluster() {
            self.networks
                .configure(&cluster.default_address_pool, cluster.subnet_size);
        }
    }
}

/// The attachments that a task of this spec gets; the service's own list is the old place for them.
fn attachment_configs<'a>(
    task: Option<&'a TaskSpec>,
    service: Option<&'a ServiceSpec>,
) -> &'a [NetworkAttachmentConfig] {
    let of_task = task
        .map(|task| task.networks.as_slice())
        .unwrap_or_default();
    #[allow(deprecated)]
    let of_service = service
        .map(|service| service.networks.as_slice())
        .unwrap_or_default();
    if of_task.is_empty() {
        of_service
    } else {
        of_task
    }
}

/// The network of the routing mesh.
#[must_use]
pub fn ingress_network(view: &View) -> Option<&Arc<Network>> {
    view.networks().find(|network| {
        network.spec.as_ref().is_some_and(|spec| {
            spec.ingress
                || spec
                    .annotations
                    .as_ref()
                    .is_some_and(|a| a.labels.contains_key("com.docker.swarm.internal"))
        })
    })
}

impl Stage for Allocator {
    fn name(&self) -> &'static str {
        "allocator"
    }

    fn load(&mut self, view: &View, _now: Now) {
        *self = Self::default();
        self.configure(view);
        for network in view.networks() {
            if networks::is_allocated(network) {
                self.networks.restore(network);
            } else {
                self.pending.networks.insert(network.id.clone());
            }
        }
        for service in view.services() {
            self.restore_service(service);
            self.pending.services.insert(service.id.clone());
        }
        for task in view.tasks() {
            self.restore_task(task);
            if task.observed_state() == TaskState::New {
                self.pending.tasks.insert(task.id.clone());
            }
        }
        for node in view.nodes() {
            self.restore_node(node);
            self.pending.nodes.insert(node.id.clone());
        }
    }

    fn observe(&mut self, event: &Event, view: &View, _now: Now) {
        match event.object() {
            Some(Object::Network(network)) => self.observe_network(&network.id, view),
            Some(Object::Service(service)) => self.observe_service(&service.id, view),
            Some(Object::Task(task)) => self.observe_task(task, view),
            Some(Object::Node(node)) => self.observe_node(event, &node.id, view),
            Some(Object::Cluster(_)) => self.configure(view),
            _ => {}
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        // The routing mesh's network is the first in every swarm.
        let ingress = ingress_network(pass.tx).map(|ingress| ingress.id.clone());
        if let Some(id) = ingress.and_then(|id| self.pending.networks.take(&id)) {
            self.plan_network(&id, pass)?;
        }
        // In this order: each needs what the one before was given.
        while !pass.is_full() {
            if let Some(id) = self.pending.networks.pop_first() {
                if !pass.is_aside(&id) {
                    self.plan_network(&id, pass)?;
                }
            } else if let Some(id) = self.pending.services.pop_first() {
                if !pass.is_aside(&id) {
                    self.plan_service(&id, pass)?;
                }
            } else if let Some(id) = self.pending.tasks.pop_first() {
                let task = pass.tx.task(&id);
                let owner = task.map_or(&*id, |task| aside::owner(task));
                if !pass.is_aside(owner) {
                    self.plan_task(&id, pass)?;
                }
            } else if let Some(id) = self.pending.nodes.pop_first() {
                if !pass.is_aside(&id) {
                    self.plan_node(&id, pass)?;
                }
            } else {
                break;
            }
        }
        Ok(())
    }
}
