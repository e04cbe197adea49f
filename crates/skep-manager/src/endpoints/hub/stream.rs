//! What one stream has yet to be told.

use std::collections::{BTreeMap, BTreeSet};

use skep_objects::skep_v1::{EndpointsMessage, NetworkEndpoints};

use crate::endpoints::table::NetworkTable;

/// Messages that may be under way to a node, not acknowledged yet.
const WINDOW: u64 = 4;

/// What a stream has yet to be told of a network.
#[derive(Debug)]
pub(super) enum Pending {
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
pub(super) enum Change<'a> {
    Service(&'a str),
    Task(&'a str),
    Node(&'a str),
}

/// A node's stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub node: String,
    pub follows: BTreeSet<String>,
    pub pending: BTreeMap<String, Pending>,
    pub drained: BTreeSet<String>,
    /// Nothing has been sent yet: the first message is complete.
    pub fresh: bool,
    pub sent: u64,
    pub acknowledged: u64,
}

impl Stream {
    /// Whether so much is under way already that the next message waits.
    pub fn is_full(&self) -> bool {
        self.sent - self.acknowledged >= WINDOW
    }

    pub fn note(&mut self, network: &str, change: Change<'_>) {
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

    /// The next message: what the tables have now of all that changed.
    pub fn message(&mut self, tables: &BTreeMap<String, NetworkTable>) -> EndpointsMessage {
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
