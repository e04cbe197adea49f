//! Lets objects hold together what they hold alike.
//!
//! A task mentions its spec, its service's annotations and endpoint, and its networks; thousands of
//! tasks mention the same ones. Before an object enters the tables, its shared parts
//! ([`skep_objects::Shared`]) that equal those of an object already there become the same memory.
//! What is equal stays equal, so members agree whether they share or not; a member that decodes the
//! log or a snapshot ends up sharing as the leader does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use skep_objects::swarmkit::{
    Cluster, Config, Extension, Network, NetworkAttachment, Node, Resource, Secret, Service, Task,
    Volume,
};
use skep_objects::{Shared, Text};

use crate::table::Tables;

/// What an object may share with those in the tables.
pub(crate) trait Share {
    /// Joins what is alike; nothing in most kinds of object.
    fn share(&mut self, _tables: &Tables) {}
}

impl Share for Task {
    fn share(&mut self, tables: &Tables) {
        shrink(&mut self.networks);
        join_texts(self, tables);
        // Most writes change a status only: all else is the old version's already.
        if let Some(old) = tables.tasks.get(&self.id)
            && join_tasks(self, old)
        {
            return;
        }
        join_service(self, tables);
        if let Some(near) = tables.tasks.near_in_service(&self.service_id, self.slot) {
            join_tasks(self, near);
        }
        join_networks(&mut self.networks, tables);
    }
}

impl Share for Node {
    fn share(&mut self, tables: &Tables) {
        join_networks(&mut self.attachments, tables);
    }
}

macro_rules! nothing_to_share {
    ($($type:ident)*) => { $(impl Share for $type {})* };
}

nothing_to_share! { Service Network Cluster Secret Resource Extension Config Volume }

/// Tasks of a snapshot by service and spec version: one of each, for the others to join. In a
/// store that runs there is no need of it: a new task gets the spec that its service has by then.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(BTreeMap<(Text, u64), Arc<Task>>);

impl Exemplars {
    /// The task, sharing with those of its service and version that came before.
    pub(crate) fn shared(&mut self, mut task: Task, tables: &Tables) -> Arc<Task> {
        shrink(&mut task.networks);
        join_texts(&mut task, tables);
        let version = task.spec_version.map_or(0, |version| version.index);
        let key = (task.service_id.clone(), version);
        if let Some(exemplar) = self.0.get(&key)
            && join_tasks(&mut task, exemplar)
        {
            return Arc::new(task);
        }
        join_service(&mut task, tables);
        join_networks(&mut task.networks, tables);
        let task = Arc::new(task);
        if !task.service_id.is_empty() {
            self.0.entry(key).or_insert_with(|| task.clone());
        }
        task
    }
}

/// Joins all that two tasks have alike. Whether nothing is left that is the first one's own.
fn join_tasks(task: &mut Task, other: &Task) -> bool {
    let parts = [
        join(&mut task.spec, &other.spec),
        join(&mut task.annotations, &other.annotations),
        join(&mut task.service_annotations, &other.service_annotations),
        join(&mut task.endpoint, &other.endpoint),
        join(&mut task.log_driver, &other.log_driver),
    ];
    let mut all = parts.into_iter().all(|joined| joined);
    all &= task.networks.len() <= other.networks.len();
    for (own, other) in task.networks.iter_mut().zip(&other.networks) {
        all &= join(&mut own.network, &other.network);
    }
    all
}

fn join<T: PartialEq>(own: &mut Option<Shared<T>>, other: &Option<Shared<T>>) -> bool {
    match (own, other) {
        (None, _) => true,
        (Some(own), Some(other)) => own.join(other),
        (Some(_), None) => false,
    }
}

fn join_service(task: &mut Task, tables: &Tables) {
    if let Some(service) = tables.services.get(&task.service_id) {
        let spec = service.spec.as_ref().and_then(|spec| spec.task.clone());
        join(&mut task.spec, &spec);
        join(&mut task.endpoint, &service.endpoint);
    }
}

/// Words of states in which tasks stay or are often: those of skep and of SwarmKit's agents.
static MESSAGES: LazyLock<BTreeSet<Text>> = LazyLock::new(|| {
    [
        "accepted",
        "assigned",
        "created",
        "finished",
        "pending task scheduling",
        "prepared",
        "preparing",
        "ready",
        "running",
        "scheduler assigned task to node",
        "scheduler confirmed task can run on preassigned node",
        "shutdown",
        "started",
        "starting",
    ]
    .into_iter()
    .map(Text::from)
    .collect()
});

/// Joins the ids that the task mentions with those that the tables go by.
fn join_texts(task: &mut Task, tables: &Tables) {
    join_text(&mut task.service_id, |id| tables.services.id(id));
    join_text(&mut task.node_id, |id| tables.nodes.id(id));
    if let Some(status) = &mut task.status {
        join_text(&mut status.applied_by, |id| tables.nodes.id(id));
        join_text(&mut status.message, |words| MESSAGES.get(words));
    }
}

fn join_text<'a>(own: &mut Text, find: impl FnOnce(&str) -> Option<&'a Text>) {
    if !own.is_empty()
        && let Some(found) = find(own)
    {
        *own = found.clone();
    }
}

/// Gives back the room that lists were given to grow in: decoding makes room for four.
fn shrink(attachments: &mut Vec<NetworkAttachment>) {
    attachments.shrink_to_fit();
    for attachment in attachments {
        attachment.addresses.shrink_to_fit();
        attachment.aliases.shrink_to_fit();
    }
}

fn join_networks(attachments: &mut [NetworkAttachment], tables: &Tables) {
    for network in attachments.iter_mut().filter_map(|a| a.network.as_mut()) {
        if let Some(stored) = tables.networks.get(&network.id) {
            network.join(&Shared::from(stored));
        }
    }
}
