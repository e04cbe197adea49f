//! The swarm's objects for people to read, in a dump: as the API shows them.

use serde_json::{Value, json};
use skep_objects::swarmkit::StoreSnapshot;

use crate::http::convert::{network, node, secret, service, swarm, task};

/// As the API shows them. Values that are nobody's business are left out by whoever hands this on.
pub(super) fn readable(snapshot: &StoreSnapshot) -> Value {
    fn list<T, S: serde::Serialize>(all: &[T], show: impl Fn(&T) -> S) -> Value {
        let shown = all.iter().map(|one| serde_json::to_value(show(one)));
        shown.filter_map(Result::ok).collect()
    }
    json!({
        "Cluster": list(&snapshot.clusters, swarm::from_cluster_info),
        "Nodes": list(&snapshot.nodes, node::from_node),
        "Services": list(&snapshot.services, service::from_service),
        "Tasks": list(&snapshot.tasks, task::from_task),
        "Networks": list(&snapshot.networks, network::from_network),
        "Secrets": list(&snapshot.secrets, secret::from_secret),
        "Configs": list(&snapshot.configs, secret::from_config),
    })
}
