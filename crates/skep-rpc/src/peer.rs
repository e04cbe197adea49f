//! Who is at the other end of a connection, before anything was allowed.

use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;
use skep_objects::swarmkit::NodeRole;

use crate::identity::CertificateError;
use crate::identity::certificate::Names;

/// Put into every request's extensions by the server.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where it called from; none for a connection inside this process.
    pub remote_addr: Option<SocketAddr>,
    /// From its verified certificate; a node that is still joining has none.
    pub certificate: Option<PeerCertificate>,
    /// A connection inside this process: acts as this node.
    pub is_local: bool,
}

/// The names in a verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// CN.
    pub node_id: String,
    /// OU.
    pub role: NodeRole,
    /// O.
    pub cluster_id: String,
}

impl PeerCertificate {
    /// Reads the names of a leaf that TLS has verified.
    pub(crate) fn read(leaf: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let names = Names::read(leaf)?;
        Ok(Self {
            node_id: names.node_id,
            role: names.role,
            cluster_id: names.cluster_id,
        })
    }
}
