//! Private keys and certificate signing requests.

use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// Why a key or signing request cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The PEM text holds no private key.
    #[error("no private key in PEM")]
    NoKey,
    /// The key is of a kind that certificates here are not made with.
    #[error("unsupported private key: {0}")]
    Unsupported(#[source] rcgen::Error),
    /// A new key or request could not be made.
    #[error("generate key: {0}")]
    Generate(#[source] rcgen::Error),
    /// The request is not a PEM `CERTIFICATE REQUEST` that verifies.
    #[error("invalid certificate signing request: {0}")]
    Csr(String),
}

/// A node's or a root's private key, kept as PKCS#8.
pub struct NodeKey {
    pair: KeyPair,
}

impl NodeKey {
    /// A new ECDSA P-256 key.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Generate)?;
        Ok(Self { pair })
    }

    /// Reads PKCS#8, SEC 1 or PKCS#1 PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoKey)?;
        let pkcs8 = match der {
            PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
            PrivateKeyDer::Sec1(key) => wrap_sec1(key.secret_sec1_der()),
            PrivateKeyDer::Pkcs1(key) => wrap_pkcs1(key.secret_pkcs1_der()),
            _ => return Err(KeyError::NoKey),
        };
        Self::from_pkcs8(pkcs8)
    }

    /// Reads PKCS#8 DER.
    pub fn from_pkcs8(der: Vec<u8>) -> Result<Self, KeyError> {
        let pair = KeyPair::try_from(der).map_err(KeyError::Unsupported)?;
        Ok(Self { pair })
    }

    /// PKCS#8 PEM.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem().replace("\r\n", "\n")
    }

    /// PKCS#8 DER.
    pub fn pkcs8_der(&self) -> &[u8] {
        self.pair.serialized_der()
    }

    /// For rustls.
    pub fn private_key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8_der().to_vec()))
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn public_key_der(&self) -> Vec<u8> {
        use rcgen::PublicKeyData;
        self.pair.subject_public_key_info()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// A signing request for this key with an empty subject: the CA puts in the names it knows.
    pub fn csr(&self) -> Result<Csr, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(&self.pair)
            .map_err(KeyError::Generate)?;
        let pem = request
            .pem()
            .map_err(KeyError::Generate)?
            .replace("\r\n", "\n");
        Ok(Csr {
            pem: pem.into_bytes(),
            public_key: self.public_key_der(),
        })
    }
}

/// Keys stay out of logs.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// A certificate signing request whose own signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    pem: Vec<u8>,
    public_key: Vec<u8>,
}

impl Csr {
    /// Reads a PEM `CERTIFICATE REQUEST`; only its public key is used later.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let (_, block) =
            x509_parser::pem::parse_x509_pem(pem).map_err(|e| KeyError::Csr(e.to_string()))?;
        if !matches!(
            block.label.as_str(),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"
        ) {
            return Err(KeyError::Csr(format!(
                "unexpected PEM block {}",
                block.label
            )));
        }
        let (_, request) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|e| KeyError::Csr(e.to_string()))?;
        request
            .verify_signature()
            .map_err(|e| KeyError::Csr(e.to_string()))?;
        let public_key = request.certification_request_info.subject_pki.raw.to_vec();
        SubjectPublicKeyInfo::from_der(&public_key).map_err(KeyError::Unsupported)?;
        Ok(Self {
            pem: pem.to_vec(),
            public_key,
        })
    }

    /// The exact bytes that go over the wire.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    pub(super) fn spki(&self) -> Result<SubjectPublicKeyInfo, KeyError> {
        SubjectPublicKeyInfo::from_der(&self.public_key).map_err(KeyError::Unsupported)
    }
}

/// One DER element: tag, definite length, content.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len().to_be_bytes();
    let significant: Vec<u8> = len.iter().copied().skip_while(|b| *b == 0).collect();
    match significant[..] {
        [] => out.push(0),
        [short] if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

const OID_EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
];

/// PKCS#8 (RFC 5208) around an ECPrivateKey (RFC 5915); what `openssl ecparam -genkey` writes.
fn wrap_sec1(sec1: &[u8]) -> Vec<u8> {
    let is_p384 = sec1.windows(OID_P384.len()).any(|w| w == OID_P384);
    let curve = if is_p384 { OID_P384 } else { OID_P256 };
    pkcs8(&[OID_EC, curve].concat(), sec1)
}

/// PKCS#8 around an RSAPrivateKey (RFC 8017).
fn wrap_pkcs1(pkcs1: &[u8]) -> Vec<u8> {
    pkcs8(&[OID_RSA, &[0x05, 0x00]].concat(), pkcs1)
}

fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    tlv(
        0x30,
        &[
            &[0x02, 0x01, 0x00][..],
            &tlv(0x30, algorithm),
            &tlv(0x04, key),
        ]
        .concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_pem() {
        let key = NodeKey::generate().unwrap();
        let again = NodeKey::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(again.public_key_der(), key.public_key_der());
    }

    #[test]
    fn a_request_carries_only_the_public_key() {
        let key = NodeKey::generate().unwrap();
        let csr = Csr::parse(key.csr().unwrap().pem()).unwrap();
        assert_eq!(csr.public_key_der(), key.public_key_der());
    }

    #[test]
    fn an_altered_request_is_refused() {
        let pem = NodeKey::generate().unwrap().csr().unwrap().pem().to_vec();
        let text = String::from_utf8(pem).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut altered: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let last = altered.len() - 2;
        altered[last] = altered[last].chars().rev().collect();
        assert!(Csr::parse(altered.join("\n").as_bytes()).is_err());
        assert!(Csr::parse(b"nothing").is_err());
    }

    #[test]
    fn a_sec1_key_is_read() {
        // Made with: openssl ecparam -name prime256v1 -genkey -noout
        let pem = include_bytes!("../../tests/golden/sec1.key");
        assert!(NodeKey::from_pem(pem).is_ok());
    }
}
