//! What `docker info` and `_ping` say about this node's membership.

use std::sync::Arc;

use skep_objects::api::swarm::{Info, Peer};
use skep_objects::swarmkit::raft_member_status::Reachability;
use skep_objects::swarmkit::{ListClustersRequest, ListNodesRequest, Node};
use skep_rpc::swarmkit::control_server::Control;
use tonic::Request;

use super::error::SwarmError;
use super::manager::RunningManager;
use super::member::Member;
use super::{Standing, SwarmNode};
use crate::http::convert::swarm::from_cluster_info;

const TWO_MANAGERS: &str = "Running Swarm in a two-manager configuration. This configuration \
     provides no fault tolerance, and poses a high risk to lose control over the cluster. Refer \
     to https://docs.docker.com/engine/swarm/admin_guide/ to configure the Swarm for \
     fault-tolerance.";

/// The manager in this node, or why there is none.
pub(super) fn manager(standing: &Standing) -> Result<Arc<dyn RunningManager>, SwarmError> {
    let member = match standing {
        Standing::Inactive => return Err(SwarmError::NoSwarm),
        Standing::Locked => return Err(SwarmError::Locked),
        Standing::Broken(_, error) => {
            return Err(match &**error {
                SwarmError::CertificatesExpired => SwarmError::CertificatesExpired,
                _ => SwarmError::NoSwarm,
            });
        }
        Standing::Member(member) => member,
    };
    let manager = member.manager.borrow().clone();
    match manager {
        Some(manager) => Ok(manager),
        None if is_manager(member) => Err(SwarmError::ManagerNotReady),
        None => Err(SwarmError::Worker),
    }
}

/// Whether the node's certificate is a manager's.
pub(super) fn is_manager(member: &Member) -> bool {
    use skep_objects::swarmkit::NodeRole;
    member
        .status
        .borrow()
        .identity
        .as_ref()
        .is_some_and(|i| i.role() == NodeRole::Manager)
}

/// `inactive`, `pending`, `active`, `error`, `locked`.
fn state(standing: &Standing) -> &'static str {
    match standing {
        Standing::Inactive => "inactive",
        Standing::Locked => "locked",
        Standing::Broken(..) => "error",
        Standing::Member(member) => {
            let status = member.status.borrow();
            match (status.failure.is_some(), status.is_active) {
                (true, _) => "error",
                (false, true) => "active",
                (false, false) => "pending",
            }
        }
    }
}

impl SwarmNode {
    /// The header `Swarm` of `_ping`: `inactive`, `active/manager`, `active/worker`, …
    pub fn header(&self) -> String {
        let standing = self.standing();
        let state = state(&standing);
        let role = match &*standing {
            Standing::Member(member) if state == "active" => {
                if member.manager.borrow().is_some() {
                    "/manager"
                } else {
                    "/worker"
                }
            }
            _ => "",
        };
        format!("{state}{role}")
    }

    /// The block `Swarm` of `info`.
    pub async fn info(&self) -> Info {
        let (mut info, manager) = {
            let standing = self.standing();
            (local_info(&standing), manager(&standing).ok())
        };
        if let Some(manager) = manager {
            info.control_available = true;
            add_cluster(&mut info, &*manager.control()).await;
            if let Some(trouble) = manager.trouble() {
                info.error = trouble;
            }
        }
        info
    }
}

/// What this node knows without asking.
fn local_info(standing: &Standing) -> Info {
    let mut info = Info {
        local_node_state: state(standing).to_owned(),
        ..Info::default()
    };
    match standing {
        Standing::Inactive | Standing::Locked => {}
        Standing::Broken(settings, error) => {
            info.node_addr = settings.advertise_addr.ip().to_string();
            info.error = error.to_string();
        }
        Standing::Member(member) => {
            let status = member.status.borrow();
            info.node_addr = member.settings.advertise_addr.ip().to_string();
            info.error = status.error.clone().unwrap_or_default();
            let id = status.identity.as_ref().map(|i| i.node_id().to_owned());
            info.node_id = id.unwrap_or_default();
            let peers = status.remotes.iter();
            let peers: Vec<Peer> = peers
                .map(|p| Peer {
                    node_id: p.node_id.clone(),
                    addr: p.addr.clone(),
                })
                .collect();
            info.remote_managers = (!peers.is_empty()).then_some(peers);
        }
    }
    info
}

async fn add_cluster(info: &mut Info, control: &dyn Control) {
    let clusters = control
        .list_clusters(Request::new(ListClustersRequest::default()))
        .await;
    match clusters {
        Ok(answer) => {
            info.cluster = answer.into_inner().clusters.first().map(from_cluster_info);
        }
        Err(status) => {
            info.error = skep_rpc::status::rpc_text(&status);
            return;
        }
    }
    if let Ok(nodes) = nodes(control).await {
        let managers = nodes.iter().filter(|n| n.manager_status.is_some()).count();
        info.nodes = nodes.len() as u64;
        info.managers = managers as u64;
        if managers == 2 {
            info.warnings.push(format!("WARNING: {TWO_MANAGERS}"));
        }
    }
}

pub(super) async fn nodes(control: &dyn Control) -> Result<Vec<Node>, tonic::Status> {
    let answer = control
        .list_nodes(Request::new(ListNodesRequest::default()))
        .await?;
    Ok(answer.into_inner().nodes)
}

/// How many managers answer and how many do not.
pub(super) fn reachability(nodes: &[Node]) -> (usize, usize) {
    let managers = nodes.iter().filter_map(|n| n.manager_status.as_ref());
    let (up, down): (Vec<_>, Vec<_>) =
        managers.partition(|m| m.reachability() == Reachability::Reachable);
    (up.len(), down.len())
}
