//! Requests to a daemon: plain, streaming, and hijacked.

mod connect;
mod hijack;
mod ssh;
mod tls;

use std::sync::Mutex;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::Value;

pub use connect::Endpoint;
pub(crate) use hijack::frame;
pub use hijack::{Hijacked, Output, StreamKind, frames};
pub use tls::TlsFiles;
pub(crate) use tls::must_be_readable;

use crate::error::CliError;

/// The newest API version that this command line speaks.
const NEWEST: &str = "1.50";

type Body = BoxBody<Bytes, std::io::Error>;

/// What a daemon says of itself when it is pinged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    /// The newest API version that it speaks.
    pub version: Option<String>,
    /// `linux` or `windows`.
    pub os: String,
    /// Whether it has features that are no promise yet.
    pub experimental: bool,
    /// Its part in a swarm: `inactive`, `active/manager`, ...
    pub swarm: Option<String>,
}

/// A client of one daemon. The version is agreed on at the first request.
#[derive(Debug)]
pub struct Client {
    /// Why there is none shows at the first request: some commands make none.
    endpoint: Result<Endpoint, CliError>,
    pinned: Option<String>,
    headers: Vec<(String, String)>,
    agreed: Mutex<Option<String>>,
}

impl Client {
    /// A client; `version` pins the API version, `headers` go with every request.
    pub fn new(
        endpoint: Result<Endpoint, CliError>,
        version: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Self {
        Self {
            endpoint,
            pinned: version,
            headers,
            agreed: Mutex::default(),
        }
    }

    /// Where the daemon is.
    pub fn endpoint(&self) -> Result<&Endpoint, CliError> {
        self.endpoint.as_ref().map_err(Clone::clone)
    }

    /// The newest version that this command line speaks, or the pinned one.
    pub fn own_version(&self) -> &str {
        self.pinned.as_deref().unwrap_or(NEWEST)
    }

    /// Asks the daemon how it is.
    pub async fn ping(&self) -> Result<Ping, CliError> {
        let answer = self.raw(Method::HEAD, "/_ping", &[], empty()).await?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Ok(Ping {
            version: header("api-version"),
            os: header("ostype").unwrap_or_else(|| "linux".to_owned()),
            experimental: header("docker-experimental").as_deref() == Some("true"),
            swarm: header("swarm"),
        })
    }

    /// The API version that requests carry.
    pub async fn version(&self) -> Result<String, CliError> {
        if let Some(version) = &self.pinned {
            return Ok(version.clone());
        }
        if let Some(version) = self
            .agreed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
        {
            return Ok(version);
        }
        let theirs = self.ping().await?.version;
        let theirs = theirs.unwrap_or_else(|| NEWEST.to_owned());
        let version = if minor(&theirs) < minor(NEWEST) {
            theirs
        } else {
            NEWEST.to_owned()
        };
        *self
            .agreed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(version.clone());
        Ok(version)
    }

    /// GET, decoded.
    pub async fn get(&self, path: &str) -> Result<Value, CliError> {
        self.json(Method::GET, path, None).await
    }

    /// POST of a JSON body, decoded; null where there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// POST without a body.
    pub async fn post_empty(&self, path: &str) -> Result<Value, CliError> {
        self.json(Method::POST, path, None).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<Value, CliError> {
        self.json(Method::DELETE, path, None).await
    }

    /// Any method with JSON both ways.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        self.json_with(method, path, body, &[]).await
    }

    /// The same with headers.
    pub async fn json_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Value, CliError> {
        let mut all = headers.to_vec();
        if body.is_some() {
            all.push(("content-type", "application/json"));
        }
        let body = body.map_or_else(empty, |body| full(body.to_string()));
        let answer = self.send(method, path, &all, body).await?;
        let bytes = collect(answer.into_body()).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            CliError::new(format!(
                "error during connect: decode answer of {path}: {error}"
            ))
        })
    }

    /// A request whose answer streams.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<impl Stream<Item = Result<Bytes, CliError>> + Unpin + use<>, CliError> {
        let answer = self
            .send(method, path, headers, body.unwrap_or_else(empty))
            .await?;
        Ok(data(answer.into_body()))
    }

    /// A request whose answer's head matters.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<Response<Incoming>, CliError> {
        let path = format!("/v{}{path}", self.version().await?);
        let answer = self.raw(method, &path, headers, body).await?;
        checked(answer).await
    }

    async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<Response<Incoming>, CliError> {
        let endpoint = self.endpoint()?;
        let io = endpoint.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(|error| self.lost(&error))?;
        tokio::spawn(async move {
            // Its end shows in the answer's body.
            let _ = connection.with_upgrades().await;
        });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, endpoint.host_header())
            .header(
                header::USER_AGENT,
                concat!("skep/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(body)
            .map_err(|error| CliError::new(error.to_string()))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &hyper::Error) -> CliError {
        let place = self
            .endpoint
            .as_ref()
            .map_or_else(|_| String::new(), ToString::to_string);
        // A daemon with TLS answers plain words with words of TLS.
        let hint = if error.is_parse() && place.starts_with("tcp://") {
            "\n* Are you trying to connect to a TLS-enabled daemon without TLS?"
        } else {
            ""
        };
        CliError::new(format!("error during connect: {place}: {error}{hint}"))
    }
}

