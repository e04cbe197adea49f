//! One registry that answered, for one operation.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::{Client, Reference as Address, secrets};
use serde::Deserialize;
use skep_objects::reference::Reference;
use tokio::sync::OnceCell;

use super::ImageError;
use super::blobs::{MAX_DOCUMENT_BYTES, digest_of, verify};
use super::credentials::RegistryAuth;
use super::manifest::{Fetched, INDEX_TYPES, MANIFEST_TYPES, fetched};
use super::proxies::Proxies;
use super::token::{self, Challenge};
use super::web::{Answer, USER_AGENT, Web, escaped, innermost, system_roots};

const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
const READ_DEADLINE: Duration = Duration::from_secs(60);

/// A registry's host, and how it may be spoken to.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub host: String,
    /// It has what another has.
    pub is_mirror: bool,
    /// Without TLS.
    pub plain: bool,
    /// With any certificate.
    pub unchecked: bool,
    pub proxies: Proxies,
}

/// Nobody wants more images of one name; a registry that goes on is not followed.
const MAX_TAGS: usize = 10_000;

/// One registry that answered, for one operation.
#[derive(Clone)]
pub(super) struct Session {
    pub client: Client,
    pub address: Address,
    pub auth: Arc<secrets::RegistryAuth>,
    /// What the user called it, for texts.
    pub reference: Reference,
    place: Arc<Place>,
    /// The credentials that this registry may see.
    given: Arc<RegistryAuth>,
    identity: Option<Identity>,
    /// How documents are asked for, once the registry has said what it wants for that.
    way: Arc<OnceCell<Way>>,
}

/// For what the client of images would read whole, however long it is: manifests, and lists of tags.
struct Way {
    web: Web,
    authorization: Option<String>,
}

/// What an identity token was exchanged for, and until when that will do.
#[derive(Clone, Copy)]
struct Identity {
    action: &'static str,
    renew_at: Instant,
}

impl Session {
    /// Prepares to speak with a registry; nothing is sent yet.
    ///
    /// A mirror is somebody else: it is not shown what is meant for the registry that it mirrors.
    pub fn new(
        place: Arc<Place>,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Self, ImageError> {
        let host = place.host.clone();
        let given = match place.is_mirror && !auth.is_for(&host) {
            true => RegistryAuth::default(),
            false => auth.clone(),
        };
        let path = reference.path().to_owned();
        let address = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Address::with_digest(host, path, digest.to_owned()),
            (None, tag) => Address::with_tag(host, path, tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self {
            client: client(&place)?,
            address,
            auth: Arc::new(given.secret()),
            reference: reference.clone(),
            place,
            given: Arc::new(given),
            identity: None,
            way: Arc::default(),
        })
    }

    /// Exchanges an identity token, if that is what there is, for one that is good for `action`.
    pub async fn signed_in(self, action: &'static str) -> Result<Self, ImageError> {
        let auth = &*self.given;
        if auth.identitytoken.is_empty() {
            return Ok(self);
        }
        let web = Web::new(&self.place.proxies, self.place.unchecked)?;
        let first = web.get(&format!("{}/v2/", self.url()), None).await?;
        let Some(Challenge::Bearer { realm, service }) = Challenge::of(&first) else {
            return Ok(self);
        };
        let scope = format!("repository:{}:{action}", self.reference.path());
        let token = token::fetch(&web, (&realm, &service), Some(&scope), auth).await?;
        let token = token.map_err(|answer| ImageError::LoginRefused(answer.complaint()))?;
        Ok(Self {
            // Another client: the old one remembers the token before.
            client: client(&self.place)?,
            auth: Arc::new(secrets::RegistryAuth::Bearer(token.access)),
            identity: Some(Identity {
                action,
                renew_at: token.renew_at,
            }),
            way: Arc::default(),
            ..self
        })
    }

    /// This session, or one with a new token where the old one will not do much longer.
    pub async fn fresh(&self) -> Result<Cow<'_, Self>, ImageError> {
        match &self.identity {
            Some(identity) if Instant::now() >= identity.renew_at => {
                let renewed = self.clone().signed_in(identity.action).await?;
                let auth = &renewed.auth;
                // Blobs are asked for with what the client remembers.
                let registry = renewed.address.resolve_registry();
                renewed.client.store_auth_if_needed(registry, auth).await;
                Ok(Cow::Owned(renewed))
            }
            _ => Ok(Cow::Borrowed(self)),
        }
    }

    /// Scheme and host.
    fn url(&self) -> String {
        let scheme = if self.place.plain { "http" } else { "https" };
        format!("{scheme}://{}", self.place.host)
    }

    /// Whether it is spoken to without TLS.
    pub fn is_plain(&self) -> bool {
        self.place.plain
    }

    async fn way(&self) -> Result<&Way, ImageError> {
        let find = || async {
            let pull = oci_client::RegistryOperation::Pull;
            let token = self.client.auth(&self.address, &self.auth, pull).await;
            let token = token.map_err(|error| self.explain(error))?;
            let bearer = token.map(|token| format!("Bearer {token}"));
            Ok(Way {
                web: Web::new(&self.place.proxies, self.place.unchecked)?,
                authorization: bearer.or_else(|| self.given.basic()),
            })
        };
        self.way.get_or_try_init(find).await
    }

