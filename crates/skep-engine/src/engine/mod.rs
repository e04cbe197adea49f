//! The facade: what the API server and the agent ask of one host.
//!
//! [`Engine`] is a cheap clone. Each method names a container by full id, name or unique id prefix.

mod requests;
mod status;
mod streams;

use std::sync::Arc;

use futures::future::BoxFuture;
use skep_objects::api::container as api;
use skep_objects::api::exec::{ExecCreate, ExecInspect, ExecStart};
use skep_objects::api::stats::Stats;
use skep_objects::swarmkit;
use tokio::sync::watch;

use crate::assemble;
use crate::config::EngineConfig;
use crate::core::Core;
use crate::error::Result;
use crate::events::Events;
use crate::filters::Filters;
use crate::image::Images;
use crate::metrics::Metrics;
use crate::network::Networks;
use crate::volume::Volumes;
pub use requests::{
    ArchivePutOptions, AttachOptions, CommitOptions, CreateContainer, Created, InMemoryFile,
    ListOptions, LogOptions, ManagedContainer, OverlayAttachment, RemoveOptions, WaitCondition,
};
pub use status::{ContainerStatus, HealthState, Phase, SwarmInfo};
pub use streams::{Attached, BoxStream, LogRecord, Logs, Reader, StreamKind, Writer};

/// One host's containers, images, volumes and networks.
#[derive(Debug, Clone)]
pub struct Engine {
    core: Arc<Core>,
    images: Images,
}

impl Engine {
    /// Reads what is on disk and takes up the containers that still run.
    ///
    /// Containers whose restart policy says so are started in the background.
    ///
    /// # Errors
    /// A directory that cannot be used, or is used by another daemon.
    pub async fn open(config: EngineConfig) -> Result<Self> {
        let directory = assemble::take_directories(&config)?;
        let events = Events::new();
        let images = assemble::open_images(&config, &events)?;
        let config = Arc::new(config);
        let volumes = Volumes::open(config.data_root.join("volumes"), events.clone())?;
        let networks = Networks::open(config.clone(), events.clone()).await?;
        let core = Core::new(
            config,
            Arc::new(images.clone()),
            volumes,
            networks,
            events,
            directory,
        );
        images.set_users(Arc::new(assemble::Users(Arc::downgrade(&core))));
        core.restore().await?;
        core.networks.sweep(&core).await;
        core.taken_up.cancel();
        core.start_by_policy();
        Ok(Self { core, images })
    }

