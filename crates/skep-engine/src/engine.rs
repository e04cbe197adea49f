//! The facade: what the API server and the agent ask of one host.
//!
//! [`Engine`] is a cheap clone. Each method names a container by full id, name or unique id prefix.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use skep_objects::api::container as api;
use skep_objects::api::exec::{ExecCreate, ExecInspect, ExecStart};
use skep_objects::api::stats::Stats;
use skep_objects::swarmkit;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::assemble;
use crate::config::EngineConfig;
use crate::core::Core;
use crate::error::Result;
use crate::events::Events;
use crate::filters::Filters;
use crate::image::Images;
use crate::network::Networks;
use crate::volume::Volumes;

/// A stream that can be boxed and sent.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;
/// A body that is read.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A body that is written.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// What a container is made from.
#[derive(Debug, Clone, Default)]
pub struct CreateContainer {
    /// Without leading slash; empty chooses one.
    pub name: String,
    /// The portable part.
    pub config: api::Config,
    /// The part that concerns this host.
    pub host_config: api::HostConfig,
    /// Endpoints by network name or id.
    pub networking_config: api::NetworkingConfig,
    /// `os/arch[/variant]` or empty.
    pub platform: String,
    /// What a swarm task has beyond an ordinary container.
    pub managed: Option<ManagedContainer>,
}

/// What a swarm task's container has beyond an ordinary one.
#[derive(Debug, Clone, Default)]
pub struct ManagedContainer {
    /// The task.
    pub task_id: String,
    /// Its service; empty for a network attachment.
    pub service_id: String,
    /// The service's name.
    pub service_name: String,
    /// Overlay networks, already ensured, with the addresses that the allocator gave.
    pub networks: Vec<OverlayAttachment>,
    /// Secrets and configs.
    pub files: Vec<InMemoryFile>,
    /// Ports published on this host only (`mode=host`).
    pub host_ports: Vec<swarmkit::PortConfig>,
}

/// One overlay network of a task.
#[derive(Debug, Clone, Default)]
pub struct OverlayAttachment {
    /// The network, as assigned.
    pub network: swarmkit::Network,
    /// Addresses with prefix length, one an address family.
    pub addresses: Vec<String>,
    /// Further names on this network.
    pub aliases: Vec<String>,
    /// `--network driver-opt`.
    pub driver_opts: std::collections::BTreeMap<String, String>,
}

/// A file that is put into a container from memory: a secret or a config.
#[derive(Clone, Default)]
pub struct InMemoryFile {
    /// Absolute, inside the container.
    pub path: String,
    /// Owner, numeric.
    pub uid: u32,
    /// Group, numeric.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub bytes: Bytes,
}

impl std::fmt::Debug for InMemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InMemoryFile")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A container that was made.
#[derive(Debug, Clone, Default)]
pub struct Created {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How `rm` goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first when it runs.
    pub force: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
    /// Remove the link named, not the container.
    pub link: bool,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Not running now or later.
    #[default]
    NotRunning,
    /// The next exit.
    NextExit,
    /// Removed.
    Removed,
}

/// Which rows and columns `ps` wants.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Stopped ones too.
    pub all: bool,
    /// The newest so many, stopped ones too; 0 is no limit.
    pub limit: usize,
    /// Measure sizes.
    pub size: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// Where bytes came from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Standard input, only in framing.
    Stdin,
    /// Standard output; everything of a tty.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a container's log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Which stream wrote it.
    pub stream: StreamKind,
    /// When.
    pub time: SystemTime,
    /// With its line feed, when it had one.
    pub bytes: Bytes,
    /// Labels and environment asked for by `--log-opt labels,env`, for `details`.
    pub attributes: Vec<(String, String)>,
}

/// Which part of the log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Not before.
    pub since: Option<SystemTime>,
    /// Not after.
    pub until: Option<SystemTime>,
    /// Only the last so many lines; none is all.
    pub tail: Option<usize>,
    /// Wait for more while the container runs.
    pub follow: bool,
}

/// A log being read.
pub struct Logs {
    /// Whether the container has a tty, which decides the framing.
    pub tty: bool,
    /// Lines, oldest first.
    pub records: BoxStream<Result<LogRecord>>,
}

/// Which streams to attach.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// What was written before, from the log.
    pub logs: bool,
    /// What is written from now on.
    pub stream: bool,
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// For example `ctrl-p,ctrl-q`; empty is that.
    pub detach_keys: String,
}

/// An attached container or exec.
pub struct Attached {
    /// Whether there is a tty, which decides the framing.
    pub tty: bool,
    /// Shutting it down closes the process's standard input when `StdinOnce`, or always for an exec.
    pub input: Option<Writer>,
    /// Ends when the process has or the detach keys were typed.
    pub output: BoxStream<(StreamKind, Bytes)>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// How `docker cp` into a container treats what is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchivePutOptions {
    /// Refuse to replace a directory by something else and the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Give the files to the container's user.
    pub copy_uid_gid: bool,
}

/// What `docker commit` makes.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Name of the image or empty.
    pub repo: String,
    /// Its tag or empty.
    pub tag: String,
    /// Comment.
    pub comment: String,
    /// Author.
    pub author: String,
    /// Pause meanwhile.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Configuration to lay over the container's.
    pub config: Option<api::Config>,
}

/// Where a container is in its life; see [`Engine::watch_container`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// Its process ended and the restart policy will start it again.
    Restarting,
    /// Its process ended.
    Exited,
    /// Being removed.
    Removing,
    /// Could not be removed whole.
    Dead,
    /// Gone.
    Removed,
}

/// Health as the health check sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthState {
    /// No health check.
    #[default]
    None,
    /// No verdict yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// As many probes in a row failed as `Retries` says.
    Unhealthy,
}

/// What the agent follows of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// In the host's pid namespace; 0 when not running.
    pub pid: i32,
    /// Of the last run.
    pub exit_code: i64,
    /// Whether the last run ended for want of memory.
    pub oom_killed: bool,
    /// Why it could not start.
    pub error: String,
    /// Health check's verdict.
    pub health: HealthState,
    /// How often it was started.
    pub starts: u64,
    /// How often it ended.
    pub exits: u64,
}

/// What this engine must know when its host is a member of a swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmInfo {
    /// This node.
    pub node_id: String,
    /// Address that the other nodes send overlay traffic to.
    pub data_path_addr: String,
    /// VXLAN port; 0 is 4789.
    pub data_path_port: u16,
}

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
        let mut description = crate::node::describe(&self.core.config);
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