    /// Asks for a document of the repository; one that is too long is refused.
    async fn ask(&self, path: &str, accept: &[&str]) -> Result<Answer, ImageError> {
        let way = self.way().await?;
        let url = format!("{}/v2/{}/{path}", self.url(), self.reference.path());
        let asked = way.web.document(&url, way.authorization.as_deref(), accept);
        let answer = asked.await?;
        let refusal = match answer.status {
            StatusCode::OK => return Ok(answer),
            StatusCode::UNAUTHORIZED => OciDistributionError::UnauthorizedError { url },
            status => match serde_json::from_slice(&answer.body) {
                Ok(envelope) if status.is_client_error() => {
                    OciDistributionError::RegistryError { envelope, url }
                }
                _ => OciDistributionError::ServerError {
                    code: status.as_u16(),
                    url,
                    message: String::from_utf8_lossy(&answer.body).into_owned(),
                },
            },
        };
        Err(self.explain(refusal))
    }

    /// Fetches the manifest or index that the session is about.
    pub async fn top(&self) -> Result<Fetched, ImageError> {
        let accept: Vec<&str> = MANIFEST_TYPES.iter().chain(&INDEX_TYPES).copied().collect();
        let of = self.address.digest().or(self.address.tag());
        self.fetch_manifest(&self.reference, of.unwrap_or("latest"), &accept)
            .await
    }

    /// Fetches a manifest of an index by digest.
    pub async fn manifest(&self, digest: &str) -> Result<Fetched, ImageError> {
        let reference = self.reference.with_digest(digest)?;
        self.fetch_manifest(&reference, digest, &MANIFEST_TYPES)
            .await
    }

    async fn fetch_manifest(
        &self,
        reference: &Reference,
        of: &str,
        accept: &[&str],
    ) -> Result<Fetched, ImageError> {
        let answer = self.ask(&format!("manifests/{of}"), accept).await?;
        let claimed = answer.headers.get("docker-content-digest");
        let claimed = claimed.and_then(|digest| digest.to_str().ok());
        // Without a claim it is what it is.
        let claimed = claimed.map_or_else(|| digest_of(&answer.body), str::to_owned);
        fetched(reference, answer.body.to_vec(), &claimed)
    }

    /// The repository's tags, page by page.
    pub async fn tags(&self) -> Result<Vec<String>, ImageError> {
        const PAGE: usize = 1000;
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut tags: Vec<String> = Vec::new();
        loop {
            let after = tags
                .last()
                .map_or_else(String::new, |last| format!("&last={}", escaped(last)));
            let answer = self.ask(&format!("tags/list?n={PAGE}{after}"), &[]).await?;
            let page: Page = serde_json::from_slice(&answer.body)
                .map_err(|error| ImageError::invalid("list of tags", error))?;
            // A registry that knows no pages tells all each time.
            let page = page.tags.unwrap_or_default();
            let new: Vec<String> = page.into_iter().filter(|tag| !tags.contains(tag)).collect();
            let is_last = new.len() < PAGE;
            tags.extend(new);
            if is_last || tags.len() > MAX_TAGS {
                return Ok(tags);
            }
        }
    }

    /// Fetches a config blob.
    pub async fn document(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        use futures::TryStreamExt as _;
        let blob = self
            .client
            .pull_blob_stream(&self.address, digest)
            .await
            .map_err(|error| self.explain(error))?;
        let mut content = Vec::new();
        let mut stream = blob.stream;
        while let Some(part) = stream
            .try_next()
            .await
            .map_err(|source| ImageError::Stream {
                what: "fetch image config",
                source,
            })?
        {
            content.extend_from_slice(&part);
            if content.len() as u64 > MAX_DOCUMENT_BYTES {
                return Err(ImageError::invalid("image config", "it is too large"));
            }
        }
        verify("image config", digest, &digest_of(&content))?;
        Ok(content)
    }

    pub fn is_mirror(&self) -> bool {
        self.place.is_mirror
    }

    /// The error as Docker would tell it.
    pub fn explain(&self, error: OciDistributionError) -> ImageError {
        let name = self.reference.familiar_name();
        match error {
            OciDistributionError::RegistryError { envelope, .. } => {
                match envelope.errors.first().map(|error| &error.code) {
                    Some(OciErrorCode::ManifestUnknown | OciErrorCode::NotFound) => {
                        ImageError::ManifestUnknown(self.reference.familiar())
                    }
                    Some(OciErrorCode::Denied | OciErrorCode::NameUnknown) => {
                        ImageError::PullDenied(name)
                    }
                    Some(OciErrorCode::Unauthorized) => ImageError::Unauthorized,
                    _ => ImageError::Registry(envelope.to_string()),
                }
            }
            OciDistributionError::ImageManifestNotFoundError(_) => {
                ImageError::ManifestUnknown(self.reference.familiar())
            }
            OciDistributionError::ServerError { code: 404, .. } => {
                ImageError::ManifestUnknown(self.reference.familiar())
            }
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => ImageError::Unauthorized,
            OciDistributionError::RequestError(error) => {
                let text = innermost(&error);
                ImageError::Unreachable(format!("Get \"{}/v2/\": {text}", self.url()))
            }
            other => ImageError::Registry(other.to_string()),
        }
    }
}

fn client(place: &Place) -> Result<Client, ImageError> {
    let config = ClientConfig {
        protocol: if place.plain {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        accept_invalid_certificates: place.unchecked,
        platform_resolver: None,
        read_timeout: Some(READ_DEADLINE),
        connect_timeout: Some(CONNECT_DEADLINE),
        user_agent: USER_AGENT,
        tls_certs_only: system_roots()
            .into_iter()
            .map(|data| Certificate {
                encoding: CertificateEncoding::Der,
                data,
            })
            .collect(),
        http_proxy: place.proxies.for_http().map(str::to_owned),
        https_proxy: place.proxies.for_https().map(str::to_owned),
        no_proxy: Some(place.proxies.around()),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| ImageError::Registry(error.to_string()))
}
