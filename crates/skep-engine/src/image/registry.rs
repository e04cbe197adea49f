//! Registries: which address a reference means, and what to try in which order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use skep_objects::reference::{DEFAULT_DOMAIN, Reference};

use super::ImageError;
use super::credentials::RegistryAuth;
use super::insecure::is_insecure;
use super::manifest::{Fetched, Parsed, parse};
use super::proxies::Proxies;
use super::session::{Place, Session};

pub(super) const HUB: &str = "registry-1.docker.io";

/// What the daemon configuration says of registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// `host[:port]` or a subnet: certificates are not checked, and plain http will do.
    pub insecure: Vec<String>,
    /// Base URLs that are asked before Docker Hub.
    pub mirrors: Vec<String>,
    /// The way there.
    pub proxies: Proxies,
    /// Layers that are brought at a time, by all pulls together.
    pub concurrent_downloads: usize,
    /// Layers that are sent at a time, by all pushes together.
    pub concurrent_uploads: usize,
    /// How often a layer is asked for whose stream breaks.
    pub download_attempts: usize,
}

impl Default for RegistryConfig {
    /// Docker's.
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            proxies: Proxies::default(),
            concurrent_downloads: 3,
            concurrent_uploads: 5,
            download_attempts: 5,
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

/// How registries are to be spoken to, and how each turned out to be.
pub(super) struct Registry {
    config: Mutex<RegistryConfig>,
    plain: Mutex<BTreeMap<String, bool>>,
    downloads: Mutex<Arc<Semaphore>>,
    uploads: Mutex<Arc<Semaphore>>,
}

impl Registry {
    pub fn new(config: RegistryConfig) -> Self {
        // The http client asks for the process's provider; another part may have named it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let turns = |count| Mutex::new(Arc::new(Semaphore::new(count)));
        Self {
            downloads: turns(config.concurrent_downloads),
            uploads: turns(config.concurrent_uploads),
            config: Mutex::new(config),
            plain: Mutex::default(),
        }
    }

    /// Takes over other settings. Transfers under way end by the limits they began with.
    pub fn set_config(&self, config: RegistryConfig) {
        let old = self.config();
        let renew = |turns: &Mutex<Arc<Semaphore>>, old: usize, new: usize| {
            if old != new {
                *locked(turns) = Arc::new(Semaphore::new(new));
            }
        };
        renew(
            &self.downloads,
            old.concurrent_downloads,
            config.concurrent_downloads,
        );
        renew(
            &self.uploads,
            old.concurrent_uploads,
            config.concurrent_uploads,
        );
        *locked(&self.config) = config;
    }

    /// Whose turn it is to bring a layer.
    pub fn downloads(&self) -> Arc<Semaphore> {
        locked(&self.downloads).clone()
    }

    /// Whose turn it is to send one.
    pub fn uploads(&self) -> Arc<Semaphore> {
        locked(&self.uploads).clone()
    }

    pub fn config(&self) -> RegistryConfig {
        locked(&self.config).clone()
    }

    /// Fetches the manifest or index that the reference names, from the first place that has it:
    /// mirrors before Docker Hub; where http is allowed, https before http.
    pub async fn fetch(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<(Session, Fetched), ImageError> {
        let mut last = None;
        for session in self.sessions(reference, auth)? {
            let asked = async {
                let session = session.signed_in("pull").await?;
                let fetched = session.top().await?;
                Ok::<_, ImageError>((session, fetched))
            };
            match asked.await {
                Ok((session, fetched)) => {
                    self.remember(&session);
                    return Ok((session, fetched));
                }
                Err(error) => {
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

    /// The tags of a repository, from the first place that tells them.
    pub async fn tags(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Vec<String>, ImageError> {
        let mut last = None;
        for session in self.sessions(reference, auth)? {
            let asked = async { session.signed_in("pull").await?.tags().await };
            match asked.await {
                Ok(tags) => return Ok(tags),
                Err(error) => last = Some(error),
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
            let asked = async {
                let session = session.signed_in("pull,push").await?;
                let operation = oci_client::RegistryOperation::Push;
                let signed = session
                    .client
                    .auth(&session.address, &session.auth, operation)
                    .await;
                signed.map_err(|error| session.explain(error))?;
                Ok::<_, ImageError>(session)
            };
            match asked.await {
                Ok(session) => {
                    self.remember(&session);
                    return Ok(session);
                }
                Err(error) => last = Some(error),
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
                let known = locked(&self.plain).get(&host).copied();
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
            .map(|(host, plain, unchecked)| {
                let proxies = config.proxies.clone();
                let place = Place {
                    is_mirror: reference.domain() == DEFAULT_DOMAIN && host != HUB,
                    host,
                    plain,
                    unchecked,
                    proxies,
                };
                Session::new(Arc::new(place), reference, auth)
            })
            .collect()
    }

    fn remember(&self, session: &Session) {
        locked(&self.plain).insert(session.address.registry().to_owned(), session.is_plain());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing is left half changed by a panic.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
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
