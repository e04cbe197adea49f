//! Roots of trust: the bundle a node trusts, and the key that signs for a cluster.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use rcgen::string::PrintableString;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use ring::digest;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use skep_objects::swarmkit::NodeRole;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{IssuerInfo, NodeCertificate, SAN_CA, ou_of_role};
use super::keys::{Csr, KeyError, NodeKey};
use super::token::RootDigest;

/// Life of a new root: 20 years.
pub const ROOT_LIFE: Duration = Duration::seconds(630_720_000);
/// Default life of a node certificate: 90 days.
pub const NODE_LIFE: Duration = Duration::hours(2160);
/// A shorter life than this falls back to the default.
pub const MIN_NODE_LIFE: Duration = Duration::hours(1);
const ROOT_BACKDATE: Duration = Duration::minutes(5);
const NODE_BACKDATE: Duration = Duration::hours(1);

/// Why a root cannot be used, or a certificate not be signed or trusted.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The PEM text has no certificate.
    #[error("no valid root CA certificates found")]
    Empty,
    /// A certificate is broken.
    #[error("invalid certificate: {0}")]
    Parse(String),
    /// The key is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Key and certificate are not of one pair.
    #[error("certificate key mismatch")]
    Mismatch,
    /// Signing failed.
    #[error("sign certificate: {0}")]
    Sign(#[source] rcgen::Error),
    /// The certificate does not lead to a root of the bundle, or is out of its validity.
    #[error("x509: {0}")]
    Untrusted(webpki::Error),
    /// A subject that cannot be written again exactly as it was.
    #[error("unsupported subject in root certificate")]
    Subject,
}

/// The certificates that a node trusts, as the exact PEM bytes they came in.
#[derive(Clone, Debug)]
pub struct RootBundle {
    pem: Vec<u8>,
    certs: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl PartialEq for RootBundle {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl RootBundle {
    /// Reads a bundle of one or more CA certificates.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootError> {
        let certs: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|e| RootError::Parse(e.to_string()))?;
        if certs.is_empty() {
            return Err(RootError::Empty);
        }
        let mut store = RootCertStore::empty();
        for cert in &certs {
            store
                .add(cert.clone())
                .map_err(|e| RootError::Parse(e.to_string()))?;
        }
        Ok(Self {
            pem: pem.to_vec(),
            certs,
            store: Arc::new(store),
        })
    }

    /// The exact bytes.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// Certificates in their order.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certs
    }

    /// For rustls.
    pub fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }

    /// As join tokens hold it.
    pub fn digest(&self) -> RootDigest {
        RootDigest::of(&self.pem)
    }

    /// Checks that the chain leads here and is valid now.
    pub fn validate(&self, cert: &NodeCertificate, now: OffsetDateTime) -> Result<(), RootError> {
        let (leaf, intermediates) = cert.chain().split_first().ok_or(RootError::Empty)?;
        let end_entity = webpki::EndEntityCert::try_from(leaf).map_err(RootError::Untrusted)?;
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(StdDuration::from_secs(seconds));
        end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.store.roots,
                intermediates,
                now,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(RootError::Untrusted)?;
        Ok(())
    }

    /// Who signed the leaf: one of its own intermediates, or a root of this bundle.
    pub fn issuer_of(&self, cert: &NodeCertificate) -> Option<IssuerInfo> {
        let (leaf, intermediates) = cert.chain().split_first()?;
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        intermediates
            .iter()
            .chain(&self.certs)
            .find_map(|candidate| {
                let (_, issuer) = X509Certificate::from_der(candidate).ok()?;
                let signed = issuer.subject().as_raw() == leaf.issuer().as_raw()
                    && leaf.verify_signature(Some(issuer.public_key())).is_ok();
                signed.then(|| issuer_info(&issuer))
            })
    }

    /// Subject and public key of the first certificate: what converged nodes report as their issuer.
    pub fn first_as_issuer(&self) -> Option<IssuerInfo> {
        let (_, cert) = X509Certificate::from_der(self.certs.first()?).ok()?;
        Some(issuer_info(&cert))
    }

    /// The earliest end of validity of its certificates.
    pub fn not_after(&self) -> Option<OffsetDateTime> {
        let ends = self.certs.iter().filter_map(|der| {
            let (_, cert) = X509Certificate::from_der(der).ok()?;
            Some(cert.validity().not_after.to_datetime())
        });
        ends.min()
    }
}

