//! Registries: which address a reference means, how it is spoken to, and what its errors mean.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::{Client, Reference as Address, secrets};
use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use skep_objects::reference::{DEFAULT_DOMAIN, Reference};

use super::ImageError;
use super::blobs::{MAX_DOCUMENT_BYTES, digest_of, verify};
use super::config::host_architecture;

const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
const READ_DEADLINE: Duration = Duration::from_secs(60);
pub(super) const HUB: &str = "registry-1.docker.io";

/// Media types of a manifest of one image.
pub(super) const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// What the daemon configuration says of registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// `host[:port]` or a subnet: certificates are not checked, and plain http will do.
    pub insecure: Vec<String>,
    /// Base URLs that are asked before Docker Hub.
    pub mirrors: Vec<String>,
}

/// Credentials, as `X-Registry-Auth` carries them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// The two above, `user:password` in base64.
    pub auth: String,
    /// A token in place of a password.
    pub identitytoken: String,
    /// A bearer token that is sent as it is.
    pub registrytoken: String,
}

impl std::fmt::Debug for RegistryAuth {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl RegistryAuth {
    /// Decodes the header: base64url of JSON. Empty gives no credentials.
    pub fn decode(header: &str) -> Result<Self, ImageError> {
        use base64::Engine as _;
        if header.is_empty() {
            return Ok(Self::default());
        }
        let bad = |error: String| ImageError::invalid("X-Registry-Auth header", error);
        let plain = header
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(plain)
            .map_err(|error| bad(error.to_string()))?;
        let auth: Option<Self> =
            serde_json::from_slice(&json).map_err(|error| bad(error.to_string()))?;
        Ok(auth.unwrap_or_default())
    }

    /// User and password as the header `Authorization` has them; nothing without a user.
    pub(super) fn basic(&self) -> Option<String> {
        use base64::Engine as _;
        match self.secret() {
            secrets::RegistryAuth::Basic(user, password) => {
                let pair = format!("{user}:{password}");
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                Some(format!("Basic {pair}"))
            }
            _ => None,
        }
    }

    fn secret(&self) -> secrets::RegistryAuth {
        use base64::Engine as _;
        if !self.registrytoken.is_empty() {
            return secrets::RegistryAuth::Bearer(self.registrytoken.clone());
        }
        if !self.username.is_empty() {
            return secrets::RegistryAuth::Basic(self.username.clone(), self.password.clone());
        }
        let pair = base64::engine::general_purpose::STANDARD
            .decode(&self.auth)
            .ok()
            .and_then(|pair| String::from_utf8(pair).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) => {
                secrets::RegistryAuth::Basic(user.to_owned(), password.to_owned())
            }
            None => secrets::RegistryAuth::Anonymous,
        }
    }
}

/// What `/distribution/{name}/json` tells.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// Digest of what the reference leads to: an index or a manifest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// `(architecture, os, variant)` of the images in it.
    pub platforms: Vec<(String, String, String)>,
}

/// Clients, and how each registry turned out to be spoken to.
#[derive(Default)]
pub(super) struct Registry {
    config: Mutex<RegistryConfig>,
    plain: Mutex<BTreeMap<String, bool>>,
}

/// One registry that answered, for one operation.
#[derive(Clone)]
pub(super) struct Session {
    pub client: Client,
    pub address: Address,
    pub auth: Arc<secrets::RegistryAuth>,
    /// What the user called it, for texts.
    pub reference: Reference,
    url: String,
}

/// A manifest, or an index of them, as it came.
pub(super) struct Fetched {
    pub digest: String,
    pub media_type: String,
    pub content: Vec<u8>,
}

