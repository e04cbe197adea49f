//! Tasks that wait for an address of a network that has none left.
//!
//! An address that is given back is for one task, so one is tried again: not all that wait, which may
//! be thousands.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The tasks, by the network that they wait for.
#[derive(Debug, Default)]
pub(super) struct Starved {
    by_network: BTreeMap<String, BTreeSet<String>>,
    networks: HashMap<String, String>,
    /// Tasks that were taken out for one address, until they have been tried.
    fed: HashMap<String, String>,
}

impl Starved {
    pub(super) fn contains(&self, task: &str) -> bool {
        self.networks.contains_key(task)
    }

    /// Lets a task wait for an address of a network.
    pub(super) fn insert(&mut self, task: &str, network: &str) {
        self.remove(task);
        let waiting = self.by_network.entry(network.to_owned()).or_default();
        waiting.insert(task.to_owned());
        self.networks.insert(task.to_owned(), network.to_owned());
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, task: &str) {
        let Some(network) = self.networks.remove(task) else {
            return;
        };
        if let Some(waiting) = self.by_network.get_mut(&network) {
            waiting.remove(task);
            if waiting.is_empty() {
                self.by_network.remove(&network);
            }
        }
    }

    /// Takes out the task that the next address of a network is for.
    pub(super) fn feed(&mut self, network: &str) -> Option<String> {
        let task = self.by_network.get(network)?.first()?.clone();
        self.remove(&task);
        self.fed.insert(task.clone(), network.to_owned());
        Some(task)
    }

    /// The task has been tried. Returns another one that may have its address if it did not take it.
    pub(super) fn tried(&mut self, task: &str, took: bool) -> Option<String> {
        let network = self.fed.remove(task)?;
        if took { None } else { self.feed(&network) }
    }

    /// Takes out all tasks that wait for a network: it has changed as a whole.
    pub(super) fn feed_all(&mut self, network: &str) -> BTreeSet<String> {
        let tasks = self.by_network.remove(network).unwrap_or_default();
        for task in &tasks {
            self.networks.remove(task);
        }
        tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_for_one_task_of_its_network() {
        let mut starved = Starved::default();
        for (task, network) in [("t1", "a"), ("t2", "a"), ("t3", "b")] {
            starved.insert(task, network);
        }
        assert_eq!(starved.feed("a").as_deref(), Some("t1"));
        assert!(!starved.contains("t1") && starved.contains("t2"));
        assert_eq!(starved.feed("c"), None);
        assert_eq!(starved.tried("t1", false).as_deref(), Some("t2"));
        assert_eq!(starved.tried("t2", true), None);
        assert_eq!(starved.feed_all("b"), ["t3".to_owned()].into());
        assert_eq!(starved.feed("a"), None);
        assert!(starved.networks.is_empty() && starved.by_network.is_empty());
    }
}
