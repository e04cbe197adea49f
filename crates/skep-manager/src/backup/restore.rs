//! A swarm made again from a backup.
//!
//! The managers of the old swarm are nodes that were removed: nobody but the restoring node is in
//! the new quorum, and an old manager that came back with its certificate would be a rival. They
//! enter again by joining. Workers stay what they were.

use std::collections::BTreeSet;

use prost::Message;
use skep_objects::ErrorKind;
use skep_objects::swarmkit::{
    BlacklistedCertificate, Cluster, Node, NodeRole, StoreSnapshot, Task, TaskState,
};
use skep_objects::timestamp::timestamp;
use skep_store::{Store, StoreObject, Tx, TxError, UpdateError};

use crate::ca::expiry::certificate_expiry;

/// Changes in one entry of the log.
const MAX_CHANGES: usize = 200;
/// Bytes of objects in one entry of the log, unless a single one is larger.
const MAX_BYTES: usize = 768 << 10;

/// Why a swarm cannot be made from a backup.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no swarm in it.
    #[error("backup holds no swarm")]
    NoCluster,
    /// The new manager could not sign its own certificate.
    #[error(
        "backup does not hold the key of the swarm's CA, which an external CA keeps: a new manager \
         cannot be certified without it"
    )]
    NoSigningKey,
    /// The store takes no writes.
    #[error("write the backup's objects: {0}")]
    Write(String),
}

impl RestoreError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCluster | Self::NoSigningKey => ErrorKind::InvalidArgument,
            Self::Write(_) => ErrorKind::Internal,
        }
    }
}

/// What the new swarm begins with.
#[derive(Clone, PartialEq)]
pub struct Restoration {
    snapshot: StoreSnapshot,
}

/// There are keys in it.
impl std::fmt::Debug for Restoration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Restoration(..)")
    }
}

impl Restoration {
    /// Takes the old managers out.
    pub fn prepare(mut snapshot: StoreSnapshot) -> Result<Self, RestoreError> {
        let cluster = snapshot
            .clusters
            .first_mut()
            .ok_or(RestoreError::NoCluster)?;
        if root_key(cluster).is_empty() {
            return Err(RestoreError::NoSigningKey);
        }
        let mut gone = BTreeSet::new();
        for node in snapshot.nodes.iter().filter(|node| was_manager(node)) {
            let certificate = node.certificate.as_ref();
            let expiry = certificate.and_then(|c| certificate_expiry(&c.certificate));
            let entry = BlacklistedCertificate {
                expiry: expiry.map(timestamp),
            };
            cluster
                .blacklisted_certificates
                .insert(node.id.clone(), entry);
            gone.insert(node.id.clone());
        }
        snapshot.nodes.retain(|node| !gone.contains(&node.id));
        for task in &mut snapshot.tasks {
            if gone.contains(task.node_id.as_str()) {
                orphan(task);
            }
        }
        Ok(Self { snapshot })
    }

    fn cluster(&self) -> &Cluster {
        &self.snapshot.clusters[0]
    }

    /// The swarm's id, which is in every certificate.
    pub fn cluster_id(&self) -> &str {
        &self.cluster().id
    }

    /// The root's certificate, PEM.
    pub fn root_cert(&self) -> &[u8] {
        let root = self.cluster().root_ca.as_ref();
        root.map_or(&[], |root| &root.ca_cert)
    }

    /// The root's key, PEM.
    pub fn root_key(&self) -> &[u8] {
        root_key(self.cluster())
    }

    /// Writes everything. The cluster object, which makes the swarm one, comes last.
    pub(crate) async fn write(&self, store: &Store) -> Result<(), RestoreError> {
        let all = &self.snapshot;
        put(store, &all.extensions).await?;
        put(store, &all.resources).await?;
        put(store, &all.networks).await?;
        put(store, &all.secrets).await?;
        put(store, &all.configs).await?;
        put(store, &all.volumes).await?;
        put(store, &all.nodes).await?;
        put(store, &all.services).await?;
        put(store, &all.tasks).await?;
        put(store, &all.clusters).await
    }
}

fn root_key(cluster: &Cluster) -> &[u8] {
    cluster.root_ca.as_ref().map_or(&[], |root| &root.ca_key)
}

fn was_manager(node: &Node) -> bool {
    let wanted = node.spec.as_ref().map(|spec| spec.desired_role());
    node.role() == NodeRole::Manager || wanted == Some(NodeRole::Manager)
}

/// What a task becomes whose node was removed.
fn orphan(task: &mut Task) {
    let status = task.status.get_or_insert_default();
    if status.state < TaskState::Complete as i32 {
        status.state = TaskState::Orphaned.into();
        status.message = "Task belonged to a manager of the swarm before it was restored".into();
    }
}

async fn put<T: StoreObject + Message>(store: &Store, objects: &[T]) -> Result<(), RestoreError> {
    let mut rest = objects;
    while !rest.is_empty() {
        let (mut count, mut bytes) = (0, 0);
        for object in rest.iter().take(MAX_CHANGES) {
            bytes += object.encoded_len();
            if count > 0 && bytes > MAX_BYTES {
                break;
            }
            count += 1;
        }
        let (now, later) = rest.split_at(count);
        rest = later;
        let write = |tx: &mut Tx| -> Result<(), TxError> {
            now.iter()
                .try_for_each(|object| tx.restore(object.clone()).map(|_| ()))
        };
        store.update(write).await.map_err(|error| {
            RestoreError::Write(match error {
                UpdateError::Refused(error) => error.to_string(),
                UpdateError::Commit(error) => error.to_string(),
            })
        })?;
    }
    Ok(())
}
