//! Who signs at the moment: the root, or during a rotation the root to come.

use skep_objects::{
    swarmkit::{Certificate, Cluster, Node, NodeRole},
    timestamp::duration,
};
use skep_rpc::identity::{Csr, KeyError, NodeCertificateRequest, RootError, SigningRoot};
use time::{Duration, OffsetDateTime};

use crate::defaults::NODE_CERT_EXPIRY;

/// Why no certificate came about.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No key is here, and no external CA signs: to be tried again.
    #[error("no valid signer found")]
    NoSigner,
    /// The external CA gave none: to be tried again.
    #[error("{0}")]
    External(String),
    /// The root in the store is unusable.
    #[error(transparent)]
    Root(#[from] RootError),
    /// What the node sent is no signing request.
    #[error(transparent)]
    Csr(#[from] KeyError),
}

impl SignError {
    /// Whether it may go better later, without the node asking again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NoSigner | Self::External(_))
    }
}

/// The root that signs now.
pub fn current_signer(cluster: &Cluster) -> Result<SigningRoot, SignError> {
    let root = cluster.root_ca.as_ref().ok_or(SignError::NoSigner)?;
    let (cert, key, intermediates) = match &root.root_rotation {
        Some(rotation) => (
            &rotation.ca_cert,
            &rotation.ca_key,
            rotation.cross_signed_ca_cert.as_slice(),
        ),
        None => (&root.ca_cert, &root.ca_key, &[][..]),
    };
    if key.is_empty() {
        return Err(SignError::NoSigner);
    }
    Ok(SigningRoot::new(cert, key, intermediates)?)
}

/// How long a node's certificate lives.
pub fn certificate_life(cluster: &Cluster) -> Duration {
    let config = cluster
        .spec
        .as_ref()
        .and_then(|spec| spec.ca_config.as_ref());
    let life = config
        .and_then(|config| config.node_cert_expiry.as_ref())
        .map(duration);
    let life = life.unwrap_or(NODE_CERT_EXPIRY);
    Duration::try_from(life).unwrap_or(Duration::MAX)
}

/// Signs the request that a node's certificate holds; answers the chain as PEM.
pub fn sign(
    signer: &SigningRoot,
    cluster: &Cluster,
    node: &Node,
    certificate: &Certificate,
    now: OffsetDateTime,
) -> Result<Vec<u8>, SignError> {
    let csr = Csr::parse(&certificate.csr)?;
    let role = NodeRole::try_from(certificate.role).unwrap_or(NodeRole::Worker);
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: &node.id,
        role,
        cluster_id: &cluster.id,
        life: certificate_life(cluster),
    };
    Ok(signer.sign(&request, now)?)
}
