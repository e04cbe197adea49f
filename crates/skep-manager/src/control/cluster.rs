//! The cluster object: settings of the whole swarm, join tokens, unlock key.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost_types::Timestamp;
use skep_objects::{
    swarmkit::{
        Cluster, ClusterSpec, GetClusterRequest, GetClusterResponse, KeyRotation,
        ListClustersRequest, ListClustersResponse, RootCa, UpdateClusterRequest,
        UpdateClusterResponse,
    },
    timestamp::{duration, is_negative, unix_nanos},
};
use skep_store::{StoreObject, Tx, View};

use super::{error::ControlError, filter::name_filter, validate::validate_strategy};
use crate::{
    ca::{
        rotation::{RotationError, plan_root},
        tokens::rotate_tokens,
    },
    defaults,
    unlock::follow_autolock,
};

/// No node's certificate may live shorter than this.
const MIN_CERT_EXPIRY: Duration = Duration::from_secs(3600);
/// How long after its certificate's expiry a removed node is remembered.
const BLACKLIST_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

type Answer<T> = Result<T, ControlError>;

/// The cluster, by id; its keys are left out.
pub fn get(view: &View, request: &GetClusterRequest) -> Answer<GetClusterResponse> {
    if request.cluster_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let cluster = find(view, &request.cluster_id)?;
    Ok(GetClusterResponse {
        cluster: Some(redacted(cluster)),
    })
}

/// The cluster, if it passes the filters; its keys are left out.
pub fn list(view: &View, request: ListClustersRequest) -> Answer<ListClustersResponse> {
    let filters = request.filters.unwrap_or_default();
    let empty = BTreeMap::new();
    let passing = view.clusters().filter(|cluster| {
        let annotations = cluster
            .spec
            .as_ref()
            .and_then(|spec| spec.annotations.as_ref());
        let labels = annotations.map_or(&empty, |annotations| &annotations.labels);
        name_filter!(filters).passes(&cluster.id, cluster.name(), labels)
    });
    Ok(ListClustersResponse {
        clusters: passing.map(|cluster| redacted(cluster)).collect(),
    })
}

/// Changes settings, and rotates what the request asks to rotate.
pub fn update(tx: &mut Tx, request: UpdateClusterRequest) -> Answer<UpdateClusterResponse> {
    let Some(version) = request.cluster_version else {
        return Err(ControlError::missing_argument());
    };
    if request.cluster_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
    validate(&spec)?;
    let stored = find(tx, &request.cluster_id)?.clone();
    let mut cluster = Cluster::clone(&stored);
    cluster.spec = Some(keep_signing_key(spec, &stored));
    cluster.meta.get_or_insert_default().version = Some(version);
    apply(
        &mut cluster,
        &request.rotation.unwrap_or_default(),
        tx.now(),
    )?;
    let cluster = tx.update_cluster(cluster)?;
    Ok(UpdateClusterResponse {
        cluster: Some(redacted(&cluster)),
    })
}

fn apply(cluster: &mut Cluster, rotation: &KeyRotation, now: Timestamp) -> Answer<()> {
    expire_blacklist(cluster, now);
    plan_root(cluster, now)?;
    rotate_tokens(
        cluster,
        rotation.worker_join_token,
        rotation.manager_join_token,
    );
    follow_autolock(cluster, rotation.manager_unlock_key);
    Ok(())
}

impl From<RotationError> for ControlError {
    fn from(error: RotationError) -> Self {
        Self::Invalid(error.to_string())
    }
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Arc<Cluster>> {
    view.cluster(id)
        .ok_or_else(|| ControlError::not_found("cluster", id))
}

fn validate(spec: &ClusterSpec) -> Answer<()> {
    let refuse = |text: &str| Err(ControlError::Invalid(text.to_owned()));
    let name = spec
        .annotations
        .as_ref()
        .map_or("", |annotations| &annotations.name);
    if name != defaults::CLUSTER_NAME {
        return refuse("modification of cluster name is not allowed");
    }
    validate_strategy(
        spec.annotations
            .as_ref()
            .map(|annotations| &annotations.labels),
    )?;
    let expiry = spec
        .ca_config
        .as_ref()
        .and_then(|config| config.node_cert_expiry.as_ref());
    if expiry.is_some_and(|expiry| is_negative(expiry) || duration(expiry) < MIN_CERT_EXPIRY) {
        return refuse("minimum certificate expiry time is: 1h0m0s");
    }
    let heartbeat = spec
        .dispatcher
        .as_ref()
        .and_then(|config| config.heartbeat_period.as_ref());
    if heartbeat.is_some_and(is_negative) {
        return refuse("heartbeat time period cannot be a negative duration");
    }
    Ok(())
}

/// Clients send back the spec that they were shown, in which the key is missing.
fn keep_signing_key(mut spec: ClusterSpec, stored: &Cluster) -> ClusterSpec {
    let known = stored
        .spec
        .as_ref()
        .and_then(|spec| spec.ca_config.as_ref());
    if let (Some(config), Some(known)) = (spec.ca_config.as_mut(), known) {
        let same_root = config.signing_ca_cert == known.signing_ca_cert;
        if config.signing_ca_key.is_empty() && same_root {
            config.signing_ca_key.clone_from(&known.signing_ca_key);
        }
    }
    spec
}

fn expire_blacklist(cluster: &mut Cluster, now: Timestamp) {
    let grace = i128::try_from(BLACKLIST_GRACE.as_nanos()).unwrap_or(i128::MAX);
    cluster.blacklisted_certificates.retain(|_, entry| {
        entry
            .expiry
            .is_none_or(|expiry| unix_nanos(&expiry) + grace > unix_nanos(&now))
    });
}

/// The cluster without what only managers may know, and with built-in settings made visible.
fn redacted(cluster: &Cluster) -> Cluster {
    let mut shown = cluster.clone();
    shown.unlock_keys.clear();
    shown.network_bootstrap_keys.clear();
    shown.encryption_key_lamport_clock = 0;
    if let Some(root) = &mut shown.root_ca {
        redact_root(root);
    }
    if let Some(config) = shown.spec.as_mut().and_then(|spec| spec.ca_config.as_mut()) {
        config.signing_ca_key.clear();
    }
    if shown.default_address_pool.is_empty() {
        shown.default_address_pool = vec![defaults::ADDRESS_POOL.to_owned()];
        shown.subnet_size = defaults::SUBNET_SIZE;
    }
    if shown.vxlanudp_port == 0 {
        shown.vxlanudp_port = defaults::VXLAN_PORT;
    }
    shown
}

fn redact_root(root: &mut RootCa) {
    root.ca_key.clear();
    if let Some(rotation) = &mut root.root_rotation {
        rotation.ca_key.clear();
    }
}
