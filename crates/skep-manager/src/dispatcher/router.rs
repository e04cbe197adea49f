//! Follows the store, and passes on to each node's streams the events that concern the node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skep_objects::swarmkit::{Cluster, Node, Task};
use skep_store::{Commit, Event, Object, View, Watch};
use tokio::sync::{mpsc, watch};

use super::{ClusterInfo, Dispatcher, timing::Timing};

/// What one transaction changed for one node.
#[derive(Debug)]
pub struct NodeChange {
    /// Tasks created, changed and deleted, in order.
    pub tasks: Vec<TaskChange>,
    /// The store after the transaction.
    pub view: View,
}

/// A change of a task of the node.
#[derive(Debug, Clone)]
pub enum TaskChange {
    /// Created or changed.
    Set(Arc<Task>),
    /// Deleted.
    Removed(Arc<Task>),
}

/// Transactions that may wait for a node's stream to take them. A stream that falls further behind
/// ends: its node then asks for everything anew, which costs less than what it missed.
pub const BACKLOG: usize = 256;

/// Who wants to hear about which node.
#[derive(Debug)]
pub struct Router {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What has been passed on so far.
    view: View,
    /// One stream a node: a new one ends the one before.
    tasks: BTreeMap<String, mpsc::Sender<NodeChange>>,
    nodes: BTreeMap<String, watch::Sender<Option<Arc<Node>>>>,
}

impl Router {
    /// Starts at this state of the store.
    pub fn new(view: View) -> Self {
        let state = State {
            view,
            tasks: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The tasks of a node: how the store is, and everything after that.
    pub fn follow_tasks(&self, node: &str) -> (View, mpsc::Receiver<NodeChange>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut state = self.state();
        state.tasks.insert(node.to_owned(), sender);
        (state.view.clone(), receiver)
    }

    /// A node's object: how it is, and each version after that; none once it is removed.
    pub fn follow_node(&self, node: &str) -> watch::Receiver<Option<Arc<Node>>> {
        let mut state = self.state();
        let current = state.view.node(node).cloned();
        let sender = state
            .nodes
            .entry(node.to_owned())
            .or_insert_with(|| watch::Sender::new(current));
        sender.subscribe()
    }

    /// Passes a transaction on.
    pub fn pass(&self, commit: &Commit) {
        let mut tasks: BTreeMap<&str, Vec<TaskChange>> = BTreeMap::new();
        let mut state = self.state();
        for event in commit.events.iter() {
            match event {
                Event::Created(Object::Task(task))
                | Event::Updated {
                    new: Object::Task(task),
                    ..
                } => {
                    tasks
                        .entry(&task.node_id)
                        .or_default()
                        .push(TaskChange::Set(task.clone()));
                }
                Event::Removed(Object::Task(task)) => {
                    tasks
                        .entry(&task.node_id)
                        .or_default()
                        .push(TaskChange::Removed(task.clone()));
                }
                Event::Created(Object::Node(node))
                | Event::Updated {
                    new: Object::Node(node),
                    ..
                } => {
                    state.tell_node(&node.id, Some(node));
                }
                Event::Removed(Object::Node(node)) => state.tell_node(&node.id, None),
                _ => {}
            }
        }
        for (node, changes) in tasks {
            state.tell_tasks(node, changes, &commit.view);
        }
        state.view = commit.view.clone();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell_tasks(&mut self, node: &str, changes: Vec<TaskChange>, view: &View) {
        let Some(stream) = self.tasks.get(node) else {
            return;
        };
        let change = NodeChange {
            tasks: changes,
            view: view.clone(),
        };
        if stream.try_send(change).is_err() {
            self.tasks.remove(node);
        }
    }

    fn tell_node(&mut self, id: &str, node: Option<&Arc<Node>>) {
        let Some(sender) = self.nodes.get(id) else {
            return;
        };
        sender.send_replace(node.cloned());
        if node.is_none() || sender.receiver_count() == 0 {
            self.nodes.remove(id);
        }
    }
}

/// Passes on everything until the store is closed.
pub async fn run(dispatcher: Arc<Dispatcher>, mut watch: Watch) {
    while let Some(commit) = watch.recv_commit().await {
        for event in commit.events.iter() {
            match event {
                Event::Created(Object::Cluster(cluster))
                | Event::Updated {
                    new: Object::Cluster(cluster),
                    ..
                } => {
                    follow_cluster(&dispatcher, cluster);
                }
                Event::Removed(Object::Node(node)) => dispatcher.sessions().forget(&node.id),
                _ => {}
            }
        }
        dispatcher.router.pass(&commit);
    }
}

/// Most writes of the cluster object change nothing that nodes are told.
fn follow_cluster(dispatcher: &Dispatcher, cluster: &Cluster) {
    dispatcher.sessions().set_timing(Timing::of(Some(cluster)));
    let info = ClusterInfo::of(Some(cluster));
    dispatcher.cluster.send_if_modified(|known| {
        let changed = **known != info;
        if changed {
            *known = Arc::new(info);
        }
        changed
    });
}
