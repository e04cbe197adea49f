//! The parts of one host's engine, which the operations are written on.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::EngineConfig;
use crate::container::{Containers, Execs, MemoryFiles};
use crate::events::Events;
use crate::image_source::ImageSource;
use crate::metrics::Metrics;
use crate::network::Networks;
use crate::volume::Volumes;

/// Everything that an operation may need.
pub(crate) struct Core {
    /// As the daemon was started.
    pub config: Arc<EngineConfig>,
    /// As it was read last.
    settings: RwLock<Arc<EngineConfig>>,
    pub containers: Containers,
    pub execs: Execs,
    /// Secrets and configs of running tasks.
    pub files: MemoryFiles,
    pub images: Arc<dyn ImageSource>,
    pub volumes: Volumes,
    pub networks: Networks,
    pub events: Events,
    pub metrics: Metrics,
    /// Monitors, health checks, delayed restarts; joined at shutdown.
    pub tasks: TaskTracker,
    pub stopping: CancellationToken,
    /// Cancelled once every container that was there at the daemon's start is taken up, with its
    /// addresses: before that nothing is started, which could be given one of them.
    pub taken_up: CancellationToken,
    /// Held while the daemon lives: two on one directory would be the end of both.
    _directory: std::fs::File,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(
        config: Arc<EngineConfig>,
        images: Arc<dyn ImageSource>,
        volumes: Volumes,
        networks: Networks,
        events: Events,
        directory: std::fs::File,
    ) -> Arc<Self> {
        let core = Arc::new(Self {
            files: MemoryFiles::new(&config.exec_root),
            settings: RwLock::new(config.clone()),
            config,
            containers: Containers::default(),
            execs: Execs::default(),
            images,
            volumes,
            networks,
            events,
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            taken_up: CancellationToken::new(),
            _directory: directory,
        });
        core.networks.set_core(Arc::downgrade(&core));
        core
    }

    /// The configuration, of which a reload may have changed what new containers get.
    pub(crate) fn settings(&self) -> Arc<EngineConfig> {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over a configuration that was read again.
    pub(crate) fn reload(&self, config: EngineConfig) {
        let mut settings = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *settings = Arc::new(config);
    }

    /// Runs what blocks off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> crate::Result<T> {
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            crate::EngineError::refused(skep_objects::ErrorKind::Internal, error.to_string())
        })
    }
}