    /// Images.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// How it was set up.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.core.config
    }

    /// Takes over settings that may change while the daemon runs: runtimes, defaults of new
    /// containers, how registries are spoken to, how long containers have to stop.
    pub fn reload(&self, config: &EngineConfig) {
        self.images.set_registry_config(config.registries.clone());
        let mut next = EngineConfig::clone(&self.core.settings());
        next.registries.clone_from(&config.registries);
        next.labels.clone_from(&config.labels);
        next.runtimes.clone_from(&config.runtimes);
        next.default_runtime.clone_from(&config.default_runtime);
        next.default_ipc_mode.clone_from(&config.default_ipc_mode);
        next.default_shm_size = config.default_shm_size;
        next.shutdown_timeout_seconds = config.shutdown_timeout_seconds;
        self.core.reload(next);
    }

    /// Ends background work; containers go on unless `stop_containers`.
    pub async fn shutdown(&self, stop_containers: bool) {
        self.core.shutdown(stop_containers).await;
    }

    /// Volumes.
    #[must_use]
    pub fn volumes(&self) -> &Volumes {
        &self.core.volumes
    }

    /// Networks.
    #[must_use]
    pub fn networks(&self) -> &Networks {
        &self.core.networks
    }

    /// Events of this host; the daemon publishes swarm events here too.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.core.events
    }

    /// What was counted since the engine was opened.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.core.metrics
    }

    /// Tells the engine that its host is, or no longer is, a member of a swarm.
    ///
    /// # Errors
    /// The ingress and gateway networks cannot be set up or taken down.
    pub async fn set_swarm(&self, swarm: Option<SwarmInfo>) -> Result<()> {
        self.core.networks.set_swarm(swarm).await
    }

    /// This host as a swarm node: host name, platform, resources, engine version, labels, plugins.
    #[must_use]
    pub fn describe(&self) -> swarmkit::NodeDescription {
        let mut description = crate::node::describe(&self.core.settings());
        if let Some(engine) = &mut description.engine {
            engine.labels.extend(self.core.networks.node_labels());
        }
        description
    }

    /// Makes a container.
    ///
    /// # Errors
    /// The name is taken, the image is missing, or the configuration is not valid.
    pub async fn create_container(&self, request: CreateContainer) -> Result<Created> {
        self.core.create(request).await
    }

    /// Starts a container.
    ///
    /// # Errors
    /// `NotModified` when it runs already; what the kernel refuses, after undoing everything.
    pub async fn start(&self, reference: &str) -> Result<()> {
        self.core.start(reference).await
    }

    /// Stops a container: `signal` or its own, and SIGKILL after `timeout` seconds or its own.
    ///
    /// # Errors
    /// `NotModified` when it does not run.
    pub async fn stop(
        &self,
        reference: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        self.core.stop(reference, signal, timeout).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It does not run, or there is no such signal.
    pub async fn kill(&self, reference: &str, signal: &str) -> Result<()> {
        self.core.kill(reference, signal).await
    }

    /// Stops, when it runs, and starts.
    ///
    /// # Errors
    /// As stop and start.
    pub async fn restart(
        &self,
        reference: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        self.core.restart(reference, signal, timeout).await
    }

    /// Removes a container.
    ///
    /// # Errors
    /// It runs and `force` is not set.
    pub async fn remove(&self, reference: &str, options: RemoveOptions) -> Result<()> {
        self.core.remove(reference, options).await
    }

    /// Gives another name.
    ///
    /// # Errors
    /// The name is taken or not valid.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<()> {
        self.core.rename(reference, name).await
    }

    /// Freezes.
    ///
    /// # Errors
    /// It does not run or is frozen already.
    pub async fn pause(&self, reference: &str) -> Result<()> {
        self.core.pause(reference).await
    }

    /// Thaws.
    ///
    /// # Errors
    /// It is not frozen.
    pub async fn unpause(&self, reference: &str) -> Result<()> {
        self.core.unpause(reference).await
    }

    /// Waits; the waiter is in place when this returns, so a start after it cannot be missed.
    ///
    /// # Errors
    /// No such container.
    pub async fn wait(
        &self,
        reference: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, api::WaitResponse>> {
        self.core.wait(reference, condition)
    }

    /// Everything about a container.
    ///
    /// # Errors
    /// No such container.
    pub async fn inspect(&self, reference: &str, size: bool) -> Result<api::ContainerInspect> {
        self.core.inspect(reference, size).await
    }

    /// Containers, newest first.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn list(&self, options: &ListOptions) -> Result<Vec<api::ContainerSummary>> {
        self.core.list(options).await
    }

    /// Follows one container's state; ends after `Phase::Removed`.
    ///
    /// # Errors
    /// No such container.
    pub fn watch_container(&self, reference: &str) -> Result<watch::Receiver<ContainerStatus>> {
        Ok(self.core.containers.find(reference)?.watch())
    }

    /// Reads the log.
    ///
    /// # Errors
    /// The log driver cannot be read.
    pub async fn logs(&self, reference: &str, options: &LogOptions) -> Result<Logs> {
        self.core.logs(reference, options).await
    }

    /// Attaches to a running container, or to one that is about to be started.
    ///
    /// # Errors
    /// It is paused or restarting.
    pub async fn attach(&self, reference: &str, options: &AttachOptions) -> Result<Attached> {
        self.core.attach(reference, options).await
    }

    /// Sets the size of a container's tty.
    ///
    /// # Errors
    /// It does not run.
    pub async fn resize(&self, reference: &str, height: u16, width: u16) -> Result<()> {
        self.core.resize(reference, height, width).await
    }

    /// Prepares a further process; returns its id.
    ///
    /// # Errors
    /// The container does not run.
    pub async fn exec_create(&self, reference: &str, request: ExecCreate) -> Result<String> {
        self.core.exec_create(reference, request)
    }

    /// Starts a prepared process. Attached unless `detach`.
    ///
    /// # Errors
    /// It ran already, or the program cannot be started.
    pub async fn exec_start(&self, exec_id: &str, request: &ExecStart) -> Result<Option<Attached>> {
        self.core.exec_start(exec_id, request).await
    }

    /// A prepared, running or ended process.
    ///
    /// # Errors
    /// No such exec.
    pub async fn exec_inspect(&self, exec_id: &str) -> Result<ExecInspect> {
        self.core.exec_inspect(exec_id)
    }

    /// Sets the size of an exec's tty.
    ///
    /// # Errors
    /// It does not run.
    pub async fn exec_resize(&self, exec_id: &str, height: u16, width: u16) -> Result<()> {
        self.core.exec_resize(exec_id, height, width).await
    }

    /// Processes of a container in `ps`'s columns; `ps_args` empty is `-ef`.
    ///
    /// # Errors
    /// It does not run.
    pub async fn top(&self, reference: &str, ps_args: &str) -> Result<api::TopResponse> {
        self.core.top(reference, ps_args).await
    }

    /// Resource use: once, or every second; `one_shot` skips the first sample's predecessor.
    ///
    /// # Errors
    /// No such container.
    pub async fn stats(
        &self,
        reference: &str,
        stream: bool,
        one_shot: bool,
    ) -> Result<BoxStream<Stats>> {
        self.core.stats(reference, stream, one_shot).await
    }

    /// Changes limits and the restart policy, live when it runs.
    ///
    /// # Errors
    /// Values that are not valid.
    pub async fn update(
        &self,
        reference: &str,
        request: &api::UpdateConfig,
    ) -> Result<api::UpdateResponse> {
        self.core.update(reference, request).await
    }

    /// Paths that differ from the image.
    ///
    /// # Errors
    /// No such container.
    pub async fn changes(&self, reference: &str) -> Result<Vec<api::Change>> {
        self.core.changes(reference).await
    }

    /// The root file system as a tar stream.
    ///
    /// # Errors
    /// No such container.
    pub async fn export(&self, reference: &str) -> Result<Reader> {
        self.core.export(reference).await
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// Nothing is.
    pub async fn archive_stat(&self, reference: &str, path: &str) -> Result<api::PathStat> {
        self.core.archive_stat(reference, path).await
    }

    /// What is at `path`, as a tar stream.
    ///
    /// # Errors
    /// Nothing is.
    pub async fn archive_get(
        &self,
        reference: &str,
        path: &str,
    ) -> Result<(api::PathStat, Reader)> {
        self.core.archive_get(reference, path).await
    }

    /// Unpacks a tar stream (plain, gzip or zstd) in the directory at `path`.
    ///
    /// # Errors
    /// There is no such directory, or it may not be written.
    pub async fn archive_put(
        &self,
        reference: &str,
        path: &str,
        options: ArchivePutOptions,
        body: Reader,
    ) -> Result<()> {
        self.core.archive_put(reference, path, options, body).await
    }

    /// Makes an image of a container; returns its id.
    ///
    /// # Errors
    /// No such container, or a change that is not valid.
    pub async fn commit(&self, reference: &str, options: CommitOptions) -> Result<String> {
        assemble::commit(&self.core, &self.images, reference, options).await
    }

    /// Removes stopped containers.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<api::PruneResponse> {
        self.core.prune(filters).await
    }
}
