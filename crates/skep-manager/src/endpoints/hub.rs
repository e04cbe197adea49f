//! Who follows which network, what each stream has yet to be told, and which tasks have left
//! rotation everywhere.
//!
//! A stream remembers only *which* endpoints changed since its last message; the message is made
//! from the tables when it is sent. So however far behind a node is, it costs no more than its
//! tables, and it never hears of what came and went meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use skep_objects::{
    skep_v1::{EndpointsMessage, NetworkEndpoints},
    swarmkit::{Node, Service, Task},
};
use skep_store::{Commit, Event, Object, View};
use tokio::time::Instant;

use super::table::{
    NetworkTable, is_ingress, is_leaving, is_present, node_endpoint, node_networks,
    service_endpoint, service_networks, task_endpoint, task_networks,
};

/// Messages that may be under way to a node, not acknowledged yet.
const WINDOW: u64 = 4;
/// How long a task waits for nodes that do not acknowledge.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A stream of one node. Numbers are never used twice.
pub type StreamId = u64;

/// What a stream has yet to be told of a network.
#[derive(Debug)]
enum Pending {
    Whole,
    Gone,
    Changes {
        services: BTreeSet<String>,
        tasks: BTreeSet<String>,
        nodes: BTreeSet<String>,
    },
}

/// Which of a network's endpoints changed.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Service(&'a str),
    Task(&'a str),
    Node(&'a str),
}

#[derive(Debug, Default)]
struct Stream {
    node: String,
    follows: BTreeSet<String>,
    pending: BTreeMap<String, Pending>,
    drained: BTreeSet<String>,
    /// Nothing has been sent yet: the first message is complete.
    fresh: bool,
    sent: u64,
    acknowledged: u64,
}

/// A task that is to stop: the nodes that must first say that they send it nothing.
#[derive(Debug)]
struct Drain {
    node: String,
    /// By node: the stream, and the message that tells it.
    waits: BTreeMap<String, (StreamId, u64)>,
}

/// All tables and all streams.
#[derive(Debug, Default)]
pub struct Hub {
    view: View,
    tables: BTreeMap<String, NetworkTable>,
    ingress: Option<String>,
    /// By node and network: the tasks for which the node needs the network.
    needs: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    streams: BTreeMap<StreamId, Stream>,
    /// By network: the streams that follow it.
    followers: BTreeMap<String, BTreeSet<StreamId>>,
    /// Streams with something to be told.
    news: BTreeSet<StreamId>,
    by_node: BTreeMap<String, StreamId>,
    last_stream: StreamId,
    drains: BTreeMap<String, Drain>,
    /// Tasks out of rotation everywhere that have not stopped yet.
    drained: BTreeMap<String, String>,
    limits: VecDeque<(Instant, String)>,
}

impl Hub {
    /// The tables of a store.
    pub fn load(view: View, now: Instant) -> Self {
        let mut hub = Self {
            view: view.clone(),
            ..Self::default()
        };
        hub.find_ingress();
        view.nodes().for_each(|node| hub.set_node(node));
        view.services().for_each(|service| hub.set_service(service));
        view.tasks().for_each(|task| hub.set_task(task, now));
        hub
    }

    /// Follows a transaction of the store.
    pub fn follow(&mut self, commit: &Commit, now: Instant) {
        self.view = commit.view.clone();
        for event in commit.events.iter() {
            match event {
                Event::Created(Object::Task(task)) => self.set_task(task, now),
                Event::Updated {
                    new: Object::Task(task),
                    ..
                } => self.set_task(task, now),
                Event::Removed(Object::Task(task)) => self.drop_task(task),
                Event::Created(Object::Service(service)) => self.set_service(service),
                Event::Updated {
                    old: Object::Service(old),
                    new: Object::Service(new),
                } => {
                    self.change_service(old, new);
                }
                Event::Removed(Object::Service(service)) => self.drop_service(service),
                Event::Created(Object::Node(node)) => self.set_node(node),
                Event::Updated {
                    old: Object::Node(old),
                    new: Object::Node(new),
                } => {
                    self.change_node(old, new);
                }
                Event::Removed(Object::Node(node)) => self.drop_node(node),
                Event::Created(Object::Network(_)) => self.find_ingress(),
                Event::Removed(Object::Network(network)) => {
                    self.find_ingress();
                    self.tables.remove(&network.id);
                    self.followers.remove(&network.id);
                }
                _ => {}
            }
        }
    }

    /// A node begins to listen; an older stream of its own counts no more.
    pub fn open(&mut self, node: &str) -> StreamId {
        self.last_stream += 1;
        let id = self.last_stream;
        let mut stream = Stream {
            node: node.to_owned(),
            fresh: true,
            ..Stream::default()
        };
        let needed = self.needs.get(node).into_iter().flat_map(BTreeMap::keys);
        stream.follows = needed.chain(&self.ingress).cloned().collect();
        stream.pending = stream
            .follows
            .iter()
            .map(|id| (id.clone(), Pending::Whole))
            .collect();
        let drained = self.drained.iter().filter(|(_, on)| *on == node);
        stream.drained = drained.map(|(task, _)| task.clone()).collect();
        if let Some(old) = self.by_node.insert(node.to_owned(), id) {
            self.drop_stream(old);
        }
        for network in &stream.follows {
            self.followers
                .entry(network.clone())
                .or_default()
                .insert(id);
        }
        self.news.insert(id);
        self.streams.insert(id, stream);
        for drain in self.drains.values_mut() {
            if let Some(wait) = drain.waits.get_mut(node) {
                *wait = (id, 1);
            }
        }
        id
    }

    /// A stream ended. What its node was to acknowledge is waited for until the limit: its kernel
    /// goes on as it was told last.
    pub fn close(&mut self, id: StreamId) {
        let Some(stream) = self.drop_stream(id) else {
            return;
        };
        if self.by_node.get(&stream.node) == Some(&id) {
            self.by_node.remove(&stream.node);
        }
    }

    fn drop_stream(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.news.remove(&id);
        for network in &stream.follows {
            if let Some(followers) = self.followers.get_mut(network) {
                followers.remove(&id);
            }
        }
        Some(stream)
    }

    /// A node's kernel has what the message said.
    pub fn acknowledge(&mut self, id: StreamId, sequence: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.acknowledged = stream.acknowledged.max(sequence.min(stream.sent));
        let (node, reached) = (stream.node.clone(), stream.acknowledged);
        let mut done = Vec::new();
        for (task, drain) in &mut self.drains {
            if drain
                .waits
                .get(&node)
                .is_some_and(|(stream, wanted)| *stream == id && *wanted <= reached)
            {
                drain.waits.remove(&node);
                if drain.waits.is_empty() {
                    done.push(task.clone());
                }
            }
        }
        done.iter().for_each(|task| self.finish_drain(task));
    }

    /// When to call [`Hub::expire`].
    pub fn next_limit(&self) -> Option<Instant> {
        self.limits.front().map(|(at, _)| *at)
    }

    /// Tasks that have waited long enough.
    pub fn expire(&mut self, now: Instant) {
        while self.limits.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, task)) = self.limits.pop_front() else {
                break;
            };
            self.finish_drain(&task);
        }
    }

    /// The messages to send now.
    pub fn messages(&mut self) -> Vec<(StreamId, EndpointsMessage)> {
        let mut messages = Vec::new();
        self.news.retain(|id| {
            let Some(stream) = self.streams.get_mut(id) else {
                return false;
            };
            if stream.sent - stream.acknowledged >= WINDOW {
                return true;
            }
            messages.push((*id, stream.message(&self.tables)));
            false
        });
        messages
    }

    fn set_task(&mut self, task: &Task, now: Instant) {
        for network in task_networks(task) {
            let endpoint = task_endpoint(&self.view, task, network);
            let tasks = &mut self.tables.entry(network.to_owned()).or_default().tasks;
            let changed = tasks.get(&task.id) != endpoint.as_ref();
            match endpoint {
                Some(endpoint) => drop(tasks.insert(task.id.clone(), endpoint)),
                None => drop(tasks.remove(&task.id)),
            }
            if changed {
                self.tell(network, Change::Task(&task.id));
            }
            self.set_need(&task.node_id, network, &task.id, is_present(task));
        }
        if is_present(task) && is_leaving(task) {
            self.start_drain(task, now);
        } else {
            self.drains.remove(&task.id);
            self.drained.remove(&task.id);
        }
    }

    fn drop_task(&mut self, task: &Task) {
        for network in task_networks(task) {
            if let Some(table) = self.tables.get_mut(network)
                && table.tasks.remove(&task.id).is_some()
            {
                self.tell(network, Change::Task(&task.id));
            }
            self.set_need(&task.node_id, network, &task.id, false);
        }
        self.drains.remove(&task.id);
        self.drained.remove(&task.id);
    }

    fn set_service(&mut self, service: &Service) {
        let networks: BTreeSet<&str> = service_networks(service).collect();
        for network in networks {
            self.set_service_on(network, service);
        }
    }

    fn change_service(&mut self, old: &Service, new: &Service) {
        let networks: BTreeSet<&str> = service_networks(old).chain(service_networks(new)).collect();
        for network in networks {
            self.set_service_on(network, new);
        }
    }

    fn set_service_on(&mut self, network: &str, service: &Service) {
        let endpoint = service_endpoint(&self.view, service, network);
        let services = &mut self.tables.entry(network.to_owned()).or_default().services;
        if services.get(&service.id) == endpoint.as_ref() {
            return;
        }
        match endpoint {
            Some(endpoint) => drop(services.insert(service.id.clone(), endpoint)),
            None => drop(services.remove(&service.id)),
        }
        self.tell(network, Change::Service(&service.id));
    }

    fn drop_service(&mut self, service: &Service) {
        for network in service_networks(service) {
            if let Some(table) = self.tables.get_mut(network)
                && table.services.remove(&service.id).is_some()
            {
                self.tell(network, Change::Service(&service.id));
            }
        }
    }

    fn set_node(&mut self, node: &Node) {
        for network in node_networks(node) {
            let Some(endpoint) = node_endpoint(node, network) else {
                continue;
            };
            let nodes = &mut self.tables.entry(network.to_owned()).or_default().nodes;
            if nodes.get(&node.id) != Some(&endpoint) {
                nodes.insert(node.id.clone(), endpoint);
                self.tell(network, Change::Node(&node.id));
            }
        }
    }

    fn change_node(&mut self, old: &Node, new: &Node) {
        let kept: BTreeSet<&str> = node_networks(new).collect();
        for network in node_networks(old).filter(|network| !kept.contains(network)) {
            self.forget_node_on(network, &new.id);
        }
        self.set_node(new);
        let state = |node: &Node| {
            node.status
                .as_ref()
                .map(|status| (status.state, status.addr.clone()))
        };
        let labels = |node: &Node| {
            node.description
                .as_ref()
                .and_then(|description| description.engine.clone())
        };
        if state(old) != state(new) || labels(old) != labels(new) {
            self.refresh_tasks_of(&new.id);
        }
        let is_down = |node: &Node| {
            use skep_objects::swarmkit::node_status::State;
            node.status
                .as_ref()
                .is_some_and(|status| status.state() == State::Down)
        };
        if is_down(new) {
            self.stop_waiting_for(&new.id);
        }
    }

    fn drop_node(&mut self, node: &Node) {
        for network in node_networks(node) {
            self.forget_node_on(network, &node.id);
        }
        self.refresh_tasks_of(&node.id);
        self.needs.remove(&node.id);
        self.stop_waiting_for(&node.id);
    }

    fn forget_node_on(&mut self, network: &str, node: &str) {
        if let Some(table) = self.tables.get_mut(network)
            && table.nodes.remove(node).is_some()
        {
            self.tell(network, Change::Node(node));
        }
    }

    /// The node's address or state changed: its tasks are elsewhere, or out of reach.
    fn refresh_tasks_of(&mut self, node: &str) {
        let view = self.view.clone();
        for task in view.tasks_by_node(node) {
            for network in task_networks(task) {
                let endpoint = task_endpoint(&view, task, network);
                let Some(table) = self.tables.get_mut(network) else {
                    continue;
                };
                let Some(endpoint) = endpoint else { continue };
                if table.tasks.get(&task.id) != Some(&endpoint) {
                    table.tasks.insert(task.id.clone(), endpoint);
                    self.tell(network, Change::Task(&task.id));
                }
            }
        }
    }

    /// Notes whether a node needs a network for a task; its stream follows accordingly.
    fn set_need(&mut self, node: &str, network: &str, task: &str, needed: bool) {
        if node.is_empty() {
            return;
        }
        if needed {
            let networks = self.needs.entry(node.to_owned()).or_default();
            networks
                .entry(network.to_owned())
                .or_default()
                .insert(task.to_owned());
        } else if let Some(networks) = self.needs.get_mut(node) {
            if let Some(tasks) = networks.get_mut(network) {
                tasks.remove(task);
                if tasks.is_empty() {
                    networks.remove(network);
                }
            }
            if networks.is_empty() {
                self.needs.remove(node);
            }
        }
        self.follow_network(node, network);
    }

    fn follow_network(&mut self, node: &str, network: &str) {
        let Some(id) = self.by_node.get(node) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let tasks = self
            .needs
            .get(node)
            .and_then(|networks| networks.get(network));
        let wanted = tasks.is_some() || self.ingress.as_deref() == Some(network);
        if wanted == stream.follows.contains(network) {
            return;
        }
        let followers = self.followers.entry(network.to_owned()).or_default();
        if wanted {
            followers.insert(*id);
            stream.follows.insert(network.to_owned());
            stream.pending.insert(network.to_owned(), Pending::Whole);
        } else {
            followers.remove(id);
            stream.follows.remove(network);
            stream.pending.insert(network.to_owned(), Pending::Gone);
        }
        self.news.insert(*id);
    }

    /// Every node carries the routing mesh.
    fn find_ingress(&mut self) {
        let found = self.view.networks().find(|network| is_ingress(network));
        let found = found.map(|network| network.id.clone());
        if found == self.ingress {
            return;
        }
        let old = std::mem::replace(&mut self.ingress, found.clone());
        let nodes: Vec<String> = self.by_node.keys().cloned().collect();
        for node in nodes {
            for network in [&old, &found].into_iter().flatten() {
                self.follow_network(&node, network);
            }
        }
    }

    fn tell(&mut self, network: &str, change: Change<'_>) {
        for id in self.followers.get(network).into_iter().flatten() {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.note(network, change);
                self.news.insert(*id);
            }
        }
    }

    /// The task must leave rotation everywhere; the tables say so already.
    fn start_drain(&mut self, task: &Task, now: Instant) {
        if self.drains.contains_key(&task.id) || self.drained.contains_key(&task.id) {
            return;
        }
        let mut waits = BTreeMap::new();
        let reached = task_networks(task).filter_map(|network| self.followers.get(network));
        for id in reached.flatten() {
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            if stream.node == task.node_id {
                continue;
            }
            let last = if self.news.contains(id) {
                stream.sent + 1
            } else {
                stream.sent
            };
            if last > stream.acknowledged {
                waits.insert(stream.node.clone(), (*id, last));
            }
        }
        let settled = waits.is_empty();
        self.drains.insert(
            task.id.clone(),
            Drain {
                node: task.node_id.clone(),
                waits,
            },
        );
        if settled {
            self.finish_drain(&task.id);
        } else {
            self.limits.push_back((now + DRAIN_LIMIT, task.id.clone()));
        }
    }

    fn finish_drain(&mut self, task: &str) {
        let Some(drain) = self.drains.remove(task) else {
            return;
        };
        if let Some(id) = self.by_node.get(&drain.node)
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.drained.insert(task.to_owned());
            self.news.insert(*id);
        }
        self.drained.insert(task.to_owned(), drain.node);
    }

    fn stop_waiting_for(&mut self, node: &str) {
        let mut done = Vec::new();
        for (task, drain) in &mut self.drains {
            if drain.waits.remove(node).is_some() && drain.waits.is_empty() {
                done.push(task.clone());
            }
        }
        done.iter().for_each(|task| self.finish_drain(task));
    }
}

