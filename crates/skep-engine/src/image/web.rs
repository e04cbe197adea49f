//! Plain requests to web servers, beside what the client of images does: signing in, searching, files to
//! import.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use reqwest::{Certificate, Client, NoProxy, Proxy, RequestBuilder};

use super::error::ImageError;
use super::proxies::Proxies;

/// A registry that says nothing for so long does not answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// No answer to these requests is larger.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// What the registry says is wrong: `code: message` of its first error, in lower case as Docker
    /// tells it.
    pub fn complaint(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let error = &body["errors"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        match (
            text(&error["code"]),
            text(&error["message"]),
            text(&body["details"]),
        ) {
            (code, message, _) if !code.is_empty() => {
                let code = code.to_lowercase().replace('_', " ");
                if message.is_empty() {
                    code
                } else {
                    format!("{code}: {message}")
                }
            }
            (_, _, details) if !details.is_empty() => format!("unauthorized: {details}"),
            _ if self.status == StatusCode::UNAUTHORIZED => {
                "unauthorized: authentication required".to_owned()
            }
            _ => format!("received unexpected HTTP status: {}", self.status),
        }
    }
}

/// Asks web servers; the way there may lead through a proxy.
#[derive(Debug, Clone)]
pub(super) struct Web(Client);

impl Web {
    /// `unchecked` leaves servers' certificates aside.
    pub fn new(proxies: &Proxies, unchecked: bool) -> Result<Self, ImageError> {
        let bad = |error: reqwest::Error| ImageError::Registry(innermost(&error));
        let mut client = Client::builder()
            .tls_danger_accept_invalid_certs(unchecked)
            .tls_certs_only(
                system_roots()
                    .iter()
                    .filter_map(|der| Certificate::from_der(der).ok()),
            )
            .user_agent(USER_AGENT)
            .timeout(DEADLINE)
            .read_timeout(DEADLINE)
            .no_proxy();
        let around = NoProxy::from_string(&proxies.around());
        if let Some(proxy) = proxies.for_http() {
            client = client.proxy(Proxy::http(proxy).map_err(bad)?.no_proxy(around.clone()));
        }
        if let Some(proxy) = proxies.for_https() {
            client = client.proxy(Proxy::https(proxy).map_err(bad)?.no_proxy(around));
        }
        client.build().map(Self).map_err(bad)
    }

    /// GETs.
    pub async fn get(&self, url: &str, authorization: Option<&str>) -> Result<Answer, ImageError> {
        self.document(url, authorization, &[]).await
    }

    /// GETs a document in one of these forms.
    pub async fn document(
        &self,
        url: &str,
        authorization: Option<&str>,
        accept: &[&str],
    ) -> Result<Answer, ImageError> {
        let mut request = self.0.get(url);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if !accept.is_empty() {
            request = request.header(header::ACCEPT, accept.join(", "));
        }
        send("Get", url, request).await
    }

    /// GETs what may be long: `deadline` is for all of it.
    pub async fn open(
        &self,
        url: &str,
        deadline: Duration,
    ) -> Result<reqwest::Response, ImageError> {
        let request = self.0.get(url).timeout(deadline);
        request.send().await.map_err(failed("Get", url))
    }

    /// POSTs a form.
    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer, ImageError> {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let form = "application/x-www-form-urlencoded";
        let request = self.0.post(url).header(header::CONTENT_TYPE, form);
        send("Post", url, request.body(pairs.join("&"))).await
    }
}

/// What Docker says of a request that got no answer.
fn failed(verb: &str, url: &str) -> impl Fn(reqwest::Error) -> ImageError {
    move |error| {
        let why = match error.is_timeout() {
            true => "context deadline exceeded".to_owned(),
            false => dialled(url, &innermost(&error)),
        };
        ImageError::Unreachable(format!("{verb} {url:?}: {why}"))
    }
}

async fn send(verb: &str, url: &str, request: RequestBuilder) -> Result<Answer, ImageError> {
    let failed = failed(verb, url);
    let mut answer = request.send().await.map_err(&failed)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(&failed)? {
        body.extend_from_slice(&part);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(ImageError::invalid(
                "answer of the registry",
                "it is too large",
            ));
        }
    }
    Ok(Answer {
        status,
        headers,
        body: body.into(),
    })
}

/// What the system says of a connection that did not come about, in the words of Docker's messages,
/// which tell whom it was to.
fn dialled(url: &str, why: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if let Some(why) = why.strip_prefix("failed to lookup address information: ") {
        let host = match has_port {
            true => authority
                .rsplit_once(':')
                .map_or(authority, |(host, _)| host),
            false => authority,
        };
        let why = match why {
            "Name or service not known" | "No address associated with hostname" => "no such host",
            other => other,
        };
        return format!("dial tcp: lookup {host}: {why}");
    }
    let Some((text, _)) = why.split_once(" (os error ") else {
        return why.to_owned();
    };
    let port = match (has_port, scheme) {
        (true, _) => "",
        (false, "http") => ":80",
        (false, _) => ":443",
    };
    format!(
        "dial tcp {authority}{port}: connect: {}",
        text.to_lowercase()
    )
}

/// How skep presents itself.
pub(super) const USER_AGENT: &str = concat!("skep/", env!("CARGO_PKG_VERSION"));

/// The system's roots, in DER. Without any, https registries fail with a certificate error; http
/// ones work.
pub(super) fn system_roots() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    found.certs.iter().map(|cert| cert.to_vec()).collect()
}

/// Percent-encodes all but what is safe anywhere in a URL.
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
        all
    })
}

/// The cause of a cause, which says most.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_named() {
        let check = |url: &str, why: &str, expect: &str| assert_eq!(dialled(url, why), expect);
        let refused = "Connection refused (os error 111)";
        check(
            "http://127.0.0.1:1/v2/",
            refused,
            "dial tcp 127.0.0.1:1: connect: connection refused",
        );
        check(
            "https://hub.example/v2/",
            refused,
            "dial tcp hub.example:443: connect: connection refused",
        );
        let unknown = "failed to lookup address information: Name or service not known";
        check(
            "https://hub.example:5000/v2/",
            unknown,
            "dial tcp: lookup hub.example: no such host",
        );
        check(
            "https://hub.example/",
            "invalid peer certificate",
            "invalid peer certificate",
        );
    }
}
