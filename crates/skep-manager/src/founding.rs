//! The first manager of a new swarm makes its own root and signs for itself.

use skep_objects::{ids::new_id, swarmkit::NodeRole};
use skep_rpc::{
    identity::{
        CertificateError, Credentials, KeyError, NodeCertificate, NodeCertificateRequest, NodeKey,
        RootBundle, RootError, SigningRoot,
    },
    tls::TlsError,
};
use time::{Duration, OffsetDateTime};

/// Why no root or certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// No root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate does not read back.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS does not take it.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What a founder has before its manager runs.
#[derive(Debug)]
pub struct Founding {
    /// The root's certificate, PEM.
    pub root_cert: Vec<u8>,
    /// The root's key, PEM; the cluster object keeps it.
    pub root_key: Vec<u8>,
    /// Of the founding node, a manager.
    pub credentials: Credentials,
}

/// Founds a swarm: new ids for cluster and node, a new root unless one is given.
pub fn found(
    given: Option<SigningRoot>,
    life: Duration,
    now: OffsetDateTime,
) -> Result<Founding, FoundingError> {
    let root = given.map_or_else(|| SigningRoot::create(now), Ok)?;
    let key = NodeKey::generate()?;
    let csr = key.csr()?;
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: &new_id(),
        role: NodeRole::Manager,
        cluster_id: &new_id(),
        life,
    };
    let certificate = NodeCertificate::from_pem(&root.sign(&request, now)?)?;
    let roots = RootBundle::from_pem(root.cert_pem())?;
    Ok(Founding {
        root_cert: root.cert_pem().to_vec(),
        root_key: root.key_pem().into_bytes(),
        credentials: Credentials::new(key, certificate, roots)?,
    })
}