impl Stream {
    fn note(&mut self, network: &str, change: Change<'_>) {
        let pending = self
            .pending
            .entry(network.to_owned())
            .or_insert_with(|| Pending::Changes {
                services: BTreeSet::new(),
                tasks: BTreeSet::new(),
                nodes: BTreeSet::new(),
            });
        let Pending::Changes {
            services,
            tasks,
            nodes,
        } = pending
        else {
            return;
        };
        let (ids, id) = match change {
            Change::Service(id) => (services, id),
            Change::Task(id) => (tasks, id),
            Change::Node(id) => (nodes, id),
        };
        ids.insert(id.to_owned());
    }

    fn message(&mut self, tables: &BTreeMap<String, NetworkTable>) -> EndpointsMessage {
        let empty = NetworkTable::default();
        let pending = std::mem::take(&mut self.pending);
        let networks = pending.into_iter().map(|(network, pending)| {
            pending.message(network.clone(), tables.get(&network).unwrap_or(&empty))
        });
        let networks = networks.collect();
        self.sent += 1;
        EndpointsMessage {
            sequence: self.sent,
            complete: std::mem::take(&mut self.fresh),
            networks,
            drained_tasks: std::mem::take(&mut self.drained).into_iter().collect(),
        }
    }
}

impl Pending {
    fn message(self, network_id: String, table: &NetworkTable) -> NetworkEndpoints {
        match self {
            Pending::Gone => NetworkEndpoints {
                network_id,
                gone: true,
                ..Default::default()
            },
            Pending::Whole => NetworkEndpoints {
                network_id,
                complete: true,
                set_services: table.services.values().cloned().collect(),
                set_tasks: table.tasks.values().cloned().collect(),
                set_nodes: table.nodes.values().cloned().collect(),
                ..Default::default()
            },
            Pending::Changes {
                services,
                tasks,
                nodes,
            } => {
                let (set_services, removed_services) = split(services, &table.services);
                let (set_tasks, removed_tasks) = split(tasks, &table.tasks);
                let (set_nodes, removed_nodes) = split(nodes, &table.nodes);
                NetworkEndpoints {
                    network_id,
                    set_services,
                    removed_services,
                    set_tasks,
                    removed_tasks,
                    set_nodes,
                    removed_nodes,
                    ..Default::default()
                }
            }
        }
    }
}

/// What changed: what is there now, and what is not any more.
fn split<T: Clone>(
    changed: BTreeSet<String>,
    table: &BTreeMap<String, T>,
) -> (Vec<T>, Vec<String>) {
    let (set, removed): (Vec<String>, Vec<String>) =
        changed.into_iter().partition(|id| table.contains_key(id));
    (
        set.iter().filter_map(|id| table.get(id).cloned()).collect(),
        removed,
    )
}

#[cfg(test)]
mod tests;
