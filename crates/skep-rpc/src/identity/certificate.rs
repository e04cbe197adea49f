//! A node's certificate: the chain as it is on disk and on the wire, and what its subject says.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_objects::swarmkit::NodeRole;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// OU of a worker.
pub const OU_WORKER: &str = "swarm-worker";
/// OU of a manager, and the server name that a client expects of one.
pub const OU_MANAGER: &str = "swarm-manager";
/// Server name for the first certificate: only managers have it among their names.
pub const SAN_CA: &str = "swarm-ca";

/// Why a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is no certificate in the PEM text.
    #[error("no certificate in PEM")]
    Empty,
    /// The DER is broken.
    #[error("invalid certificate: {0}")]
    Parse(String),
    /// The subject lacks a part.
    #[error("certificate subject has no {0}")]
    Subject(&'static str),
    /// The OU is neither worker nor manager.
    #[error("certificate has unknown role {0:?}")]
    Role(String),
}

/// A certificate chain, leaf first, with the leaf's names read out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCertificate {
    pem: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    node_id: String,
    role: NodeRole,
    cluster_id: String,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// What a node says about its issuer in its description (NodeTLSInfo).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IssuerInfo {
    /// DER of the issuer's subject.
    pub subject: Vec<u8>,
    /// DER of the issuer's SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
}

impl NodeCertificate {
    /// Reads a PEM chain, leaf first.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|e| CertificateError::Parse(e.to_string()))?;
        let leaf = chain.first().ok_or(CertificateError::Empty)?.clone();
        let names = Names::read(&leaf)?;
        Ok(Self {
            pem: pem.to_vec(),
            chain,
            node_id: names.node_id,
            role: names.role,
            cluster_id: names.cluster_id,
            not_before: names.not_before,
            not_after: names.not_after,
        })
    }

    /// The PEM chain as given.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// Leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// CN.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// OU.
    pub fn role(&self) -> NodeRole {
        self.role
    }

    /// O.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Start of its validity.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// End of its validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether it is past its end.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        now > self.not_after
    }

    /// When to renew: at `fraction` (0 to 1) between half and four fifths of its whole life.
    pub fn renewal_time(&self, fraction: f64) -> OffsetDateTime {
        let life = self.not_after - self.not_before;
        self.not_before + life * (0.5 + 0.3 * fraction.clamp(0.0, 1.0))
    }

    /// DER of the issuer's subject, from the leaf.
    pub fn issuer_subject(&self) -> Result<Vec<u8>, CertificateError> {
        let leaf = self.chain.first().ok_or(CertificateError::Empty)?;
        let (_, cert) =
            X509Certificate::from_der(leaf).map_err(|e| CertificateError::Parse(e.to_string()))?;
        Ok(cert.issuer().as_raw().to_vec())
    }
}

/// What a leaf's subject and validity say; also read from a TLS peer's certificate.
pub(crate) struct Names {
    pub(crate) node_id: String,
    pub(crate) role: NodeRole,
    pub(crate) cluster_id: String,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl Names {
    pub(crate) fn read(leaf: &[u8]) -> Result<Self, CertificateError> {
        let (_, cert) =
            X509Certificate::from_der(leaf).map_err(|e| CertificateError::Parse(e.to_string()))?;
        let subject = cert.subject();
        let text = |attribute: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>, what| {
            let value = attribute.and_then(|a| a.as_str().ok()).map(str::to_owned);
            value.ok_or(CertificateError::Subject(what))
        };
        let node_id = text(subject.iter_common_name().next(), "CN")?;
        let ou = text(subject.iter_organizational_unit().next(), "OU")?;
        let cluster_id = text(subject.iter_organization().next(), "O")?;
        let validity = cert.validity();
        Ok(Self {
            node_id,
            role: role_of_ou(&ou).ok_or(CertificateError::Role(ou))?,
            cluster_id,
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
        })
    }
}

/// The role that an OU stands for.
pub(crate) fn role_of_ou(ou: &str) -> Option<NodeRole> {
    match ou {
        OU_WORKER => Some(NodeRole::Worker),
        OU_MANAGER => Some(NodeRole::Manager),
        _ => None,
    }
}

/// The OU of a role.
pub(crate) fn ou_of_role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => OU_WORKER,
        NodeRole::Manager => OU_MANAGER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_dockerd_is_read() {
        let pem = include_bytes!("../../tests/golden/swarm-node.crt");
        let cert = NodeCertificate::from_pem(pem).unwrap();
        assert_eq!(cert.node_id(), "njm4rxktzlj3lr7se4b4frtql");
        assert_eq!(cert.cluster_id(), "vmpma92ygl188n9qjivw63gsb");
        assert_eq!(cert.role(), NodeRole::Manager);
        let life = cert.not_after() - cert.not_before();
        assert_eq!(life.whole_hours(), 2161);
        assert_eq!(
            (cert.renewal_time(0.0) - cert.not_before()).whole_minutes(),
            2161 * 30
        );
    }
}
