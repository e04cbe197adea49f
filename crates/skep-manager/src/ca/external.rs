//! Certificates from an external CA, in place of the key in the store.

use skep_objects::swarmkit::{Cluster, Node, NodeRole, external_ca::CaProtocol};
use skep_rpc::NodeIdentity;
use skep_rpc::cfssl::{self, SignRequest};
use skep_rpc::identity::{NodeCertificate, RootBundle};
use time::OffsetDateTime;

use super::rotation::same_pem;
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
        match cfssl::sign(url, identity, &request).await {
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
