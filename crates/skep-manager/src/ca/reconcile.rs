//! The leader's side of a running root rotation: nodes are told to renew, a few at a time, and
//! when the last has done so the new root takes the old one's place.

use std::time::Duration;

use skep_objects::swarmkit::{
    Cluster, IssuanceStatus, Node, NodeTlsInfo, RootCa, RootRotation, issuance_status::State,
};
use skep_rpc::identity::{IssuerInfo, RootBundle, RootDigest};
use skep_store::{CommitError, Store, Tx, TxError, UpdateError, View};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::tokens::new_tokens;
use crate::retry;

/// How often nodes are told.
const ROUND: Duration = Duration::from_secs(3);
/// How many in one round: renewals are work for managers.
const NODES_PER_ROUND: usize = 30;

/// What a round of the rotation comes to.
#[derive(Debug, PartialEq)]
pub enum Round {
    /// No rotation runs.
    Idle,
    /// These nodes are to renew now; none, if all that are left have been told.
    Renew(Vec<String>),
    /// Every node has a certificate of the new root.
    Finish(RootRotation),
}

/// Decides a round.
pub fn plan(view: &View) -> Round {
    let rotation = view
        .the_cluster()
        .and_then(|cluster| cluster.root_ca.as_ref()?.root_rotation.clone());
    let Some(rotation) = rotation else {
        return Round::Idle;
    };
    let issuer = RootBundle::from_pem(&rotation.ca_cert)
        .ok()
        .and_then(|root| root.first_as_issuer());
    let Some(issuer) = issuer else {
        warn!("the root to rotate to cannot be read");
        return Round::Renew(Vec::new());
    };
    let mut left = view
        .nodes()
        .filter(|node| !has_converged(node, &issuer))
        .peekable();
    if left.peek().is_none() {
        return Round::Finish(rotation);
    }
    let untold = left.filter(|node| !was_told(node)).take(NODES_PER_ROUND);
    Round::Renew(untold.map(|node| node.id.clone()).collect())
}

fn has_converged(node: &Node, issuer: &IssuerInfo) -> bool {
    let info: Option<&NodeTlsInfo> = node
        .description
        .as_ref()
        .and_then(|description| description.tls_info.as_ref());
    info.is_some_and(|info| {
        info.cert_issuer_subject == issuer.subject
            && info.cert_issuer_public_key == issuer.public_key
    })
}

fn was_told(node: &Node) -> bool {
    let status = node
        .certificate
        .as_ref()
        .and_then(|certificate| certificate.status.as_ref());
    matches!(
        status.map(IssuanceStatus::state),
        Some(State::Renew | State::Pending | State::Rotate)
    )
}

/// Tells a node to renew.
pub fn tell(tx: &mut Tx, node: &str) -> Result<(), TxError> {
    if tx.node(node).is_none_or(|node| was_told(node)) {
        return Ok(());
    }
    tx.edit_node(node, |node| {
        let certificate = node.certificate.get_or_insert_default();
        let status = certificate.status.get_or_insert_default();
        status.state = State::Rotate.into();
    })?;
    Ok(())
}

/// Puts the new root in place of the old, unless the rotation was changed meanwhile.
pub fn finish(tx: &mut Tx, rotation: &RootRotation) -> Result<(), TxError> {
    let Some(cluster) = tx.the_cluster().cloned() else {
        return Ok(());
    };
    let running = cluster
        .root_ca
        .as_ref()
        .and_then(|root| root.root_rotation.as_ref());
    if running != Some(rotation) {
        return Ok(());
    }
    tx.edit_cluster(&cluster.id, |cluster: &mut Cluster| {
        let last_forced_rotation = cluster
            .root_ca
            .as_ref()
            .map_or(0, |root| root.last_forced_rotation);
        cluster.root_ca = Some(RootCa {
            ca_key: rotation.ca_key.clone(),
            ca_cert: rotation.ca_cert.clone(),
            ca_cert_hash: RootDigest::of(&rotation.ca_cert).to_hash_string(),
            join_tokens: Some(new_tokens(&rotation.ca_cert)),
            root_rotation: None,
            last_forced_rotation,
        });
    })?;
    Ok(())
}

/// Runs until stopped, or until the store is. What could not be written is for the next round.
pub async fn run(store: Store, stop: CancellationToken) {
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = round.tick() => {}
        }
        let result = match plan(&store.view()) {
            Round::Idle => continue,
            Round::Renew(nodes) => retry::write_each(&store, &nodes, |tx, id| tell(tx, id)).await,
            Round::Finish(rotation) => {
                let result = store.update(|tx| finish(tx, &rotation)).await;
                if result.is_ok() {
                    info!("root rotation finished");
                }
                match result {
                    Err(UpdateError::Commit(error)) => Err(error),
                    Err(UpdateError::Refused(error)) => {
                        warn!(%error, "root rotation cannot be finished");
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                }
            }
        };
        match result {
            Ok(()) => {}
            Err(CommitError::Stopped) => break,
            Err(error) => info!(%error, "root rotation pauses"),
        }
    }
}