impl Registry {
    pub fn new(config: RegistryConfig) -> Self {
        // The http client asks for the process's provider; another part may have named it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            config: Mutex::new(config),
            plain: Mutex::default(),
        }
    }

    pub fn set_config(&self, config: RegistryConfig) {
        *self
            .config
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = config;
    }

    pub fn config(&self) -> RegistryConfig {
        self.config
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// Fetches the manifest or index that the reference names, from the first place that has it:
    /// mirrors before Docker Hub; where http is allowed, https before http.
    pub async fn fetch(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<(Session, Fetched), ImageError> {
        let accepted: Vec<&str> = MANIFEST_TYPES.iter().chain(&INDEX_TYPES).copied().collect();
        let mut last = None;
        for session in self.sessions(reference, auth)? {
            match session
                .client
                .pull_manifest_raw(&session.address, &session.auth, &accepted)
                .await
            {
                Ok((content, digest)) => {
                    self.remember(&session);
                    return fetched(reference, content.to_vec(), &digest)
                        .map(|fetched| (session, fetched));
                }
                Err(error) => {
                    let error = session.explain(error);
                    // What the registry itself says counts more than that another did not answer.
                    if last.as_ref().is_none_or(ImageError::is_unreachable)
                        || !error.is_unreachable()
                    {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            ImageError::Unreachable(format!("no registry for {}", reference.familiar()))
        }))
    }

    /// A session for pushing: mirrors have no part in it.
    pub async fn for_push(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Session, ImageError> {
        let mut last = None;
        for session in self
            .sessions(reference, auth)?
            .into_iter()
            .filter(|session| !session.is_mirror())
        {
            let operation = oci_client::RegistryOperation::Push;
            match session
                .client
                .auth(&session.address, &session.auth, operation)
                .await
            {
                Ok(_) => {
                    self.remember(&session);
                    return Ok(session);
                }
                Err(error) => last = Some(session.explain(error)),
            }
        }
        Err(last.unwrap_or_else(|| {
            ImageError::Unreachable(format!("no registry for {}", reference.familiar()))
        }))
    }

    /// Every way to reach the registry, best first.
    fn sessions(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Vec<Session>, ImageError> {
        let config = self.config();
        let mut places = Vec::new();
        if reference.domain() == DEFAULT_DOMAIN {
            for mirror in &config.mirrors {
                let (scheme, rest) = mirror.split_once("://").unwrap_or(("https", mirror));
                places.push((
                    rest.trim_end_matches('/').to_owned(),
                    scheme == "http",
                    false,
                ));
            }
            places.push((HUB.to_owned(), false, false));
        } else {
            let host = reference.domain().to_owned();
            if is_insecure(&host, &config.insecure) {
                let known = self
                    .plain
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .get(&host)
                    .copied();
                let order = if known == Some(true) {
                    [true, false]
                } else {
                    [false, true]
                };
                places.extend(order.map(|plain| (host.clone(), plain, true)));
            } else {
                places.push((host, false, false));
            }
        }
        places
            .into_iter()
            .map(|(host, plain, unchecked)| session(reference, auth, host, plain, unchecked))
            .collect()
    }

    fn remember(&self, session: &Session) {
        let plain = session.url.starts_with("http://");
        self.plain
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(session.address.registry().to_owned(), plain);
    }
}

impl super::Images {
    /// What a reference leads to in its registry, without pulling it.
    pub async fn distribution(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Distribution, ImageError> {
        let reference = reference.clone().or_latest();
        let (session, fetched) = self.0.registry.fetch(&reference, auth).await?;
        let platforms = match parse(&fetched)? {
            Parsed::Index(index) => index
                .manifests()
                .iter()
                .filter_map(|entry| entry.platform().as_ref())
                .map(|p| {
                    (
                        p.architecture().to_string(),
                        p.os().to_string(),
                        p.variant().clone().unwrap_or_default(),
                    )
                })
                .collect(),
            Parsed::Manifest(manifest) => {
                let config = session
                    .document(manifest.config().digest().as_ref())
                    .await?;
                let config = super::ImageConfig::decode(&config)?;
                vec![(config.architecture, config.os, config.variant)]
            }
        };
        Ok(Distribution {
            size_bytes: fetched.content.len() as u64,
            digest: fetched.digest,
            media_type: fetched.media_type,
            platforms,
        })
    }
}

/// A decoded manifest document.
pub(super) enum Parsed {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

pub(super) fn parse(fetched: &Fetched) -> Result<Parsed, ImageError> {
    let bad = |error: serde_json::Error| ImageError::invalid("manifest", error);
    if INDEX_TYPES.contains(&fetched.media_type.as_str()) {
        return serde_json::from_slice(&fetched.content)
            .map(|index| Parsed::Index(Box::new(index)))
            .map_err(bad);
    }
    serde_json::from_slice(&fetched.content)
        .map(|manifest| Parsed::Manifest(Box::new(manifest)))
        .map_err(bad)
}

/// The digest of the index's image for a platform, `os/architecture[/variant]`; the host's without one.
pub(super) fn choose(index: &ImageIndex, platform: Option<&str>) -> Result<String, ImageError> {
    let host = format!("linux/{}", host_architecture());
    let wanted = platform.unwrap_or(&host);
    let mut parts = wanted.split('/');
    let (os, architecture, variant) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next(),
    );
    let matching = index.manifests().iter().find(|entry| {
        entry.platform().as_ref().is_some_and(|p| {
            p.os().to_string() == os
                && (architecture.is_empty() || p.architecture().to_string() == architecture)
                && variant
                    .is_none_or(|variant| p.variant().as_deref().unwrap_or_default() == variant)
        })
    });
    match matching {
        Some(entry) => Ok(entry.digest().to_string()),
        None => Err(ImageError::NoPlatform(wanted.to_owned())),
    }
}

impl Session {
    /// Fetches a manifest of an index by digest.
    pub async fn manifest(&self, digest: &str) -> Result<Fetched, ImageError> {
        let address = self.address.clone_with_digest(digest.to_owned());
        let (content, _) = self
            .client
            .pull_manifest_raw(&address, &self.auth, &MANIFEST_TYPES)
            .await
            .map_err(|error| self.explain(error))?;
        fetched(
            &self.reference.with_digest(digest)?,
            content.to_vec(),
            digest,
        )
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

    fn is_mirror(&self) -> bool {
        self.reference.domain() == DEFAULT_DOMAIN && self.address.registry() != HUB
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
                let mut text = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    text = cause.to_string();
                    source = cause.source();
                }
                ImageError::Unreachable(format!("Get \"{}/v2/\": {text}", self.url))
            }
            other => ImageError::Registry(other.to_string()),
        }
    }
}

fn session(
    reference: &Reference,
    auth: &RegistryAuth,
    host: String,
    plain: bool,
    unchecked: bool,
) -> Result<Session, ImageError> {
    let config = ClientConfig {
        protocol: if plain {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        accept_invalid_certificates: unchecked,
        platform_resolver: None,
        read_timeout: Some(READ_DEADLINE),
        connect_timeout: Some(CONNECT_DEADLINE),
        user_agent: concat!("skep/", env!("CARGO_PKG_VERSION")),
        tls_certs_only: system_roots(),
        ..ClientConfig::default()
    };
    let client =
        Client::try_from(config).map_err(|error| ImageError::Registry(error.to_string()))?;
    let path = reference.path().to_owned();
    let address = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Address::with_digest(host.clone(), path, digest.to_owned()),
        (None, tag) => Address::with_tag(host.clone(), path, tag.unwrap_or("latest").to_owned()),
    };
    let url = format!("{}://{host}", if plain { "http" } else { "https" });
    Ok(Session {
        client,
        address,
        auth: Arc::new(auth.secret()),
        reference: reference.clone(),
        url,
    })
}

/// The system's roots. Without any, https registries fail with a certificate error; http ones work.
fn system_roots() -> Vec<oci_client::client::Certificate> {
    use oci_client::client::{Certificate, CertificateEncoding};
    rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .map(|cert| Certificate {
            encoding: CertificateEncoding::Der,
            data: cert.to_vec(),
        })
        .collect()
}

fn fetched(reference: &Reference, content: Vec<u8>, claimed: &str) -> Result<Fetched, ImageError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "mediaType", default)]
        media_type: String,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let digest = digest_of(&content);
    verify("manifest", reference.digest().unwrap_or(claimed), &digest)?;
    let head: Head =
        serde_json::from_slice(&content).map_err(|error| ImageError::invalid("manifest", error))?;
    let media_type = match head {
        Head { media_type, .. } if !media_type.is_empty() => media_type,
        Head {
            manifests: Some(_), ..
        } => INDEX_TYPES[0].to_owned(),
        Head { .. } => MANIFEST_TYPES[0].to_owned(),
    };
    Ok(Fetched {
        digest,
        media_type,
        content,
    })
}

