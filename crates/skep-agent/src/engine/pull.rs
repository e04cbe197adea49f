//! Which image a task runs: the registry's, or a local one at once where the registry cannot be
//! reached. Tasks of one node that want the same image at the same moment ask once, and a registry
//! that was found silent is asked again beside the tasks, not before them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_engine::image::{ImageError, Images, Progress, PullOptions, RegistryAuth};
use skep_objects::reference::Reference;
use skep_objects::swarmkit::ContainerSpec;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use tracing::debug;

/// How long a registry may take to say what a name leads to, when there is a local image.
const ASK_DEADLINE: Duration = Duration::from_millis(1500);
/// For how long an answer, or that there was none, holds for other tasks.
const REMEMBER: Duration = Duration::from_secs(10);

/// Brings images in.
#[derive(Debug)]
pub(super) struct Puller {
    images: Images,
    /// `DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1`.
    prefer_local: bool,
    asked: Mutex<BTreeMap<String, Arc<AsyncMutex<Option<Instant>>>>>,
    silent: Arc<Mutex<Silent>>,
    /// Questions to silent registries; they end with this.
    probes: Mutex<JoinSet<()>>,
}

/// Registries, by domain, that did not answer when they were last asked.
#[derive(Debug, Default)]
struct Silent {
    domains: BTreeSet<String>,
    /// Those of them that are being asked again.
    probed: BTreeSet<String>,
}

impl Puller {
    pub(super) fn new(images: Images, prefer_local: bool) -> Self {
        Self {
            images,
            prefer_local,
            asked: Mutex::default(),
            silent: Arc::default(),
            probes: Mutex::default(),
        }
    }

    /// Makes the task's image available. Fails only when there is none in the end.
    pub(super) async fn ensure(&self, spec: &ContainerSpec) -> Result<(), ImageError> {
        let reference = match Reference::parse(&spec.image) {
            Ok(reference) => reference.or_latest(),
            // A local image may be named by its id.
            Err(_) if self.images.resolve(&spec.image).is_ok() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let is_pinned = reference.digest().is_some();
        if (is_pinned || self.prefer_local) && self.images.resolve(&spec.image).is_ok() {
            return Ok(());
        }
        let cell = {
            let mut asked = lock(&self.asked);
            asked.retain(|_, cell| Arc::strong_count(cell) > 1 || !is_stale(cell));
            Arc::clone(asked.entry(reference.to_string()).or_default())
        };
        let mut last = cell.lock().await;
        let has_local = self.images.resolve(&spec.image).is_ok();
        if has_local && last.is_some_and(|at| at.elapsed() < REMEMBER) {
            return Ok(());
        }
        let auth = RegistryAuth::decode(
            spec.pull_options
                .as_ref()
                .map_or("", |o| o.registry_auth.as_str()),
        )?;
        if has_local && self.is_silent(reference.domain()) {
            self.ask_again(&reference, auth);
            return Ok(());
        }
        let outcome = self.pull(&reference, spec, auth, has_local).await;
        *last = Some(Instant::now());
        match outcome {
            Err(error) if has_local => {
                if matches!(error, ImageError::Unreachable(_)) {
                    let domain = reference.domain().to_owned();
                    lock(&self.silent).domains.insert(domain);
                }
                debug!(%error, image = %spec.image, "local image is used");
                Ok(())
            }
            other => other,
        }
    }

    async fn pull(
        &self,
        reference: &Reference,
        spec: &ContainerSpec,
        auth: RegistryAuth,
        has_local: bool,
    ) -> Result<(), ImageError> {
        if has_local {
            let ask = self.images.distribution(reference, &auth);
            let Ok(answer) = tokio::time::timeout(ASK_DEADLINE, ask).await else {
                return Err(ImageError::Unreachable(
                    "registry does not answer".to_owned(),
                ));
            };
            let digest = answer?.digest;
            let local = self.images.resolve(&spec.image)?;
            if local.repo_digests().iter().any(|d| d.ends_with(&digest)) {
                return Ok(());
            }
        }
        let options = PullOptions {
            platform: None,
            auth,
        };
        self.images
            .pull(reference, &options, &Progress::none())
            .await
            .map(|_| ())
    }

    fn is_silent(&self, domain: &str) -> bool {
        lock(&self.silent).domains.contains(domain)
    }

    /// Asks a silent registry once more, while tasks go on with local images.
    fn ask_again(&self, reference: &Reference, auth: RegistryAuth) {
        let domain = reference.domain().to_owned();
        if !lock(&self.silent).probed.insert(domain.clone()) {
            return;
        }
        let (images, silent) = (self.images.clone(), Arc::clone(&self.silent));
        let reference = reference.clone();
        let mut probes = lock(&self.probes);
        while probes.try_join_next().is_some() {}
        probes.spawn(async move {
            let ask = images.distribution(&reference, &auth);
            let answer = tokio::time::timeout(REMEMBER, ask).await;
            // Any answer will do, a refusal too: the registry is there.
            let answered = !matches!(answer, Err(_) | Ok(Err(ImageError::Unreachable(_))));
            let mut silent = lock(&silent);
            silent.probed.remove(&domain);
            if answered {
                silent.domains.remove(&domain);
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_stale(cell: &AsyncMutex<Option<Instant>>) -> bool {
    match cell.try_lock() {
        Ok(at) => at.is_none_or(|at| at.elapsed() >= REMEMBER),
        Err(_) => false,
    }
}
