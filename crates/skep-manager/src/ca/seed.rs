//! The root of a new swarm.

use skep_objects::swarmkit::RootCa;
use skep_rpc::identity::{RootDigest, RootError, SigningRoot};
use time::OffsetDateTime;

use super::tokens::new_tokens;

/// A new root with key and join tokens.
pub fn new_root_ca(now: OffsetDateTime) -> Result<RootCa, RootError> {
    Ok(root_ca_of(&SigningRoot::create(now)?))
}

/// What the cluster object holds of a root that this manager has the key of.
pub fn root_ca_of(root: &SigningRoot) -> RootCa {
    let cert = root.cert_pem();
    RootCa {
        ca_key: root.key_pem().into_bytes(),
        ca_cert: cert.to_vec(),
        ca_cert_hash: RootDigest::of(cert).to_hash_string(),
        join_tokens: Some(new_tokens(cert)),
        root_rotation: None,
        last_forced_rotation: 0,
    }
}
