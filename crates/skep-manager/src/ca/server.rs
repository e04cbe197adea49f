//! The CA and NodeCA services: requests go into the store, answers come out of it.

use skep_objects::{
    ids::new_id,
    swarmkit::{
        Certificate, Cluster, GetRootCaCertificateRequest, GetRootCaCertificateResponse,
        GetUnlockKeyRequest, GetUnlockKeyResponse, IssuanceStatus, IssueNodeCertificateRequest,
        IssueNodeCertificateResponse, Node, NodeCertificateStatusRequest,
        NodeCertificateStatusResponse, NodeSpec,
        issuance_status::State,
        node_spec::{Availability, Membership},
    },
};
use skep_rpc::{
    Caller, caller_of,
    identity::Csr,
    swarmkit::{ca_server::Ca, node_ca_server::NodeCa},
};
use skep_store::{Event, Object, Tx, TxError, UpdateError, View};
use tonic::{Request, Response, Status};
use tracing::info;

use super::tokens::role_of_token;
use crate::{slot::LateStore, unlock::unlock_key};

/// The largest signing request taken. One with the largest keys there are has a tenth of that.
const MAX_CSR_BYTES: usize = 16 << 10;
/// Ids tried for a new node, should one be taken.
const ID_TRIES: usize = 4;

/// Serves both services from the store.
#[derive(Debug, Clone)]
pub struct CaServer {
    store: LateStore,
}

/// Why a node gets no certificate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IssueError {
    /// The token is none of this cluster's.
    #[error("A valid join token is necessary to join this cluster")]
    Token,
    /// What was sent is no signing request.
    #[error("{0}")]
    Csr(String),
    /// The node was removed: its certificate gives it nothing any more.
    #[error("node {0} not found when attempting to renew certificate")]
    Removed(String),
    /// This manager has just begun.
    #[error("CA server is still starting up")]
    Starting,
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] TxError),
}

impl From<IssueError> for Status {
    fn from(error: IssueError) -> Self {
        let text = error.to_string();
        match error {
            IssueError::Token | IssueError::Csr(_) => Status::invalid_argument(text),
            IssueError::Removed(_) => Status::not_found(text),
            IssueError::Starting => Status::aborted(text),
            IssueError::Store(_) => Status::unknown(text),
        }
    }
}

impl CaServer {
    /// A server over this store.
    pub fn new(store: impl Into<LateStore>) -> Self {
        Self {
            store: store.into(),
        }
    }

    async fn write<T>(
        &self,
        change: impl FnOnce(&mut Tx) -> Result<T, IssueError>,
    ) -> Result<T, Status> {
        self.store
            .get()?
            .update(change)
            .await
            .map_err(|error| match error {
                UpdateError::Refused(error) => error.into(),
                UpdateError::Commit(error) => Status::unavailable(error.to_string()),
            })
    }
}

/// Writes a request for a certificate: of a node that has one, or of one that shows a token.
pub fn issue(
    tx: &mut Tx,
    caller: &Caller,
    request: &IssueNodeCertificateRequest,
) -> Result<IssueNodeCertificateResponse, IssueError> {
    if request.csr.is_empty() {
        return Err(IssueError::Csr("InvalidArgument".to_owned()));
    }
    let bytes = request.csr.len();
    if bytes > MAX_CSR_BYTES {
        return Err(IssueError::Csr(format!(
            "certificate signing request of {bytes} bytes is larger than {MAX_CSR_BYTES} bytes"
        )));
    }
    let cluster = tx.the_cluster().cloned().ok_or(IssueError::Starting)?;
    let node_id = if caller.role.is_some() {
        renew(tx, &caller.node_id, request)?;
        caller.node_id.clone()
    } else {
        admit(tx, &cluster, request)?
    };
    let membership = tx
        .node(&node_id)
        .and_then(|node| node.spec.as_ref().map(NodeSpec::membership));
    let membership = membership.unwrap_or(Membership::Accepted);
    Ok(IssueNodeCertificateResponse {
        node_id,
        node_membership: membership.into(),
    })
}

/// The role in the new certificate is the node's in fact: so promotions take effect.
fn renew(tx: &mut Tx, id: &str, request: &IssueNodeCertificateRequest) -> Result<(), IssueError> {
    let missing = |_| IssueError::Removed(id.to_owned());
    if tx.node(id).is_none() {
        return Err(IssueError::Removed(id.to_owned()));
    }
    check(&request.csr)?;
    tx.edit_node(id, |node| {
        node.certificate = Some(Certificate {
            role: node.role,
            csr: request.csr.clone(),
            cn: node.id.clone(),
            status: Some(IssuanceStatus {
                state: State::Renew.into(),
                err: String::new(),
            }),
            certificate: Vec::new(),
        });
    })
    .map_err(missing)?;
    Ok(())
}

