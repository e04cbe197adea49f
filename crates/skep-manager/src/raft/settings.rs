//! What the store says about raft, made effective on this member: how often there is a snapshot, how
//! many entries are kept behind it, and whether dockerd managers share the quorum. Election and
//! heartbeat ticks of the spec are the program's own: all members must agree on them, and they are not
//! in the same unit as dockerd's.

use skep_objects::DATA_PATH_LABEL;
use skep_objects::swarmkit::{Cluster, Node, NodeRole, RaftConfig};
use skep_store::raft::{RaftNode, SnapshotPolicy};
use skep_store::{Event, Object, Store, View};
use tracing::info;

/// Follows the store until it is closed.
pub(super) async fn follow(store: Store, node: RaftNode) {
    let (view, mut watch) = store.watch();
    let mut known = None;
    if let Some(cluster) = view.the_cluster() {
        apply(cluster, &node, &mut known);
    }
    let mut was_mixed = false;
    set_mixed(&node, is_mixed(&view), &mut was_mixed);
    while let Some(event) = watch.recv().await {
        match &event {
            Event::Created(Object::Cluster(cluster))
            | Event::Updated {
                new: Object::Cluster(cluster),
                ..
            } => apply(cluster, &node, &mut known),
            Event::Updated {
                old: Object::Node(old),
                new: Object::Node(new),
            } if is_foreign(old) != is_foreign(new) => {
                set_mixed(&node, is_mixed(&store.view()), &mut was_mixed);
            }
            Event::Created(Object::Node(changed)) | Event::Removed(Object::Node(changed))
                if is_foreign(changed) =>
            {
                set_mixed(&node, is_mixed(&store.view()), &mut was_mixed);
            }
            _ => {}
        }
    }
}

fn apply(cluster: &Cluster, node: &RaftNode, known: &mut Option<RaftConfig>) {
    let config = cluster.spec.as_ref().and_then(|spec| spec.raft);
    if let Some(config) = config.filter(|config| known.as_ref() != Some(config)) {
        if config.snapshot_interval > 0 {
            node.set_snapshot_policy(SnapshotPolicy {
                interval: config.snapshot_interval,
                keep_entries: config.log_entries_for_slow_followers,
                keep_snapshots: config.keep_old_snapshots,
            });
        }
        *known = Some(config);
    }
}

fn set_mixed(node: &RaftNode, is_mixed: bool, was_mixed: &mut bool) {
    if is_mixed != *was_mixed {
        *was_mixed = is_mixed;
        info!(is_mixed, "whether dockerd managers share the quorum");
        node.set_mixed(is_mixed);
    }
}

fn is_mixed(view: &View) -> bool {
    view.nodes().any(|node| is_foreign(node))
}

/// Whether a node is a manager, and no skep: those say where their data path is. One that has not
/// described itself yet is taken for a skep.
fn is_foreign(node: &Node) -> bool {
    let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
    node.role() == NodeRole::Manager
        && engine.is_some_and(|engine| !engine.labels.contains_key(DATA_PATH_LABEL))
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{EngineDescription, NodeDescription};

    use super::*;

    #[test]
    fn a_dockerd_manager_is_told_from_its_description() {
        let node = |role: NodeRole, labels: Option<&[&str]>| Node {
            role: role.into(),
            description: labels.map(|labels| NodeDescription {
                engine: Some(EngineDescription {
                    labels: labels
                        .iter()
                        .map(|label| ((*label).to_owned(), String::new()))
                        .collect(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(is_foreign(&node(NodeRole::Manager, Some(&["a"]))));
        assert!(!is_foreign(&node(
            NodeRole::Manager,
            Some(&[DATA_PATH_LABEL])
        )));
        assert!(!is_foreign(&node(NodeRole::Manager, None)), "not known yet");
        assert!(!is_foreign(&node(NodeRole::Worker, Some(&[]))));
    }
}
