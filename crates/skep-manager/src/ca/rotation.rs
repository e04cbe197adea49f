//! The start of a root rotation: which root the swarm should have, from what the user asked.
//!
//! While it runs, `RootCA.ca_cert` (what nodes trust) stays the old root. New certificates are
//! signed by the new key and carry the new root cross-signed by the old, so that those who trust
//! only the one and those who trust only the other accept them alike.

use prost_types::Timestamp;
use skep_objects::swarmkit::{CaConfig, Cluster, RootCa, RootRotation};
use skep_rpc::identity::{RootBundle, RootError, SigningRoot};
use time::{Duration, OffsetDateTime};

use super::expiry::date_time;

/// A root must be valid for at least this much longer.
const MIN_ROOT_LIFE: Duration = Duration::days(365);

/// Why the swarm cannot change to the root asked for.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A key alone signs nothing.
    #[error("if a signing CA key is provided, the signing CA cert must also be provided")]
    KeyWithoutCert,
    /// More than one certificate.
    #[error("the desired CA certificate cannot contain multiple certificates")]
    SeveralCerts,
    /// The root would soon have to be changed again.
    #[error("CA certificate expires too soon")]
    ExpiresTooSoon,
    /// The certificate was made for the key that the swarm has already.
    #[error("the desired CA certificate has the same key as the current one")]
    SameKey,
    /// Nobody could sign.
    #[error(
        "there must be at least one valid, reachable external CA corresponding to the {0} CA \
         certificate"
    )]
    NoSigner(&'static str),
    /// The old root's key is elsewhere: nothing can be cross-signed here.
    #[error("rotating from one external CA to a different external CA is not supported")]
    ExternalToExternal,
    /// The same, with a new root whose key is here.
    #[error(
        "the key of the current root CA is held by an external CA, so that it cannot vouch for another \
         root: give that key first, with --ca-cert and --ca-key of the current root"
    )]
    KeyElsewhere,
    /// Certificate or key are unusable.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Brings `root_ca` to where the spec's CA settings want it, starting or cancelling a rotation.
pub fn plan_root(cluster: &mut Cluster, now: Timestamp) -> Result<(), RotationError> {
    let config = cluster
        .spec
        .as_ref()
        .and_then(|spec| spec.ca_config.clone())
        .unwrap_or_default();
    let Some(root) = cluster.root_ca.as_mut() else {
        return Ok(());
    };
    let now = date_time(&now);
    if config.signing_ca_cert.is_empty() {
        if !config.signing_ca_key.is_empty() {
            return Err(RotationError::KeyWithoutCert);
        }
        if config.force_rotate != root.last_forced_rotation {
            let new = SigningRoot::create(now)?;
            start(root, new.cert_pem(), new.key_pem().as_bytes())?;
            root.last_forced_rotation = config.force_rotate;
        }
        return Ok(());
    }
    validate_desired(root, &config, now)?;
    let (cert, key) = (&config.signing_ca_cert, &config.signing_ca_key);
    if same_pem(&root.ca_cert, cert) {
        if !key.is_empty() {
            root.ca_key.clone_from(key);
        }
        root.root_rotation = None;
    } else if let Some(rotation) = current_target(root, cert) {
        rotation.ca_key.clone_from(key);
    } else {
        start(root, cert, key)?;
    }
    root.last_forced_rotation = config.force_rotate;
    Ok(())
}

fn validate_desired(
    root: &RootCa,
    config: &CaConfig,
    now: OffsetDateTime,
) -> Result<(), RotationError> {
    let bundle = RootBundle::from_pem(&config.signing_ca_cert)?;
    if bundle.certificates().len() != 1 {
        return Err(RotationError::SeveralCerts);
    }
    if bundle
        .not_after()
        .is_none_or(|end| end < now + MIN_ROOT_LIFE)
    {
        return Err(RotationError::ExpiresTooSoon);
    }
    if !config.signing_ca_key.is_empty() {
        SigningRoot::new(&config.signing_ca_cert, &config.signing_ca_key, &[])?;
    } else if !same_pem(&root.ca_cert, &config.signing_ca_cert)
        && !config
            .external_cas
            .iter()
            .any(|ca| same_pem(&ca.ca_cert, &config.signing_ca_cert))
    {
        return Err(RotationError::NoSigner("desired"));
    }
    let current = RootBundle::from_pem(&root.ca_cert)?;
    let key = |bundle: &RootBundle| bundle.first_as_issuer().map(|issuer| issuer.public_key);
    if !same_pem(&root.ca_cert, &config.signing_ca_cert) && key(&current) == key(&bundle) {
        return Err(RotationError::SameKey);
    }
    Ok(())
}

fn current_target<'a>(root: &'a mut RootCa, cert: &[u8]) -> Option<&'a mut RootRotation> {
    root.root_rotation
        .as_mut()
        .filter(|rotation| same_pem(&rotation.ca_cert, cert))
}

