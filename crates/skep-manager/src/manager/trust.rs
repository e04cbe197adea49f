//! What the check of callers asks of this manager.

use skep_rpc::{ClusterTrust, NodeIdentity};

use crate::slot::LateStore;

/// The cluster as this manager's store has it.
#[derive(Debug)]
pub struct StoreTrust {
    pub(super) identity: NodeIdentity,
    pub(super) advertise_addr: String,
    pub(super) store: LateStore,
}

impl ClusterTrust for StoreTrust {
    fn cluster_id(&self) -> String {
        self.identity.cluster_id().to_owned()
    }

    fn node_id(&self) -> String {
        self.identity.node_id().to_owned()
    }

    fn is_blacklisted(&self, node_id: &str) -> bool {
        let Ok(store) = self.store.get() else {
            return false;
        };
        let view = store.view();
        let cluster = view.the_cluster();
        cluster.is_some_and(|cluster| cluster.blacklisted_certificates.contains_key(node_id))
    }

    fn advertise_addr(&self) -> Option<String> {
        Some(self.advertise_addr.clone())
    }
}
