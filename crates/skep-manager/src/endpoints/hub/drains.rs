//! Tasks on their way out: which nodes must first say that they send them nothing. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// How long a task waits for nodes that do not acknowledge.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What a node without a stream has to acknowledge: the first message of its next one.
pub(super) const NEXT_STREAM: u64 = u64::MAX;

/// A task that is to stop.
#[derive(Debug)]
struct Drain {
    /// The node it runs on.
    node: String,
    /// Nodes that have not answered, with the number of the message that tells them.
    waits: BTreeMap<String, u64>,
}

/// All tasks that are to stop.
#[derive(Debug, Default)]
pub(super) struct Drains {
    waiting: BTreeMap<String, Drain>,
    /// The same by node and message, so that an acknowledgement costs what it settles.
    by_node: BTreeMap<String, BTreeSet<(u64, String)>>,
    /// Tasks out of rotation everywhere that have not stopped yet, and their nodes.
    drained: BTreeMap<String, String>,
    limits: VecDeque<(Instant, String)>,
}

impl Drains {
    /// Whether the task is known here.
    pub fn has(&self, task: &str) -> bool {
        self.waiting.contains_key(task) || self.drained.contains_key(task)
    }

    /// The drained tasks of a node.
    pub fn drained_on(&self, node: &str) -> BTreeSet<String> {
        let on_node = self.drained.iter().filter(|(_, on)| *on == node);
        on_node.map(|(task, _)| task.clone()).collect()
    }

    /// A task waits for these nodes. Answers whether there are none: it is drained.
    pub fn start(
        &mut self,
        task: &str,
        node: &str,
        waits: BTreeMap<String, u64>,
        now: Instant,
    ) -> bool {
        if waits.is_empty() {
            self.drained.insert(task.to_owned(), node.to_owned());
            return true;
        }
        for (waited_for, message) in &waits {
            let of_node = self.by_node.entry(waited_for.clone()).or_default();
            of_node.insert((*message, task.to_owned()));
        }
        let node = node.to_owned();
        self.waiting.insert(task.to_owned(), Drain { node, waits });
        self.limits.push_back((now + DRAIN_LIMIT, task.to_owned()));
        false
    }

    /// The task has stopped, or runs on.
    pub fn forget(&mut self, task: &str) {
        self.drained.remove(task);
        self.end(task);
    }

    /// A node begins to listen anew: its first message tells all of it.
    pub fn renew(&mut self, node: &str) {
        let Some(waits) = self.by_node.remove(node) else {
            return;
        };
        for (_, task) in waits {
            if let Some(drain) = self.waiting.get_mut(&task) {
                drain.waits.insert(node.to_owned(), 1);
                let of_node = self.by_node.entry(node.to_owned()).or_default();
                of_node.insert((1, task));
            }
        }
    }

    /// A node has taken over what its stream said up to this message. Answers the tasks that are
    /// drained by it.
    pub fn acknowledge(&mut self, node: &str, message: u64) -> Vec<String> {
        let Some(waits) = self.by_node.get_mut(node) else {
            return Vec::new();
        };
        let later = waits.split_off(&(message + 1, String::new()));
        let settled = std::mem::replace(waits, later);
        if waits.is_empty() {
            self.by_node.remove(node);
        }
        let tasks = settled.into_iter().map(|(_, task)| task);
        tasks.filter(|task| self.settle(task, node)).collect()
    }

    /// Nobody waits for this node any more. Answers the tasks that are drained by it.
    pub fn give_up(&mut self, node: &str) -> Vec<String> {
        let waits = self.by_node.remove(node).unwrap_or_default();
        let tasks = waits.into_iter().map(|(_, task)| task);
        tasks.filter(|task| self.settle(task, node)).collect()
    }

    fn settle(&mut self, task: &str, node: &str) -> bool {
        let Some(drain) = self.waiting.get_mut(task) else {
            return false;
        };
        drain.waits.remove(node);
        drain.waits.is_empty()
    }

    /// When to call [`Drains::expired`].
    pub fn next_limit(&self) -> Option<Instant> {
        self.limits.front().map(|(at, _)| *at)
    }

    /// The tasks that have waited long enough.
    pub fn expired(&mut self, now: Instant) -> Vec<String> {
        let mut tasks = Vec::new();
        while self.limits.front().is_some_and(|(at, _)| *at <= now) {
            tasks.extend(self.limits.pop_front().map(|(_, task)| task));
        }
        tasks
    }

    /// The task is out of rotation everywhere. Answers its node, unless it was so already.
    pub fn finish(&mut self, task: &str) -> Option<String> {
        let node = self.end(task)?;
        self.drained.insert(task.to_owned(), node.clone());
        Some(node)
    }

    fn end(&mut self, task: &str) -> Option<String> {
        let drain = self.waiting.remove(task)?;
        for (node, message) in drain.waits {
            if let Some(of_node) = self.by_node.get_mut(&node) {
                of_node.remove(&(message, task.to_owned()));
                if of_node.is_empty() {
                    self.by_node.remove(&node);
                }
            }
        }
        Some(drain.node)
    }
}
