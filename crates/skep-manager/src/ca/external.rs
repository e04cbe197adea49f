//! Certificates from an external CA, in place of the key in the store.

use skep_objects::swarmkit::{CaConfig, Cluster, Node, NodeRole, RootCa, external_ca::CaProtocol};
use skep_rpc::NodeIdentity;
use skep_rpc::cfssl::{self, SignRequest};
use skep_rpc::identity::{NodeCertificate, RootBundle};
use time::OffsetDateTime;

use super::rotation::{RotationError, same_pem};
use super::signer::SignError;

/// Addresses of the external CAs that sign for the root that certificates shall have now: during a
/// rotation the root to come.
pub fn urls(cluster: &Cluster) -> Vec<String> {
    let Some(root) = &cluster.root_ca else {
        return Vec::new();
    };
    let wanted = wanted_root(cluster);
    let config = cluster.spec.as_ref().and_then(|s| s.ca_config.as_ref());
    let all = config.map_or(&[][..], |config| &config.external_cas);
    all.iter()
        .filter(|ca| ca.protocol() == CaProtocol::CaprotocolCfssl)
        .filter(|ca| {
            let signs_for = if ca.ca_cert.is_empty() {
                &root.ca_cert
            } else {
                &ca.ca_cert
            };
            same_pem(signs_for, wanted)
        })
        .map(|ca| ca.url.clone())
        .collect()
}

/// Refuses settings with which nobody could sign: an external CA must answer for the root that has no
/// key here.
pub async fn check_settings(
    cluster: &Cluster,
    config: &CaConfig,
    identity: &NodeIdentity,
) -> Result<(), RotationError> {
    let known = cluster.spec.as_ref().and_then(|s| s.ca_config.as_ref());
    let Some(root) = cluster.root_ca.as_ref().filter(|_| known != Some(config)) else {
        return Ok(());
    };
    if root.ca_key.is_empty() && config.signing_ca_key.is_empty() {
        is_signed_for(root, &root.ca_cert, config, identity, "current").await?;
    }
    let desired = &config.signing_ca_cert;
    let has_key = !config.signing_ca_key.is_empty()
        || known.is_some_and(|k| k.signing_ca_cert == *desired && !k.signing_ca_key.is_empty());
    if desired.is_empty() || has_key || same_pem(desired, &root.ca_cert) {
        return Ok(());
    }
    is_signed_for(root, desired, config, identity, "desired").await
}

/// Asks all that are configured for the certificate at once; one is enough.
async fn is_signed_for(
    root: &RootCa,
    wanted: &[u8],
    config: &CaConfig,
    identity: &NodeIdentity,
    which: &'static str,
) -> Result<(), RotationError> {
    let asked = config.external_cas.iter().filter(|ca| {
        let signs_for = if ca.ca_cert.is_empty() {
            &root.ca_cert
        } else {
            &ca.ca_cert
        };
        ca.protocol() == CaProtocol::CaprotocolCfssl && same_pem(signs_for, wanted)
    });
    let asked = asked.map(|ca| Box::pin(cfssl::reach(&ca.url, identity, wanted)));
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() || futures::future::select_ok(asked).await.is_err() {
        return Err(RotationError::NoSigner(which));
    }
    Ok(())
}

fn wanted_root(cluster: &Cluster) -> &[u8] {
    let Some(root) = &cluster.root_ca else {
        return &[];
    };
    match &root.root_rotation {
        Some(rotation) => &rotation.ca_cert,
        None => &root.ca_cert,
    }
}

/// Asks them in turn for the certificate that the node waits for.
pub async fn sign(
    cluster: &Cluster,
    urls: &[String],
    identity: &NodeIdentity,
    node: &Node,
    now: OffsetDateTime,
) -> Result<Vec<u8>, SignError> {
    let certificate = node.certificate.as_ref().ok_or(SignError::NoSigner)?;
    let request = SignRequest {
        csr: &certificate.csr,
        node_id: &node.id,
        role: NodeRole::try_from(certificate.role).unwrap_or(NodeRole::Worker),
        cluster_id: &cluster.id,
    };
    let mut last = SignError::NoSigner;
    for url in urls {
        match cfssl::sign(url, identity, wanted_root(cluster), &request).await {
            Ok(pem) => match check(cluster, pem, &request, now) {
                Ok(chain) => return Ok(chain),
                Err(text) => last = SignError::External(format!("external CA {url}: {text}")),
            },
            Err(error) => last = SignError::External(error.to_string()),
        }
    }
    Err(last)
}

/// The chain, if the certificate is what was asked for.
fn check(
    cluster: &Cluster,
    mut pem: Vec<u8>,
    request: &SignRequest<'_>,
    now: OffsetDateTime,
) -> Result<Vec<u8>, String> {
    let certificate = NodeCertificate::from_pem(&pem).map_err(|e| e.to_string())?;
    let is_asked = certificate.node_id() == request.node_id
        && certificate.role() == request.role
        && certificate.cluster_id() == request.cluster_id;
    if !is_asked {
        return Err("its certificate is for another subject than was asked for".to_owned());
    }
    let roots = RootBundle::from_pem(wanted_root(cluster)).map_err(|e| e.to_string())?;
    roots
        .validate(&certificate, now)
        .map_err(|_| "its certificate is not signed by the swarm's root".to_owned())?;
    let rotation = cluster
        .root_ca
        .as_ref()
        .and_then(|root| root.root_rotation.as_ref());
    if let Some(rotation) = rotation {
        if !pem.ends_with(b"\n") {
            pem.push(b'\n');
        }
        pem.extend_from_slice(&rotation.cross_signed_ca_cert);
    }
    Ok(pem)
}
