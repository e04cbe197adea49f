//! Who follows which network, what each stream has yet to be told, and which tasks have left
//! rotation everywhere.
//!
//! A stream remembers only *which* endpoints changed since its last message; the message is made
//! from the tables when it is sent. So however far behind a node is, it costs no more than its
//! tables, and it never hears of what came and went meanwhile.

mod drains;
mod nodes;
mod services;
mod stream;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use skep_objects::skep_v1::EndpointsMessage;
use skep_store::{Commit, Event, Object, View};
use tokio::time::Instant;

use super::table::NetworkTable;
use drains::Drains;
use stream::{Change, Pending, Stream};

/// A stream of one node. Numbers are never used twice.
pub type StreamId = u64;

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
    /// Nodes that should listen and do not.
    absent: BTreeSet<String>,
    drains: Drains,
    /// Tasks that their nodes are about to stop.
    withdrawn: BTreeSet<String>,
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
        view.tasks().for_each(|task| hub.list_task(task));
        view.tasks().for_each(|task| hub.watch_drain(task, now));
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

    /// The stream of a node.
    pub fn stream_of(&self, node: &str) -> Option<StreamId> {
        self.by_node.get(node).copied()
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
        stream.drained = self.drains.drained_on(node);
        self.absent.remove(node);
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
        self.drains.renew(node);
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
            let view = self.view.clone();
            if let Some(node) = view.node(&stream.node) {
                self.note_presence(node);
            }
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
        let done = self.drains.acknowledge(&node, reached);
        done.iter().for_each(|task| self.finish_drain(task));
    }

    /// When to call [`Hub::expire`].
    pub fn next_limit(&self) -> Option<Instant> {
        self.drains.next_limit()
    }

    /// Tasks that have waited long enough.
    pub fn expire(&mut self, now: Instant) {
        let expired = self.drains.expired(now);
        expired.iter().for_each(|task| self.finish_drain(task));
    }

    /// The messages to send now.
    pub fn messages(&mut self) -> Vec<(StreamId, EndpointsMessage)> {
        let mut messages = Vec::new();
        self.news.retain(|id| {
            let Some(stream) = self.streams.get_mut(id) else {
                return false;
            };
            if stream.is_full() {
                return true;
            }
            messages.push((*id, stream.message(&self.tables)));
            false
        });
        messages
    }

    fn tell(&mut self, network: &str, change: Change<'_>) {
        for id in self.followers.get(network).into_iter().flatten() {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.note(network, change);
                self.news.insert(*id);
            }
        }
    }
}
