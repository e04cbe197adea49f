//! An external CA, asked with CFSSL's protocol: one JSON request for each certificate, over TLS with
//! this manager's own certificate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use skep_objects::swarmkit::NodeRole;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::identity::certificate::ou_of_role;
use crate::identity::{NodeIdentity, RootBundle};
use crate::tls;

/// How long one certificate may take.
const DEADLINE: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 256 << 10;

/// Why an external CA gave no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CfsslError {
    /// The address is none.
    #[error("external CA {url}: invalid URL")]
    Url {
        /// As configured.
        url: String,
    },
    /// It cannot be reached.
    #[error("external CA {url}: {source}")]
    Connect {
        /// As configured.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// It does not talk HTTP.
    #[error("external CA {url}: {text}")]
    Http {
        /// As configured.
        url: String,
        /// What went wrong.
        text: String,
    },
    /// It said no.
    #[error("external CA {url} refused: {text}")]
    Refused {
        /// As configured.
        url: String,
        /// Its words.
        text: String,
    },
    /// It says nothing.
    #[error("external CA {0}: no answer in time")]
    Deadline(String),
}

/// What the certificate shall say.
#[derive(Debug)]
pub struct SignRequest<'a> {
    /// The signing request, PEM.
    pub csr: &'a [u8],
    /// CN.
    pub node_id: &'a str,
    /// OU.
    pub role: NodeRole,
    /// O.
    pub cluster_id: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    hosts: Vec<&'a str>,
    certificate_request: std::borrow::Cow<'a, str>,
    subject: Subject<'a>,
    profile: &'a str,
    crl_override: &'a str,
    label: &'a str,
}

#[derive(Serialize)]
struct Subject<'a> {
    #[serde(rename = "CN")]
    cn: &'a str,
    names: [Name<'a>; 1],
    #[serde(rename = "SerialNumber")]
    serial: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Name<'a> {
    c: &'a str,
    st: &'a str,
    l: &'a str,
    o: &'a str,
    ou: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    success: bool,
    result: Option<Signed>,
    #[serde(default)]
    errors: Option<Vec<Problem>>,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(default)]
    certificate: String,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

/// Whether somebody is there whose certificate leads to `trust`, PEM, or to this node's own roots.
pub async fn reach(url: &str, identity: &NodeIdentity, trust: &[u8]) -> Result<(), CfsslError> {
    let uri: Uri = url.parse().map_err(|_| CfsslError::Url {
        url: url.to_owned(),
    })?;
    let connected = tokio::time::timeout(DEADLINE, connect(&uri, identity, trust)).await;
    let connected = connected.map_err(|_| CfsslError::Deadline(url.to_owned()))?;
    connected.map(drop).map_err(|source| CfsslError::Connect {
        url: url.to_owned(),
        source,
    })
}

/// Asks for one certificate; answers PEM. `trust` is the root that it signs for, PEM.
pub async fn sign(
    url: &str,
    identity: &NodeIdentity,
    trust: &[u8],
    request: &SignRequest<'_>,
) -> Result<Vec<u8>, CfsslError> {
    let ou = ou_of_role(request.role);
    let mut hosts = vec![ou, request.node_id];
    if request.role == NodeRole::Manager {
        hosts.push("swarm-ca");
    }
    let body = Body {
        hosts,
        certificate_request: String::from_utf8_lossy(request.csr),
        subject: Subject {
            cn: request.node_id,
            names: [Name {
                c: "",
                st: "",
                l: "",
                o: request.cluster_id,
                ou,
            }],
            serial: "",
        },
        profile: "",
        crl_override: "",
        label: "",
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let answered = tokio::time::timeout(DEADLINE, post(url, identity, trust, body)).await;
    let bytes = answered.map_err(|_| CfsslError::Deadline(url.to_owned()))??;
    let http = |text: String| CfsslError::Http {
        url: url.to_owned(),
        text,
    };
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|error| http(format!("its answer is not CFSSL's: {error}")))?;
    match answer.result {
        Some(signed) if answer.success && !signed.certificate.is_empty() => {
            Ok(signed.certificate.into_bytes())
        }
        _ => {
            let errors = answer.errors.unwrap_or_default();
            let texts: Vec<String> = errors.into_iter().map(|e| e.message).collect();
            Err(CfsslError::Refused {
                url: url.to_owned(),
                text: texts.join("; "),
            })
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn post(
    url: &str,
    identity: &NodeIdentity,
    trust: &[u8],
    body: Vec<u8>,
) -> Result<Bytes, CfsslError> {
    let invalid = || CfsslError::Url {
        url: url.to_owned(),
    };
    let http = |text: String| CfsslError::Http {
        url: url.to_owned(),
        text,
    };
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let host = uri.host().ok_or_else(invalid)?.to_owned();
    let io = connect(&uri, identity, trust)
        .await
        .map_err(|source| CfsslError::Connect {
            url: url.to_owned(),
            source,
        })?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(io));
    let (mut sender, connection) = handshake.await.map_err(|e| http(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| http(e.to_string()))?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|e| http(e.to_string()))?;
    let collected = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    connection.abort();
    Ok(collected.map_err(|e| http(e.to_string()))?.to_bytes())
}

/// Its certificate may be of the root that it signs for, which nodes do not trust yet while they
/// change over to that.
fn tls_config(identity: &NodeIdentity, trust: &[u8]) -> io::Result<ClientConfig> {
    let current = identity.current();
    let all = [current.roots().pem(), b"\n", trust].concat();
    let roots = RootBundle::from_pem(&all).map_err(io::Error::other)?;
    let config = tls::client_config(current.key(), current.certificate(), &roots);
    let mut config = config.map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn connect(uri: &Uri, identity: &NodeIdentity, trust: &[u8]) -> io::Result<Box<dyn Io>> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "its URL names no host");
    let host = uri.host().ok_or_else(missing)?;
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            let text = "its URL must begin with https:// or http://";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let bare = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((bare, port)).await?;
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let config = tls_config(identity, trust)?;
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    Ok(Box::new(stream))
}