fn check(csr: &[u8]) -> Result<(), IssueError> {
    let checked = Csr::parse(csr).map(drop);
    checked.map_err(|error| IssueError::Csr(error.to_string()))
}

fn admit(
    tx: &mut Tx,
    cluster: &Cluster,
    request: &IssueNodeCertificateRequest,
) -> Result<String, IssueError> {
    let role = role_of_token(cluster, &request.token).ok_or(IssueError::Token)?;
    check(&request.csr)?;
    let availability = Availability::try_from(request.availability).unwrap_or(Availability::Active);
    let free = (0..ID_TRIES)
        .map(|_| new_id())
        .find(|id| tx.node(id).is_none());
    let id = free.unwrap_or_else(new_id);
    tx.create_node(Node {
        id: id.clone(),
        role: role.into(),
        spec: Some(NodeSpec {
            annotations: Some(skep_objects::swarmkit::Annotations::default()),
            desired_role: role.into(),
            membership: Membership::Accepted.into(),
            availability: availability.into(),
        }),
        certificate: Some(Certificate {
            role: role.into(),
            csr: request.csr.clone(),
            cn: id.clone(),
            status: Some(IssuanceStatus {
                state: State::Pending.into(),
                err: String::new(),
            }),
            certificate: Vec::new(),
        }),
        vxlanudp_port: cluster.vxlanudp_port,
        ..Node::default()
    })?;
    info!(node.id = id, ?role, "node joins");
    Ok(id)
}

/// The answer for a node whose request is settled.
fn settled(node: &Node) -> Option<NodeCertificateStatusResponse> {
    let certificate = node.certificate.as_ref()?;
    let status = certificate.status.as_ref()?;
    match status.state() {
        State::Issued | State::Failed | State::Rotate => Some(NodeCertificateStatusResponse {
            status: Some(status.clone()),
            certificate: Some(certificate.clone()),
        }),
        State::Unknown | State::Renew | State::Pending => None,
    }
}

fn find<'a>(view: &'a View, id: &str) -> Result<&'a Node, Status> {
    match view.node(id) {
        Some(node) => Ok(node),
        None => Err(Status::not_found(format!("node {id} not found"))),
    }
}

#[tonic::async_trait]
impl Ca for CaServer {
    async fn get_root_ca_certificate(
        &self,
        _request: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        let view = self.store.get()?.view();
        let root = view
            .the_cluster()
            .and_then(|cluster| cluster.root_ca.as_ref());
        let root = root.ok_or(IssueError::Starting)?;
        Ok(Response::new(GetRootCaCertificateResponse {
            certificate: root.ca_cert.clone(),
        }))
    }

    async fn get_unlock_key(
        &self,
        _request: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        let view = self.store.get()?.view();
        let cluster = view.the_cluster().ok_or(IssueError::Starting)?;
        Ok(Response::new(GetUnlockKeyResponse {
            unlock_key: unlock_key(cluster).unwrap_or_default().to_vec(),
            version: cluster.meta.as_ref().and_then(|meta| meta.version),
        }))
    }
}

#[tonic::async_trait]
impl NodeCa for CaServer {
    async fn issue_node_certificate(
        &self,
        request: Request<IssueNodeCertificateRequest>,
    ) -> Result<Response<IssueNodeCertificateResponse>, Status> {
        let caller = caller_of(&request)?;
        let request = request.into_inner();
        let answer = self.write(|tx| issue(tx, &caller, &request)).await?;
        Ok(Response::new(answer))
    }

    async fn node_certificate_status(
        &self,
        request: Request<NodeCertificateStatusRequest>,
    ) -> Result<Response<NodeCertificateStatusResponse>, Status> {
        let id = request.into_inner().node_id;
        if id.is_empty() {
            return Err(Status::invalid_argument("InvalidArgument"));
        }
        let (view, mut watch) = self.store.get()?.watch();
        if let Some(answer) = settled(find(&view, &id)?) {
            return Ok(Response::new(answer));
        }
        loop {
            match watch.recv().await {
                Some(Event::Updated {
                    new: Object::Node(node),
                    ..
                }) if node.id == id => {
                    if let Some(answer) = settled(&node) {
                        return Ok(Response::new(answer));
                    }
                }
                Some(Event::Removed(Object::Node(node))) if node.id == id => {
                    return Err(Status::not_found(format!("node {id} not found")));
                }
                Some(_) => {}
                None => return Err(Status::aborted("CA server is stopped")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
