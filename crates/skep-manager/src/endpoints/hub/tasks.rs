//! Tasks in the tables, and their way out of rotation.

use std::collections::BTreeMap;

use skep_objects::{skep_v1::TaskEndpoint, swarmkit::Task};
use skep_store::View;
use tokio::time::Instant;

use super::{Hub, StreamId, drains::NEXT_STREAM, stream::Change};
use crate::endpoints::table::{is_leaving, is_present, task_endpoint, task_networks};

/// Answers about tasks that may wait for a stream, when nobody knows the tasks.
const MAX_ANSWERS: usize = 1024;
/// Ids have 25 bytes.
const MAX_ID_BYTES: usize = 64;

impl Hub {
    pub(super) fn set_task(&mut self, task: &Task, now: Instant) {
        self.list_task(task);
        self.watch_drain(task, now);
    }

    /// Puts the task in the tables of its networks.
    pub(super) fn list_task(&mut self, task: &Task) {
        for network in task_networks(task) {
            let endpoint = self.endpoint_of(&self.view, task, network);
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
    }

    /// Begins or forgets the task's way out. The tables must be whole: they say who is waited for.
    pub(super) fn watch_drain(&mut self, task: &Task, now: Instant) {
        if is_present(task) && self.leaves(task) {
            self.start_drain(task, now);
        } else {
            self.forget_drain(task);
        }
    }

    pub(super) fn drop_task(&mut self, task: &Task) {
        for network in task_networks(task) {
            if let Some(table) = self.tables.get_mut(network)
                && table.tasks.remove(&task.id).is_some()
            {
                self.tell(network, Change::Task(&task.id));
            }
            self.set_need(&task.node_id, network, &task.id, false);
        }
        self.forget_drain(task);
    }

    pub(super) fn endpoint_of(
        &self,
        view: &View,
        task: &Task,
        network: &str,
    ) -> Option<TaskEndpoint> {
        let mut endpoint = task_endpoint(view, task, network)?;
        endpoint.in_rotation &= !self.withdrawn.contains(&task.id);
        Some(endpoint)
    }

    fn leaves(&self, task: &Task) -> bool {
        is_leaving(task) || self.withdrawn.contains(&task.id)
    }

    fn forget_drain(&mut self, task: &Task) {
        self.drains.forget(&task.id);
        self.withdrawn.remove(&task.id);
    }

    /// A node is about to stop tasks of its own accord, which take no traffic from now on.
    pub fn withdraw(&mut self, id: StreamId, tasks: &[String], now: Instant) {
        let Some(node) = self.streams.get(&id).map(|stream| stream.node.clone()) else {
            return;
        };
        let view = self.view.clone();
        for id in tasks {
            match view.task(id) {
                Some(task) if task.node_id == node && is_present(task) => {
                    if self.withdrawn.insert(task.id.clone()) {
                        self.set_task(task, now);
                    }
                }
                // Nobody sends to it.
                Some(task) if task.node_id == node => self.tell_drained(id, &node),
                // Another node's to say.
                Some(_) => {}
                // It may have been deleted a moment ago.
                None => {
                    if self.owes_answer(id, &node) {
                        self.tell_drained(id, &node);
                    }
                }
            }
        }
    }

    /// Whether a node is answered about a task that nobody knows. Ids can be invented: what waits for
    /// a node that does not read does not grow.
    fn owes_answer(&self, id: &str, node: &str) -> bool {
        let stream = self.by_node.get(node).and_then(|id| self.streams.get(id));
        id.len() <= MAX_ID_BYTES && stream.is_some_and(|s| s.drained.len() < MAX_ANSWERS)
    }

    /// The task must leave rotation everywhere; the tables say so already.
    fn start_drain(&mut self, task: &Task, now: Instant) {
        if self.drains.has(&task.id) {
            return;
        }
        let waits = self.nodes_to_tell(task);
        if self.drains.start(&task.id, &task.node_id, waits, now) {
            self.tell_drained(&task.id, &task.node_id);
        }
    }

    /// The nodes that may send to the task and have not acknowledged that they must not, each with
    /// the message that tells it.
    fn nodes_to_tell(&self, task: &Task) -> BTreeMap<String, u64> {
        let mut waits = BTreeMap::new();
        let reached = task_networks(task).filter_map(|network| self.followers.get(network));
        for id in reached.flatten() {
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            let last = stream.sent + u64::from(self.news.contains(id));
            if stream.node != task.node_id && last > stream.acknowledged {
                waits.insert(stream.node.clone(), last);
            }
        }
        // After a change of leader no node listens yet, and each goes on as it was told last.
        let absent = self.absent.iter().filter(|node| **node != task.node_id);
        let absent = absent.filter(|node| self.carries(node, task_networks(task)));
        waits.extend(absent.map(|node| (node.clone(), NEXT_STREAM)));
        waits
    }

    pub(super) fn finish_drain(&mut self, task: &str) {
        if let Some(node) = self.drains.finish(task) {
            self.tell_drained(task, &node);
        }
    }

    fn tell_drained(&mut self, task: &str, node: &str) {
        if let Some(id) = self.by_node.get(node)
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.drained.insert(task.to_owned());
            self.news.insert(*id);
        }
    }

    pub(super) fn stop_waiting_for(&mut self, node: &str) {
        let done = self.drains.give_up(node);
        done.iter().for_each(|task| self.finish_drain(task));
    }
}