fn issuer_info(cert: &X509Certificate<'_>) -> IssuerInfo {
    IssuerInfo {
        subject: cert.subject().as_raw().to_vec(),
        public_key: cert.public_key().raw.to_vec(),
    }
}

/// What the CA knows about the node it signs for.
#[derive(Clone, Debug)]
pub struct NodeCertificateRequest<'a> {
    /// Only the public key is taken from it.
    pub csr: &'a Csr,
    /// CN.
    pub node_id: &'a str,
    /// OU.
    pub role: NodeRole,
    /// O.
    pub cluster_id: &'a str,
    /// From now on; shorter than an hour means the default.
    pub life: Duration,
}

/// A root certificate with its key, and what goes after leaves that it signs.
#[derive(Debug)]
pub struct SigningRoot {
    cert_pem: Vec<u8>,
    cert_der: CertificateDer<'static>,
    key: NodeKey,
    intermediates: Vec<u8>,
}

impl SigningRoot {
    /// A new self-signed root `CN=swarm-ca`.
    pub fn create(now: OffsetDateTime) -> Result<Self, RootError> {
        let key = NodeKey::generate()?;
        let mut params = ca_params(&key.public_key_der());
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, printable(SAN_CA));
        params.not_before = now - ROOT_BACKDATE;
        params.not_after = params.not_before + ROOT_LIFE;
        let cert = params.self_signed(key.pair()).map_err(RootError::Sign)?;
        let cert_pem = pem_of(&cert);
        Ok(Self {
            cert_pem,
            cert_der: cert.der().clone(),
            key,
            intermediates: Vec::new(),
        })
    }

    /// Puts a given certificate and its key together. `intermediates` (PEM, may be empty) follow
    /// each leaf: the cross-signed root while a root rotation runs.
    pub fn new(cert_pem: &[u8], key_pem: &[u8], intermediates: &[u8]) -> Result<Self, RootError> {
        let cert_der = CertificateDer::from_pem_slice(cert_pem).map_err(|_| RootError::Empty)?;
        let key = NodeKey::from_pem(key_pem)?;
        let (_, cert) =
            X509Certificate::from_der(&cert_der).map_err(|e| RootError::Parse(e.to_string()))?;
        if cert.public_key().raw != key.public_key_der() {
            return Err(RootError::Mismatch);
        }
        Ok(Self {
            cert_pem: cert_pem.to_vec(),
            cert_der,
            key,
            intermediates: intermediates.to_vec(),
        })
    }

    /// The root certificate.
    pub fn cert_pem(&self) -> &[u8] {
        &self.cert_pem
    }

    /// The root's key, PKCS#8 PEM.
    pub fn key_pem(&self) -> String {
        self.key.to_pem()
    }

    /// Signs for a node; answers the PEM chain, leaf first.
    pub fn sign(
        &self,
        request: &NodeCertificateRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<Vec<u8>, RootError> {
        let life = if request.life < MIN_NODE_LIFE {
            NODE_LIFE
        } else {
            request.life
        };
        let ou = ou_of_role(request.role);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, printable(request.cluster_id));
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, printable(ou));
        params
            .distinguished_name
            .push(DnType::CommonName, printable(request.node_id));
        let mut names = vec![ou, request.node_id];
        if request.role == NodeRole::Manager {
            names.push(SAN_CA);
        }
        for name in names {
            let name = name.try_into().map_err(RootError::Sign)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = now - NODE_BACKDATE;
        params.not_after = now + life;
        params.serial_number = Some(random_serial());
        params.use_authority_key_identifier_extension = true;
        params.key_identifier_method = key_id(request.csr.public_key_der());
        let issuer = self.issuer()?;
        let cert = params
            .signed_by(&request.csr.spki()?, &issuer)
            .map_err(RootError::Sign)?;
        let mut chain = pem_of(&cert);
        chain.extend_from_slice(&self.intermediates);
        Ok(chain)
    }

    /// The other root's subject, key and validity under this root's signature.
    pub fn cross_sign(&self, other_cert_pem: &[u8]) -> Result<Vec<u8>, RootError> {
        let der = CertificateDer::from_pem_slice(other_cert_pem).map_err(|_| RootError::Empty)?;
        let (_, other) =
            X509Certificate::from_der(&der).map_err(|e| RootError::Parse(e.to_string()))?;
        let mut params = ca_params(other.public_key().raw);
        params.distinguished_name = copy_name(other.subject())?;
        params.not_before = other.validity().not_before.to_datetime();
        params.not_after = other.validity().not_after.to_datetime();
        params.use_authority_key_identifier_extension = true;
        for extension in other.extensions() {
            use x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier;
            if let SubjectKeyIdentifier(id) = extension.parsed_extension() {
                params.key_identifier_method = KeyIdMethod::PreSpecified(id.0.to_vec());
            }
        }
        let key = SubjectPublicKeyInfo::from_der(other.public_key().raw)
            .map_err(|e| RootError::Key(KeyError::Unsupported(e)))?;
        let cert = params
            .signed_by(&key, &self.issuer()?)
            .map_err(RootError::Sign)?;
        let (_, made) =
            X509Certificate::from_der(cert.der()).map_err(|e| RootError::Parse(e.to_string()))?;
        if made.subject().as_raw() != other.subject().as_raw() {
            return Err(RootError::Subject);
        }
        Ok(pem_of(&cert))
    }

    fn issuer(&self) -> Result<Issuer<'static, &rcgen::KeyPair>, RootError> {
        Issuer::from_ca_cert_der(&self.cert_der, self.key.pair()).map_err(RootError::Sign)
    }
}

