//! What the cluster's spec says about raft, made effective on this member: how often there is a
//! snapshot, and how many entries are kept behind it. Election and heartbeat ticks are the program's
//! own: all members must agree on them, and they are not in the same unit as dockerd's.

use skep_objects::swarmkit::{Cluster, RaftConfig};
use skep_store::raft::{RaftNode, SnapshotPolicy};
use skep_store::{Event, Object, Store};

/// Follows the spec until the store is closed.
pub(super) async fn follow(store: Store, node: RaftNode) {
    let (view, mut watch) = store.watch();
    let mut known = None;
    if let Some(cluster) = view.the_cluster() {
        apply(cluster, &node, &mut known);
    }
    while let Some(event) = watch.recv().await {
        if let Event::Created(Object::Cluster(cluster))
        | Event::Updated {
            new: Object::Cluster(cluster),
            ..
        } = &event
        {
            apply(cluster, &node, &mut known);
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
