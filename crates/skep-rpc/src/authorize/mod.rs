//! Who may call what. [`AuthorizeLayer`] stands before every service of a manager's server: it
//! refuses calls that [`methods`] does not allow, and leaves a [`Caller`] in the request.

mod guard;
pub mod methods;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use skep_objects::swarmkit::NodeRole;
use tonic::Status;
use tonic::body::Body;
use tower::Layer;
use tower_service::Service;

use crate::forward::Forwarded;
use crate::identity::certificate::{ou_of_role, role_of_ou};
use crate::peer::{Peer, PeerCertificate};
use methods::Allowed;

/// What the check needs to know about the cluster now.
pub trait ClusterTrust: Send + Sync + 'static {
    /// The id of this cluster.
    fn cluster_id(&self) -> String;
    /// The id of this node.
    fn node_id(&self) -> String;
    /// Whether a certificate of this node was withdrawn (Cluster.blacklisted_certificates).
    fn is_blacklisted(&self, node_id: &str) -> bool;
    /// `ip:port` that this manager advertises: what a call from this process comes from.
    fn advertise_addr(&self) -> Option<String> {
        None
    }
}

/// Who a request acts for, after the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Empty for a node without a certificate.
    pub node_id: String,
    /// None for a node without a certificate.
    pub role: Option<NodeRole>,
    /// `ip:port` that the call came from, through a manager or not.
    pub remote_addr: Option<String>,
    /// The manager that handed the call on.
    pub forwarded_by: Option<String>,
    /// From inside this process.
    pub is_local: bool,
}

/// Decides about one call.
pub fn authorize(
    path: &str,
    peer: &Peer,
    headers: &HeaderMap,
    trust: &dyn ClusterTrust,
) -> Result<Caller, Status> {
    let Some(method) = methods::find(path) else {
        return Err(Status::unimplemented(format!("unknown method {path}")));
    };
    let remote_addr = peer.remote_addr.map(|a| a.to_string());
    if peer.is_local {
        return Ok(Caller {
            node_id: trust.node_id(),
            role: Some(NodeRole::Manager),
            remote_addr: trust.advertise_addr(),
            forwarded_by: None,
            is_local: true,
        });
    }
    let direct = trusted(peer.certificate.as_ref(), trust);
    let Some(forwarded) = Forwarded::read(headers) else {
        let caller = caller(direct, remote_addr, None);
        return check(method.allowed, caller);
    };
    let Some(by) = direct.filter(|c| c.role == NodeRole::Manager) else {
        return Err(Status::permission_denied(
            "unauthorized forwarder: not a manager of this swarm",
        ));
    };
    let certificate = forwarded
        .certificate()
        .filter(|c| trusted(Some(c), trust).is_some());
    let caller = caller(
        certificate.as_ref(),
        forwarded.remote_addr.or(remote_addr),
        Some(by.node_id.clone()),
    );
    check(method.allowed, caller)
}

/// A certificate counts only if it is of this cluster and was not withdrawn.
fn trusted<'a>(
    certificate: Option<&'a PeerCertificate>,
    trust: &dyn ClusterTrust,
) -> Option<&'a PeerCertificate> {
    certificate.filter(|c| c.cluster_id == trust.cluster_id() && !trust.is_blacklisted(&c.node_id))
}

fn caller(
    certificate: Option<&PeerCertificate>,
    remote_addr: Option<String>,
    forwarded_by: Option<String>,
) -> Caller {
    Caller {
        node_id: certificate.map(|c| c.node_id.clone()).unwrap_or_default(),
        role: certificate.map(|c| c.role),
        remote_addr,
        forwarded_by,
        is_local: false,
    }
}

fn check(allowed: Allowed, caller: Caller) -> Result<Caller, Status> {
    let is_allowed = match allowed {
        Allowed::Anyone => true,
        Allowed::Members => caller.role.is_some(),
        Allowed::Managers => caller.role == Some(NodeRole::Manager),
    };
    if is_allowed {
        return Ok(caller);
    }
    let wanted = match allowed {
        Allowed::Anyone | Allowed::Members => "swarm-manager swarm-worker",
        Allowed::Managers => "swarm-manager",
    };
    Err(Status::permission_denied(format!(
        "unauthorized peer role, expecting: [{wanted}]"
    )))
}

impl Forwarded {
    fn certificate(&self) -> Option<PeerCertificate> {
        let role = self.ou.iter().find_map(|ou| role_of_ou(ou))?;
        Some(PeerCertificate {
            node_id: self.cn.clone(),
            role,
            cluster_id: self.org.clone(),
        })
    }

    /// What a manager says about the peer whose call it hands on.
    pub(crate) fn of(peer: &Peer) -> Self {
        let certificate = peer.certificate.as_ref();
        Self {
            cn: certificate.map(|c| c.node_id.clone()).unwrap_or_default(),
            org: certificate
                .map(|c| c.cluster_id.clone())
                .unwrap_or_default(),
            ou: certificate
                .map(|c| ou_of_role(c.role).to_owned())
                .into_iter()
                .collect(),
            remote_addr: peer.remote_addr.map(|a| a.to_string()),
        }
    }
}

/// Puts the check before a server's services.
#[derive(Clone)]
pub struct AuthorizeLayer {
    trust: Arc<dyn ClusterTrust>,
}

impl std::fmt::Debug for AuthorizeLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthorizeLayer")
    }
}

impl AuthorizeLayer {
    /// A layer for `tonic::transport::Server::layer`.
    pub fn new(trust: Arc<dyn ClusterTrust>) -> Self {
        Self { trust }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            trust: Arc::clone(&self.trust),
        }
    }
}

/// The service that [`AuthorizeLayer`] makes.
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    trust: Arc<dyn ClusterTrust>,
}

impl<S> std::fmt::Debug for Authorize<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorize")
    }
}

impl<S, B> Service<Request<B>> for Authorize<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request
            .extensions()
            .get::<Peer>()
            .cloned()
            .unwrap_or_default();
        match authorize(request.uri().path(), &peer, request.headers(), &*self.trust) {
            Ok(caller) => {
                let is_known = !caller.is_local && !caller.node_id.is_empty();
                let guard = is_known.then(|| (Arc::clone(&self.trust), caller.node_id.clone()));
                request.extensions_mut().insert(caller);
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let answer = answer.await?;
                    Ok(match guard {
                        Some((trust, node)) => {
                            answer.map(|body| guard::Guarded::body(body, trust, node))
                        }
                        None => answer,
                    })
                })
            }
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}

/// The caller that the layer left in a request.
pub fn caller_of<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::permission_denied("request carries no identity"))
}

#[cfg(test)]
mod tests;