/// Loopback addresses, and what the configuration names.
pub(super) fn is_insecure(host: &str, insecure: &[String]) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = if name == "localhost" {
        Some([127, 0, 0, 1].into())
    } else {
        name.parse().ok()
    };
    address.is_some_and(|address| address.is_loopback())
        || insecure.iter().any(|entry| {
            entry == host
                || entry == name
                || address.is_some_and(|address| in_subnet(address, entry))
        })
}

fn in_subnet(address: IpAddr, subnet: &str) -> bool {
    let Some((base, bits)) = subnet.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(base) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(base)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(base) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_named_registries_may_be_plain() {
        let named = ["10.1.0.0/16".to_owned(), "reg.example:5000".to_owned()];
        for host in [
            "127.0.0.1:5000",
            "localhost:5000",
            "[::1]:5000",
            "10.1.2.3:80",
            "reg.example:5000",
        ] {
            assert!(is_insecure(host, &named), "{host}");
        }
        for host in ["10.2.0.1:80", "reg.example:5001", "example.org"] {
            assert!(!is_insecure(host, &named), "{host}");
        }
    }

    #[test]
    fn credentials_decode_from_either_alphabet_and_never_show() {
        use base64::Engine as _;
        let json = r#"{"username":"u","password":"p?>~"}"#;
        for header in [
            base64::engine::general_purpose::URL_SAFE.encode(json),
            base64::engine::general_purpose::STANDARD.encode(json),
        ] {
            let auth = RegistryAuth::decode(&header).unwrap();
            assert_eq!(auth.password, "p?>~");
            assert!(!format!("{auth:?}").contains("p?>~"));
        }
        assert_eq!(RegistryAuth::decode("").unwrap(), RegistryAuth::default());
        assert!(RegistryAuth::decode("%%").is_err());
    }
}
