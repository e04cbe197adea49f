//! Nodes in the tables, and which networks each of them follows.

use std::collections::BTreeSet;

use skep_objects::{
    DATA_PATH_LABEL,
    swarmkit::{Node, node_status::State},
};

use super::{
    Hub,
    stream::{Change, Pending},
};
use crate::endpoints::table::{is_ingress, node_endpoint, node_networks, task_networks};

fn is_down(node: &Node) -> bool {
    let status = node.status.as_ref();
    status.is_some_and(|status| status.state() == State::Down)
}

/// Whether it runs skep, and so listens to these tables; a dockerd never does.
fn is_skep(node: &Node) -> bool {
    let description = node.description.as_ref();
    let engine = description.and_then(|description| description.engine.as_ref());
    engine.is_some_and(|engine| engine.labels.contains_key(DATA_PATH_LABEL))
}

impl Hub {
    pub(super) fn set_node(&mut self, node: &Node) {
        self.note_presence(node);
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

    pub(super) fn change_node(&mut self, old: &Node, new: &Node) {
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
        if is_down(new) {
            self.stop_waiting_for(&new.id);
        }
    }

    pub(super) fn drop_node(&mut self, node: &Node) {
        for network in node_networks(node) {
            self.forget_node_on(network, &node.id);
        }
        self.refresh_tasks_of(&node.id);
        self.needs.remove(&node.id);
        self.absent.remove(&node.id);
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
                let endpoint = self.endpoint_of(&view, task, network);
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

    /// Notes whether a node is expected to listen but does not.
    pub(super) fn note_presence(&mut self, node: &Node) {
        let is_absent = is_skep(node) && !is_down(node) && !self.by_node.contains_key(&node.id);
        if is_absent {
            self.absent.insert(node.id.clone());
        } else {
            self.absent.remove(&node.id);
        }
    }

    /// Whether a node carries one of these networks: its kernel may send to their tasks.
    pub(super) fn carries<'a>(
        &self,
        node: &str,
        mut networks: impl Iterator<Item = &'a str>,
    ) -> bool {
        let needed = self.needs.get(node);
        networks.any(|network| {
            self.ingress.as_deref() == Some(network)
                || needed.is_some_and(|needed| needed.contains_key(network))
        })
    }

    /// Notes whether a node needs a network for a task; its stream follows accordingly.
    pub(super) fn set_need(&mut self, node: &str, network: &str, task: &str, needed: bool) {
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
    pub(super) fn find_ingress(&mut self) {
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
}
