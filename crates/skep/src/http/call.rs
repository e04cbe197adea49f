//! One request on its way through a route, and how answers are made.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_objects::api::decode;
use tokio::io::AsyncRead;

use super::Api;
use super::error::{ApiError, Result};
use super::query::Query;
use super::upload::Upload;
use super::version::ApiVersion;

/// The body of an answer: bytes at hand or a stream.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer.
pub type Response = http::Response<Body>;

/// The largest JSON body that is read: a config of 1000 KiB in base64 fits thrice.
const MAX_JSON: usize = 4 << 20;

/// A request within a route.
#[derive(Debug)]
pub struct Call {
    /// What the server serves.
    pub api: Arc<Api>,
    /// The client's version of the API.
    pub version: ApiVersion,
    /// The query string.
    pub query: Query,
    /// The request itself.
    pub request: Request<Upload>,
}

impl Call {
    /// The method.
    pub fn method(&self) -> Method {
        self.request.method().clone()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// A header as text, or empty.
    pub fn header(&self, name: &str) -> &str {
        self.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The whole body, when it is no larger than JSON may be.
    pub async fn bytes(&mut self) -> Result<Bytes> {
        let body = Limited::new(self.request.body_mut(), MAX_JSON);
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(err) => Err(ApiError::invalid(format!("read request body: {err}"))),
        }
    }

    /// The body as JSON, with Go's rules.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let body = self.bytes().await?;
        self.check_content_type(&body)?;
        Ok(decode::from_json(&body)?)
    }

    /// The body as JSON, or the zero value when none was sent.
    pub async fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        let body = self.bytes().await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        self.check_content_type(&body)?;
        Ok(decode::from_json(&body)?)
    }

    /// A body is JSON and says so. What is no body needs no name.
    pub fn check_content_type(&self, body: &[u8]) -> Result<()> {
        let given = self.header("content-type");
        let kind = given.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") || (given.is_empty() && body.is_empty()) {
            return Ok(());
        }
        Err(ApiError::invalid(format!(
            "unsupported Content-Type header ({given}): must be 'application/json'"
        )))
    }

    /// The body as a stream of bytes.
    pub fn into_reader(self) -> Box<dyn AsyncRead + Send + Unpin> {
        let body = self
            .request
            .into_body()
            .into_data_stream()
            .map_err(std::io::Error::other);
        Box::new(tokio_util::io::StreamReader::new(body))
    }
}

/// An empty answer.
pub fn empty(status: StatusCode) -> Response {
    let mut response = http::Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A plain text answer.
pub fn text(text: &'static str) -> Response {
    http::Response::new(whole(Bytes::from_static(text.as_bytes())))
}

/// A JSON answer, ended by a line feed as Go's encoder does.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response> {
    let mut text = serde_json::to_vec(value)
        .map_err(|err| ApiError::internal(format!("encode the answer: {err}")))?;
    text.push(b'\n');
    let mut response = http::Response::new(whole(text.into()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// A JSON answer with status 200.
pub fn ok<T: Serialize>(value: &T) -> Result<Response> {
    json(StatusCode::OK, value)
}

/// An answer whose body is still being made.
pub fn stream<S, E>(kind: &'static str, body: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let frames = body.map(|chunk| chunk.map(Frame::data).map_err(std::io::Error::other));
    let mut response = http::Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer that is copied from a reader.
pub fn reader(kind: &'static str, reader: impl AsyncRead + Send + 'static) -> Response {
    stream(
        kind,
        tokio_util::io::ReaderStream::with_capacity(reader, 64 * 1024),
    )
}

/// An answer of JSON values, one a line, each sent as soon as it is there.
pub fn json_lines<T: Serialize + Send + 'static>(
    values: impl Stream<Item = T> + Send + 'static,
) -> Response {
    let lines = values.map(|value| {
        let mut line = serde_json::to_vec(&value).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        Ok::<_, Infallible>(Bytes::from(line))
    });
    stream("application/json", lines)
}

/// The JSON of a refusal.
pub fn refusal(error: &ApiError) -> Response {
    if error.status == StatusCode::NOT_MODIFIED {
        return empty(error.status);
    }
    #[derive(Serialize)]
    struct Refusal<'a> {
        message: &'a str,
    }
    json(
        error.status,
        &Refusal {
            message: &error.message,
        },
    )
    .unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
}

fn whole(bytes: Bytes) -> Body {
    BodyExt::boxed_unsync(Full::new(bytes).map_err(|never: Infallible| match never {}))
}
