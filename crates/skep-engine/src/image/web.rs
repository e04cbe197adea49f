//! Plain requests to registries, beside what the client of images does: signing in and searching.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::error::ImageError;

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

/// GETs; `unchecked` leaves the server's certificate aside.
pub(super) async fn get(
    url: &str,
    authorization: Option<&str>,
    unchecked: bool,
) -> Result<Answer, ImageError> {
    let failed = |why: String| ImageError::Unreachable(format!("Get {url:?}: {why}"));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(unchecked).map_err(&failed)?)
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = Request::builder().method(Method::GET).uri(url).header(
        header::USER_AGENT,
        concat!("skep/", env!("CARGO_PKG_VERSION")),
    );
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request
        .body(Empty::new())
        .map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let answer = client
            .request(request)
            .await
            .map_err(|error| failed(innermost(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    let late = || failed("context deadline exceeded".to_owned());
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .map_err(|_| late())?
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
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn tls(unchecked: bool) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if unchecked {
        let verifier = Arc::new(Unchecked(provider));
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        return Ok(builder.with_no_client_auth());
    }
    // Without any roots https fails with a certificate error, and http works.
    match builder.clone().with_native_roots() {
        Ok(builder) => Ok(builder.with_no_client_auth()),
        Err(_) => Ok(builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()),
    }
}

/// The user named the registry insecure.
#[derive(Debug)]
struct Unchecked(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls_pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls_pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
