//! Nodes: listing, changing role and availability, removal.

use std::{collections::BTreeMap, sync::Arc};

use skep_objects::{
    swarmkit::{
        BlacklistedCertificate, GetNodeRequest, GetNodeResponse, ListNodesRequest,
        ListNodesResponse, ManagerStatus, Node, NodeRole, NodeSpec, RemoveNodeRequest,
        RemoveNodeResponse, UpdateNodeRequest, UpdateNodeResponse, list_nodes_request,
        node_spec::{Availability, Membership},
        node_status,
    },
    timestamp::timestamp,
};
use skep_store::{StoreObject, Tx, View};

use super::{
    error::ControlError,
    filter::{any, has_labels, name_filter},
    members::Members,
};
use crate::ca::expiry::certificate_expiry;

type Answer<T> = Result<T, ControlError>;

/// One node, by id.
pub fn get(
    view: &View,
    members: &dyn Members,
    request: &GetNodeRequest,
) -> Answer<GetNodeResponse> {
    if request.node_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let node = find(view, &request.node_id)?;
    Ok(GetNodeResponse {
        node: Some(with_manager_status(node, members)),
    })
}

/// The nodes that pass the filters.
pub fn list(
    view: &View,
    members: &dyn Members,
    request: ListNodesRequest,
) -> Answer<ListNodesResponse> {
    let filters = request.filters.unwrap_or_default();
    let nodes = view.nodes().filter(|node| passes(node, &filters));
    let nodes = nodes
        .map(|node| with_manager_status(node, members))
        .collect();
    Ok(ListNodesResponse { nodes })
}

/// Changes a node's spec.
pub fn update(
    tx: &mut Tx,
    members: &dyn Members,
    request: UpdateNodeRequest,
) -> Answer<UpdateNodeResponse> {
    let (Some(version), Some(spec)) = (request.node_version, request.spec) else {
        return Err(ControlError::missing_argument());
    };
    if request.node_id.is_empty() || !is_known(&spec) {
        return Err(ControlError::missing_argument());
    }
    let node = find(tx, &request.node_id)?.clone();
    let was = node
        .spec
        .as_ref()
        .map_or(NodeRole::Worker, NodeSpec::desired_role);
    if was == NodeRole::Manager && spec.desired_role() == NodeRole::Worker {
        may_demote(tx, members, &node)?;
    }
    let mut changed = Node::clone(&node);
    changed.meta.get_or_insert_default().version = Some(version);
    changed.spec = Some(spec);
    let node = tx.update_node(changed)?;
    Ok(UpdateNodeResponse {
        node: Some(Node::clone(&node)),
    })
}

/// Takes a node out of the swarm: its certificate is refused from now on. The orchestrator's node
/// watch gives up its tasks.
pub fn remove(
    tx: &mut Tx,
    members: &dyn Members,
    request: &RemoveNodeRequest,
) -> Answer<RemoveNodeResponse> {
    if request.node_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let node = find(tx, &request.node_id)?.clone();
    let wants_manager = node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.desired_role() == NodeRole::Manager);
    if wants_manager || members.by_node(&node.id).is_some() {
        return Err(ControlError::Precondition(format!(
            "node {} is a cluster manager and is a member of the raft cluster. It must be demoted \
             to worker before removal",
            node.id
        )));
    }
    let ready = node
        .status
        .as_ref()
        .is_some_and(|status| status.state() == node_status::State::Ready);
    if ready && !request.force {
        return Err(ControlError::Precondition(format!(
            "node {} is not down and can't be removed",
            node.id
        )));
    }
    blacklist(tx, &node)?;
    tx.remove_node(&node.id)?;
    Ok(RemoveNodeResponse {})
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Arc<Node>> {
    view.node(id)
        .ok_or_else(|| ControlError::not_found("node", id))
}

/// Whether role, membership and availability are values that exist.
fn is_known(spec: &NodeSpec) -> bool {
    NodeRole::try_from(spec.desired_role).is_ok()
        && Membership::try_from(spec.membership).is_ok()
        && Availability::try_from(spec.availability).is_ok()
}

fn may_demote(view: &View, members: &dyn Members, node: &Node) -> Answer<()> {
    let wants_manager = |node: &&Arc<Node>| {
        node.spec
            .as_ref()
            .is_some_and(|spec| spec.desired_role() == NodeRole::Manager)
    };
    if view.nodes().filter(wants_manager).count() <= 1 {
        return Err(ControlError::Precondition(
            "attempting to demote the last manager of the swarm".to_owned(),
        ));
    }
    let Some(member) = members.by_node(&node.id) else {
        return Err(ControlError::NotFound(
            "can't find manager in raft memberlist".to_owned(),
        ));
    };
    if !members.can_remove(member.raft_id) {
        return Err(ControlError::Precondition(
            "can't remove member from the raft: this would result in a loss of quorum".to_owned(),
        ));
    }
    Ok(())
}

/// The certificate of a removed node is refused until it has expired (and a while longer).
fn blacklist(tx: &mut Tx, node: &Node) -> Answer<()> {
    let certificate = node
        .certificate
        .as_ref()
        .map(|certificate| certificate.certificate.as_slice());
    let expiry = certificate.and_then(certificate_expiry).map(timestamp);
    let Some(cluster) = tx.the_cluster().map(|cluster| cluster.id.clone()) else {
        return Ok(());
    };
    tx.edit_cluster(&cluster, |cluster| {
        let entry = BlacklistedCertificate { expiry };
        cluster
            .blacklisted_certificates
            .insert(node.id.clone(), entry);
    })?;
    Ok(())
}

/// The node as clients see it: what raft knows of a manager is not in the store.
fn with_manager_status(node: &Node, members: &dyn Members) -> Node {
    let mut node = node.clone();
    node.manager_status = members.by_node(&node.id).map(|member| ManagerStatus {
        raft_id: member.raft_id,
        addr: member.addr,
        leader: member.leader,
        reachability: member.reachability.into(),
    });
    node
}

fn passes(node: &Node, filters: &list_nodes_request::Filters) -> bool {
    let empty = BTreeMap::new();
    let engine = node
        .description
        .as_ref()
        .and_then(|description| description.engine.as_ref());
    let labels = engine.map_or(&empty, |engine| &engine.labels);
    let annotations = node
        .spec
        .as_ref()
        .and_then(|spec| spec.annotations.as_ref());
    let node_labels = annotations.map_or(&empty, |annotations| &annotations.labels);
    let membership = node.spec.as_ref().map_or(0, |spec| spec.membership);
    name_filter!(filters).passes(&node.id, node.name(), labels)
        && has_labels(node_labels, &filters.node_labels)
        && any(&filters.roles, |role| *role == node.role)
        && any(&filters.memberships, |wanted| *wanted == membership)
}
