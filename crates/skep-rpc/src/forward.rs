//! Calls that reach a manager which is not the leader are handed to the leader: request and answer
//! pass through as they are, streams too, with metadata that says who the origin is. Both end when
//! the leader is deposed: one that stands still never answers, and its connection stays open.
//!
//! Put [`ForwardLayer`] outside [`crate::authorize::AuthorizeLayer`]: the leader decides.

mod guard;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::Layer;
use tower_service::Service;
use tracing::debug;

use crate::authorize::methods::{self, Method, Proxied};
use crate::peer::Peer;
use crate::server::MAX_MESSAGE_BYTES;

const CERT: HeaderName = HeaderName::from_static("forwarded_cert");
const CN: HeaderName = HeaderName::from_static("forwarded_cert_cn");
const ORG: HeaderName = HeaderName::from_static("forwarded_cert_org");
const OU: HeaderName = HeaderName::from_static("forwarded_cert_ou");
const ADDR: HeaderName = HeaderName::from_static("remote_addr");

/// What a manager says about a call that it hands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    pub(crate) cn: String,
    pub(crate) org: String,
    pub(crate) ou: Vec<String>,
    pub(crate) remote_addr: Option<String>,
}

impl Forwarded {
    /// Reads the metadata of a call; `None` if it was not handed on.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        if headers.get(CERT)?.as_bytes() != b"true" {
            return None;
        }
        let text = |name| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let ou = headers.get_all(OU).iter().filter_map(|v| v.to_str().ok());
        Some(Self {
            cn: text(CN).unwrap_or_default(),
            org: text(ORG).unwrap_or_default(),
            ou: ou.map(str::to_owned).collect(),
            remote_addr: text(ADDR),
        })
    }
}

/// Writes who the peer is, in place of anything that it said about itself. The empty values of a
/// peer without certificate matter: without them the call would look like this manager's own.
pub(crate) fn write_headers(headers: &mut HeaderMap, peer: &Peer) {
    strip_headers(headers);
    let said = Forwarded::of(peer);
    let value =
        |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.insert(CERT, HeaderValue::from_static("true"));
    headers.insert(CN, value(&said.cn));
    headers.insert(ORG, value(&said.org));
    for ou in &said.ou {
        headers.append(OU, value(ou));
    }
    if let Some(addr) = &said.remote_addr {
        headers.insert(ADDR, value(addr));
    }
}

fn strip_headers(headers: &mut HeaderMap) {
    for name in [CERT, CN, ORG, OU, ADDR] {
        headers.remove(name);
    }
}

/// Where the leader is.
#[derive(Clone, Debug)]
pub enum Leader {
    /// This manager.
    Local,
    /// Another.
    Remote {
        /// Which one.
        raft_id: u64,
        /// The way to it.
        channel: Channel,
    },
}

/// Knows the way to the leader.
#[tonic::async_trait]
pub trait LeaderLink: Send + Sync + 'static {
    /// Waits for a leader within its own limit; fails when there seems to be none. `failed` says
    /// that the last channel given turned out dead: it must not be given again.
    async fn leader(&self, failed: bool) -> Result<Leader, Status>;

    /// Returns when that manager leads no more, and has had time to answer what it was asked.
    async fn deposed(&self, raft_id: u64);
}

/// Puts the forwarding before a server's services.
#[derive(Clone)]
pub struct ForwardLayer {
    link: Arc<dyn LeaderLink>,
}

impl std::fmt::Debug for ForwardLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForwardLayer")
    }
}

impl ForwardLayer {
    /// A layer for `tonic::transport::Server::layer`; the outermost one.
    pub fn new(link: Arc<dyn LeaderLink>) -> Self {
        Self { link }
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Forward<S> {
        Forward {
            inner,
            link: Arc::clone(&self.link),
        }
    }
}

/// The service that [`ForwardLayer`] makes.
#[derive(Clone)]
pub struct Forward<S> {
    inner: S,
    link: Arc<dyn LeaderLink>,
}

impl<S> std::fmt::Debug for Forward<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forward")
    }
}

impl<S> Service<Request<Body>> for Forward<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request
            .extensions()
            .get::<Peer>()
            .cloned()
            .unwrap_or_default();
        let method = methods::find(request.uri().path());
        let proxied = method.filter(|m| match m.proxied {
            Proxied::Never => false,
            Proxied::Always => true,
            Proxied::FromHere => peer.is_local,
        });
        // The clone takes over later; the instance that was polled ready serves this call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let Some(method) = proxied else {
            return Box::pin(inner.call(request));
        };
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            match link.leader(false).await {
                Ok(Leader::Local) => inner.call(request).await,
                Ok(leader @ Leader::Remote { .. }) => {
                    let answer = hand_on(method, &peer, request, leader, &link).await;
                    Ok(answer.unwrap_or_else(Status::into_http))
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn hand_on(
    method: Method,
    peer: &Peer,
    request: Request<Body>,
    leader: Leader,
    link: &Arc<dyn LeaderLink>,
) -> Result<Response<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    if peer.is_local {
        strip_headers(&mut parts.headers);
    } else {
        if Forwarded::read(&parts.headers).is_some() {
            // The sender took us for the leader; it will look again.
            return Err(Status::unavailable("more than one redirect to leader"));
        }
        write_headers(&mut parts.headers, peer);
    }
    parts.extensions.clear();
    if method.streams_in {
        return ask(leader, Request::from_parts(parts, body), link).await;
    }
    let body = Limited::new(body, MAX_MESSAGE_BYTES + 5).collect().await;
    let body = body
        .map_err(|e| Status::resource_exhausted(e.to_string()))?
        .to_bytes();
    let build = |body: &Bytes| {
        let mut request = Request::new(Body::new(Full::new(body.clone())));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        *request.version_mut() = parts.version;
        request
    };
    let error = match ask(leader, build(&body), link).await {
        Ok(answer) => return Ok(answer),
        Err(error) if error.code() == Code::Aborted => return Err(error),
        Err(error) => error,
    };
    debug!(%error, method = method.name, "forwarded call is tried once more");
    match link.leader(true).await? {
        leader @ Leader::Remote { .. } => ask(leader, build(&body), link).await,
        // This manager was elected meanwhile: the origin's next call lands here.
        Leader::Local => Err(error),
    }
}

/// Asks the leader, for as long as it is the leader.
async fn ask(
    leader: Leader,
    request: Request<Body>,
    link: &Arc<dyn LeaderLink>,
) -> Result<Response<Body>, Status> {
    let Leader::Remote { raft_id, channel } = leader else {
        return Err(Status::unavailable("this manager leads now"));
    };
    let link = link.clone();
    let mut deposed: guard::Deposed = Box::pin(async move { link.deposed(raft_id).await });
    let answer = tokio::select! {
        answer = call(channel, request) => answer?,
        () = &mut deposed => return Err(guard::unanswered()),
    };
    Ok(answer.map(|body| Body::new(guard::Guarded::new(body, deposed))))
}

async fn call(mut channel: Channel, request: Request<Body>) -> Result<Response<Body>, Status> {
    let unavailable = |e: tonic::transport::Error| Status::unavailable(format!("leader: {e}"));
    std::future::poll_fn(|cx| channel.poll_ready(cx))
        .await
        .map_err(unavailable)?;
    channel.call(request).await.map_err(unavailable)
}