fn start(root: &mut RootCa, cert: &[u8], key: &[u8]) -> Result<(), RotationError> {
    if root.ca_key.is_empty() {
        return Err(if key.is_empty() {
            RotationError::ExternalToExternal
        } else {
            RotationError::KeyElsewhere
        });
    }
    let old = SigningRoot::new(&root.ca_cert, &root.ca_key, &[])?;
    root.root_rotation = Some(RootRotation {
        ca_cert: cert.to_vec(),
        ca_key: key.to_vec(),
        cross_signed_ca_cert: old.cross_sign(cert)?,
    });
    Ok(())
}

/// Whether two PEM texts hold the same certificates, however they are wrapped.
pub(super) fn same_pem(a: &[u8], b: &[u8]) -> bool {
    if a.trim_ascii() == b.trim_ascii() {
        return true;
    }
    match (RootBundle::from_pem(a), RootBundle::from_pem(b)) {
        (Ok(a), Ok(b)) => a.certificates() == b.certificates(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use skep_objects::{swarmkit::ClusterSpec, timestamp::timestamp};

    use super::*;
    use crate::ca::seed::new_root_ca;

    fn now() -> Timestamp {
        timestamp(std::time::SystemTime::now())
    }

    fn cluster(config: CaConfig) -> Cluster {
        Cluster {
            spec: Some(ClusterSpec {
                ca_config: Some(config),
                ..Default::default()
            }),
            root_ca: Some(new_root_ca(date_time(&now())).unwrap()),
            ..Default::default()
        }
    }

    fn plan(cluster: &mut Cluster, config: CaConfig) -> String {
        cluster.spec.as_mut().unwrap().ca_config = Some(config);
        plan_root(cluster, now())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    fn given(root: &SigningRoot) -> CaConfig {
        CaConfig {
            signing_ca_cert: root.cert_pem().to_vec(),
            signing_ca_key: root.key_pem().into_bytes(),
            ..Default::default()
        }
    }

    fn new_root() -> SigningRoot {
        SigningRoot::create(date_time(&now())).unwrap()
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let mut cluster = cluster(CaConfig::default());
        let before = cluster.clone();
        assert_eq!(plan(&mut cluster, CaConfig::default()), "");
        assert_eq!(cluster, before);
    }

    #[test]
    fn a_raised_force_rotate_makes_a_new_root_once() {
        let mut cluster = cluster(CaConfig::default());
        let config = CaConfig {
            force_rotate: 1,
            ..Default::default()
        };
        assert_eq!(plan(&mut cluster, config.clone()), "");
        let rotation = cluster
            .root_ca
            .as_ref()
            .unwrap()
            .root_rotation
            .clone()
            .unwrap();
        assert_eq!(plan(&mut cluster, config), "");
        let root = cluster.root_ca.as_ref().unwrap();
        assert_eq!(root.root_rotation.as_ref(), Some(&rotation));
        assert_ne!(rotation.ca_cert, root.ca_cert);
    }

    #[test]
    fn a_given_root_becomes_the_target_and_the_old_one_given_again_cancels() {
        let mut cluster = cluster(CaConfig::default());
        let old = cluster.root_ca.clone().unwrap();
        let new = new_root();
        assert_eq!(plan(&mut cluster, given(&new)), "");
        let rotation = cluster
            .root_ca
            .as_ref()
            .unwrap()
            .root_rotation
            .clone()
            .unwrap();
        assert_eq!(rotation.ca_cert, new.cert_pem());
        assert_eq!(plan(&mut cluster, given(&new)), "");
        assert_eq!(
            cluster.root_ca.as_ref().unwrap().root_rotation.as_ref(),
            Some(&rotation)
        );
        let back = CaConfig {
            signing_ca_cert: old.ca_cert.clone(),
            signing_ca_key: old.ca_key.clone(),
            ..Default::default()
        };
        assert_eq!(plan(&mut cluster, back), "");
        assert_eq!(cluster.root_ca, Some(old));
    }

    #[test]
    fn unusable_roots_are_refused() {
        let mut cluster = cluster(CaConfig::default());
        let (one, two) = (new_root(), new_root());
        let config = CaConfig {
            signing_ca_cert: vec![],
            ..given(&one)
        };
        assert_eq!(
            plan(&mut cluster, config),
            RotationError::KeyWithoutCert.to_string()
        );
        let both = [one.cert_pem(), two.cert_pem()].concat();
        let config = CaConfig {
            signing_ca_cert: both,
            ..given(&one)
        };
        assert_eq!(
            plan(&mut cluster, config),
            RotationError::SeveralCerts.to_string()
        );
        let config = CaConfig {
            signing_ca_key: two.key_pem().into_bytes(),
            ..given(&one)
        };
        assert_eq!(plan(&mut cluster, config), "certificate key mismatch");
        let config = CaConfig {
            signing_ca_key: vec![],
            ..given(&one)
        };
        assert_eq!(
            plan(&mut cluster, config),
            RotationError::NoSigner("desired").to_string()
        );
        let ancient =
            SigningRoot::create(date_time(&now()) - Duration::days(20 * 365 - 100)).unwrap();
        assert_eq!(
            plan(&mut cluster, given(&ancient)),
            RotationError::ExpiresTooSoon.to_string()
        );
    }
}
