//! Join tokens: `SWMTKN-1-<digest of the root bundle>-<secret>`, both in base 36.
//!
//! The digest covers every byte of the bundle, so nobody in the middle can add a root to it.

use std::fmt;

use rand::RngCore;
use sha2::{Digest, Sha256};

use super::base36;

const DIGEST_WIDTH: usize = 50;
const SECRET_WIDTH: usize = 25;
const SECRET_BYTES: usize = 16;

/// Why a join token cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not of the form of a token.
    #[error("invalid join token")]
    Malformed,
}

impl TokenError {
    /// The kind of this error, for status codes.
    pub fn kind(&self) -> skep_objects::ErrorKind {
        skep_objects::ErrorKind::InvalidArgument
    }
}

/// SHA-256 over the exact bytes of a root CA bundle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RootDigest([u8; 32]);

impl RootDigest {
    /// The digest of a bundle.
    pub fn of(bundle_pem: &[u8]) -> Self {
        Self(Sha256::digest(bundle_pem).into())
    }

    /// As in Cluster.root_ca.ca_cert_hash: `sha256:<hex>`.
    pub fn to_hash_string(&self) -> String {
        let mut out = String::from("sha256:");
        for byte in self.0 {
            use fmt::Write;
            let _ = write!(out, "{byte:02x}");
        }
        out
    }
}

impl fmt::Debug for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hash_string())
    }
}

/// A parsed join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    digest: RootDigest,
    secret: String,
    /// Set by tokens of form 2, which only mandatory-FIPS clusters make.
    fips: Option<bool>,
}

impl JoinToken {
    /// A new token with a random secret for the given root bundle.
    pub fn generate(root_bundle_pem: &[u8]) -> Self {
        let mut secret = [0u8; SECRET_BYTES];
        rand::rng().fill_bytes(&mut secret);
        Self {
            digest: RootDigest::of(root_bundle_pem),
            secret: base36::encode(&secret, SECRET_WIDTH),
            fips: None,
        }
    }

    /// Reads a token of form 1 or 2.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.split('-').collect();
        let (fips, digest, secret) = match parts[..] {
            ["SWMTKN", "1", digest, secret] => (None, digest, secret),
            ["SWMTKN", "2", "0", digest, secret] => (Some(false), digest, secret),
            ["SWMTKN", "2", "1", digest, secret] => (Some(true), digest, secret),
            _ => return Err(TokenError::Malformed),
        };
        if digest.len() != DIGEST_WIDTH || secret.len() != SECRET_WIDTH {
            return Err(TokenError::Malformed);
        }
        base36::decode(secret, SECRET_BYTES).ok_or(TokenError::Malformed)?;
        let digest = base36::decode(digest, 32).ok_or(TokenError::Malformed)?;
        let digest: [u8; 32] = digest.try_into().map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            digest: RootDigest(digest),
            secret: secret.to_owned(),
            fips,
        })
    }

    /// Whether the bundle is the one this token was made for.
    pub fn matches(&self, root_bundle_pem: &[u8]) -> bool {
        self.digest == RootDigest::of(root_bundle_pem)
    }

    /// The digest of the root bundle that this token trusts.
    pub fn digest(&self) -> RootDigest {
        self.digest
    }
}

/// The whole token, to be given to somebody who may join.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = base36::encode(&self.digest.0, DIGEST_WIDTH);
        match self.fips {
            None => write!(f, "SWMTKN-1-{digest}-{}", self.secret),
            Some(fips) => write!(f, "SWMTKN-2-{}-{digest}-{}", u8::from(fips), self.secret),
        }
    }
}

/// The secret stays out of logs.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: &str =
        "SWMTKN-1-4zyj306i0vh14pn7cmllkk8c0h8u0b4tuv6d2gvgbvza9ywy60-bakt1su5p2wmjcu9pfj71w6h8";

    #[test]
    fn a_token_of_dockerd_matches_its_root() {
        let root = include_bytes!("../../tests/golden/swarm-root-ca.crt");
        let token = JoinToken::parse(WORKER).unwrap();
        assert!(token.matches(root));
        assert_eq!(token.to_string(), WORKER);
        let mut altered = root.to_vec();
        altered.push(b'\n');
        assert!(!token.matches(&altered));
    }

    #[test]
    fn new_tokens_parse_and_differ() {
        let (a, b) = (JoinToken::generate(b"root"), JoinToken::generate(b"root"));
        assert_ne!(a, b);
        assert_eq!(JoinToken::parse(&a.to_string()).unwrap(), a);
        assert!(a.matches(b"root"));
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "",
            "SWMTKN-1-abc-def",
            "SWMTKN-3-a-b",
            &WORKER[..80],
            &WORKER.to_uppercase(),
        ] {
            assert!(JoinToken::parse(text).is_err(), "{text}");
        }
    }
}