fn ca_params(public_key_der: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = key_id(public_key_der);
    params.serial_number = Some(random_serial());
    params
}

/// SHA-1 of the public key's bits, as RFC 5280 §4.2.1.2 (1) and SwarmKit's certificates have it.
fn key_id(public_key_der: &[u8]) -> KeyIdMethod {
    let bits = x509_parser::x509::SubjectPublicKeyInfo::from_der(public_key_der)
        .map(|(_, key)| key.subject_public_key.data.to_vec())
        .unwrap_or_else(|_| public_key_der.to_vec());
    let id = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bits);
    KeyIdMethod::PreSpecified(id.as_ref().to_vec())
}

/// 159 random bits, positive and not starting with a zero byte.
fn random_serial() -> SerialNumber {
    let mut bytes: [u8; 20] = rand::random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn printable(text: &str) -> DnValue {
    match PrintableString::try_from(text) {
        Ok(text) => DnValue::PrintableString(text),
        Err(_) => DnValue::Utf8String(text.to_owned()),
    }
}

fn copy_name(name: &x509_parser::x509::X509Name<'_>) -> Result<DistinguishedName, RootError> {
    let mut copy = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        let oid: Vec<u64> = attribute
            .attr_type()
            .iter()
            .ok_or(RootError::Subject)?
            .collect();
        let text = attribute.as_str().map_err(|_| RootError::Subject)?;
        let is_printable = attribute.attr_value().header.tag().0 == 19;
        let value = if is_printable {
            printable(text)
        } else {
            DnValue::Utf8String(text.to_owned())
        };
        copy.push(DnType::from_oid(&oid), value);
    }
    Ok(copy)
}

fn pem_of(cert: &Certificate) -> Vec<u8> {
    cert.pem().replace("\r\n", "\n").into_bytes()
}

#[cfg(test)]
mod tests;