/// An answer that is no error; errors carry the daemon's message.
async fn checked(answer: Response<Incoming>) -> Result<Response<Incoming>, CliError> {
    let status = answer.status();
    if status.is_success()
        || status.is_redirection()
        || status == http::StatusCode::SWITCHING_PROTOCOLS
    {
        return Ok(answer);
    }
    let bytes = collect(answer.into_body()).await?;
    let message = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned());
    Err(CliError::from_daemon(status.as_u16(), &message))
}

async fn collect(body: Incoming) -> Result<Bytes, CliError> {
    body.collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| CliError::new(format!("error during connect: {error}")))
}

pub(crate) fn data(body: Incoming) -> impl Stream<Item = Result<Bytes, CliError>> + Unpin {
    Box::pin(BodyStream::new(body).filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(CliError::new(format!("error during connect: {error}")))),
        }
    }))
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body in memory.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body that is read while it is sent.
pub fn streamed(
    stream: impl Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static,
) -> Body {
    http_body_util::BodyExt::boxed(StreamBody::new(stream.map_ok(Frame::data)))
}

/// JSON values out of a stream of bytes, one after the other.
pub fn json_lines(
    bytes: impl Stream<Item = Result<Bytes, CliError>> + Unpin,
) -> impl Stream<Item = Result<Value, CliError>> + Unpin {
    Box::pin(futures::stream::unfold(
        (bytes, Vec::new(), false),
        |(mut bytes, mut kept, mut ended)| async move {
            loop {
                let mut values = serde_json::Deserializer::from_slice(&kept).into_iter::<Value>();
                match values.next() {
                    Some(Ok(value)) => {
                        let used = values.byte_offset();
                        kept.drain(..used);
                        return Some((Ok(value), (bytes, kept, ended)));
                    }
                    Some(Err(error)) if !error.is_eof() || ended => {
                        let text = String::from_utf8_lossy(&kept).into_owned();
                        kept.clear();
                        return Some((
                            Err(CliError::new(format!("{error}: {text}"))),
                            (bytes, kept, true),
                        ));
                    }
                    _ if ended => return None,
                    _ => match bytes.next().await {
                        Some(Ok(part)) => kept.extend_from_slice(&part),
                        Some(Err(error)) => return Some((Err(error), (bytes, Vec::new(), true))),
                        None => ended = true,
                    },
                }
            }
        },
    ))
}

/// Path and query with what needs it escaped.
pub fn url(path: &str, query: &[(&str, &str)]) -> String {
    let query: Vec<_> = query
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", escape_query(value)))
        .collect();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    }
}

/// The same where empty values are told too, and a name may come more than once.
pub fn url_of(path: &str, query: &[(&str, String)]) -> String {
    let query: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", escape_query(value)))
        .collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

/// The same for values of a query, where a plus is a space.
pub fn escape_query(text: &str) -> String {
    escape(text).replace("%20", "+")
}

/// Percent-encodes all but what is safe anywhere in a URL.
pub fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

/// `-f key=value` flags as the query parameter `filters`: `{"key":{"value":true}}`.
pub fn filters(given: &[String]) -> Result<String, CliError> {
    let mut all: std::collections::BTreeMap<&str, std::collections::BTreeMap<&str, bool>> =
        Default::default();
    for filter in given.iter().filter(|filter| !filter.is_empty()) {
        let (key, value) = filter.split_once('=').ok_or_else(|| {
            CliError::new(format!(
                "invalid argument \"{filter}\" for \"--filter\" flag: bad format of filter (expected name=value)"
            ))
        })?;
        all.entry(key.trim())
            .or_default()
            .insert(value.trim(), true);
    }
    if all.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(&all).map_err(|error| CliError::new(error.to_string()))
}

fn minor(version: &str) -> u32 {
    version
        .split_once('.')
        .and_then(|(_, minor)| minor.parse().ok())
        .unwrap_or(0)
}
