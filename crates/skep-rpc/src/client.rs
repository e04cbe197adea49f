//! The dialling side: channels to managers. A channel reconnects by itself and takes the
//! credentials that are current at that moment.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use skep_objects::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::identity::{NodeIdentity, OU_MANAGER};
use crate::server::LocalDialer;
use crate::socket;

/// Deadline of a dial, unless the caller gives another.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(5);
/// Deadline of unary calls to CA, NodeCA and dispatcher.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Why a manager cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("invalid address {0:?}")]
    Address(String),
    /// No connection, or TLS failed. The text is what Go's gRPC says of it.
    #[error(
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: {}\"",
        in_words(.addr, .source)
    )]
    Dial {
        /// The manager's address.
        addr: String,
        /// Tonic's error; its sources tell more.
        #[source]
        source: tonic::transport::Error,
    },
}

/// An error and what it came of, the deepest last.
fn causes<'a>(
    error: &'a tonic::transport::Error,
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        error.source()
    })
}

/// The kernel's answer to a dial, if it came to that.
fn refusal(error: &tonic::transport::Error) -> Option<io::ErrorKind> {
    let mut kinds =
        causes(error).filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    kinds.find(|kind| {
        matches!(
            kind,
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        )
    })
}

fn in_words(addr: &str, error: &tonic::transport::Error) -> String {
    let dial = format!("Error while dialing: dial tcp {addr}");
    let cause = causes(error).last().map(ToString::to_string);
    let cause = cause.unwrap_or_default();
    match refusal(error) {
        Some(io::ErrorKind::ConnectionRefused) => format!("{dial}: connect: connection refused"),
        Some(io::ErrorKind::HostUnreachable) => format!("{dial}: connect: no route to host"),
        Some(_) => format!("{dial}: connect: network is unreachable"),
        None if cause.contains("lookup address") => {
            let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
            format!("Error while dialing: dial tcp: lookup {host}: no such host")
        }
        None if cause.contains("elapsed") || cause.contains("timed out") => {
            format!("{dial}: i/o timeout")
        }
        None => format!("authentication handshake failed: {cause}"),
    }
}

impl ConnectError {
    /// The peer's certificate, or ours in its eyes, is not of this swarm: trying again is no use.
    pub fn is_certificate(&self) -> bool {
        let Self::Dial { source, .. } = self else {
            return false;
        };
        for error in causes(source) {
            if let Some(io) = error.downcast_ref::<io::Error>()
                && let Some(tls) = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>())
            {
                return is_certificate_error(tls);
            }
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return is_certificate_error(tls);
            }
        }
        false
    }

    /// The other end's host answered that nobody listens there, or there is no way to it: another try
    /// at once will not go better.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Dial { source, .. } => {
                let is_unknown =
                    |cause: &(dyn Error + 'static)| cause.to_string().contains("lookup address");
                refusal(source).is_some() || causes(source).any(is_unknown)
            }
        }
    }

    /// The kind of this error, for status codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Address(_) => ErrorKind::InvalidArgument,
            Self::Dial { .. } => ErrorKind::Unavailable,
        }
    }
}

fn is_certificate_error(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(_) => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRevoked
        ),
        _ => false,
    }
}

/// How to reach a manager.
#[derive(Clone)]
enum Route {
    Identity(NodeIdentity),
    Config(Arc<ClientConfig>),
    Local(LocalDialer),
}

/// Connects with this node's certificate.
pub async fn connect(addr: &str, identity: &NodeIdentity) -> Result<Channel, ConnectError> {
    eager(
        addr,
        OU_MANAGER,
        Route::Identity(identity.clone()),
        DIAL_DEADLINE,
    )
    .await
}

/// As [`connect`], but the dial happens with the first call.
pub fn connect_lazy(addr: &str, identity: &NodeIdentity) -> Result<Channel, ConnectError> {
    let dialer = Dialer::new(addr, OU_MANAGER, Route::Identity(identity.clone()));
    Ok(endpoint(addr, DIAL_DEADLINE)?.connect_with_connector_lazy(dialer))
}

/// Connects with given TLS settings and server name (bootstrap, GetUnlockKey).
pub async fn connect_with(
    addr: &str,
    server_name: &'static str,
    config: Arc<ClientConfig>,
    deadline: Duration,
) -> Result<Channel, ConnectError> {
    eager(addr, server_name, Route::Config(config), deadline).await
}

/// Connects to the manager in this process; acts as this node.
pub fn connect_local(dialer: &LocalDialer) -> Result<Channel, ConnectError> {
    let dialer = Dialer::new("local:0", OU_MANAGER, Route::Local(dialer.clone()));
    Ok(endpoint("local:0", DIAL_DEADLINE)?.connect_with_connector_lazy(dialer))
}

async fn eager(
    addr: &str,
    server_name: &'static str,
    route: Route,
    deadline: Duration,
) -> Result<Channel, ConnectError> {
    let dialer = Dialer::new(addr, server_name, route);
    endpoint(addr, deadline)?
        .connect_with_connector(dialer)
        .await
        .map_err(|source| ConnectError::Dial {
            addr: addr.to_owned(),
            source,
        })
}

fn endpoint(addr: &str, deadline: Duration) -> Result<Endpoint, ConnectError> {
    let invalid = |_| ConnectError::Address(addr.to_owned());
    // The scheme must be http, since TLS is ours and not tonic's; the origin is what peers see.
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(invalid)?;
    Ok(endpoint
        .origin(Uri::from_static("https://swarm-manager"))
        .connect_timeout(deadline)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20))
}

/// One dial per call; the connector that tonic keeps for reconnecting.
#[derive(Clone)]
struct Dialer {
    addr: String,
    server_name: &'static str,
    route: Route,
}

impl Dialer {
    fn new(addr: &str, server_name: &'static str, route: Route) -> Self {
        Self {
            addr: addr.to_owned(),
            server_name,
            route,
        }
    }

    async fn dial(self) -> io::Result<TokioIo<Box<dyn Stream>>> {
        let config = match self.route {
            Route::Local(dialer) => {
                return Ok(TokioIo::new(
                    Box::new(dialer.dial().await?) as Box<dyn Stream>
                ));
            }
            Route::Identity(identity) => identity.current().client_config(),
            Route::Config(config) => config,
        };
        let tcp = TcpStream::connect(&self.addr).await?;
        socket::tune(&tcp)?;
        let name = ServerName::try_from(self.server_name).map_err(io::Error::other)?;
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        Ok(TokioIo::new(Box::new(tls) as Box<dyn Stream>))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}
