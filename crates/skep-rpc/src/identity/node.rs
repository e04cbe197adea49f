//! The identity that a running node acts with. It can change at any moment (renewal, promotion,
//! root rotation): users take [`NodeIdentity::current`] for each connection, and watch for changes.

use std::fmt;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use skep_objects::swarmkit::{NodeRole, NodeTlsInfo};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{NodeCertificate, NodeKey, RootBundle};
use crate::tls::{self, TlsError};

/// One consistent set of key, certificate and roots, with the TLS settings made from it.
pub struct Credentials {
    key: NodeKey,
    certificate: NodeCertificate,
    roots: RootBundle,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Credentials {
    /// Puts key, certificate and roots together; refuses a key that is not the certificate's.
    pub fn new(
        key: NodeKey,
        certificate: NodeCertificate,
        roots: RootBundle,
    ) -> Result<Self, TlsError> {
        let server = tls::server_config(&key, &certificate, &roots)?;
        let client = tls::client_config(&key, &certificate, &roots)?;
        Ok(Self {
            key,
            certificate,
            roots,
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }

    /// The private key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The chain.
    pub fn certificate(&self) -> &NodeCertificate {
        &self.certificate
    }

    /// What is trusted.
    pub fn roots(&self) -> &RootBundle {
        &self.roots
    }

    /// For a listener.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For dialling a manager.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// What a node tells its manager about its certificate.
    pub fn tls_info(&self) -> NodeTlsInfo {
        let issuer = self.roots.issuer_of(&self.certificate).unwrap_or_default();
        NodeTlsInfo {
            trust_root: self.roots.pem().to_vec(),
            cert_issuer_subject: issuer.subject,
            cert_issuer_public_key: issuer.public_key,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("node.id", &self.certificate.node_id())
            .field("role", &self.certificate.role())
            .finish_non_exhaustive()
    }
}

/// A handle to the live credentials; clones share them.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    node_id: Arc<str>,
    cluster_id: Arc<str>,
    current: Arc<watch::Sender<Arc<Credentials>>>,
}

impl NodeIdentity {
    /// A live identity that starts with the given credentials.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            node_id: credentials.certificate.node_id().into(),
            cluster_id: credentials.certificate.cluster_id().into(),
            current: Arc::new(watch::Sender::new(Arc::new(credentials))),
        }
    }

    /// Never changes in a node's life.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Never changes in a node's life.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// As the certificate says.
    pub fn role(&self) -> NodeRole {
        self.current.borrow().certificate.role()
    }

    /// The credentials to use for what starts now.
    pub fn current(&self) -> Arc<Credentials> {
        Arc::clone(&self.current.borrow())
    }

    /// Marks every change of certificate or roots.
    pub fn watch(&self) -> watch::Receiver<Arc<Credentials>> {
        self.current.subscribe()
    }

    /// Puts new credentials in place; connections made from now on use them.
    pub fn replace(&self, credentials: Credentials) {
        self.current.send_replace(Arc::new(credentials));
    }

    /// Whether the certificate is past its end.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.current.borrow().certificate.is_expired(now)
    }
}
