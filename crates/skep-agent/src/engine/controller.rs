//! The hands on one task's container. The container's name follows from the task, so that after a
//! crash every phase finds what an earlier one left.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use skep_engine::{
    ContainerStatus as EngineStatus, EngineError, HealthState, LogOptions, Phase, RemoveOptions,
    StreamKind,
};
use skep_objects::ErrorKind;
use skep_objects::swarmkit::{
    ContainerStatus, LogAttr, LogMessage, LogStream as WireStream, LogSubscriptionOptions,
    PortConfig, PortStatus, Task, port_config,
};
use skep_objects::timestamp;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::Host;
use super::container::{container, container_spec};
use super::files::files;
use super::sockets;
use crate::dependencies::Dependencies;
use crate::drain::takes_traffic;
use crate::executor::{Controller, LogStream, RuntimeStatus, TaskError, Usage};
use skep_objects::template::task::task_name;

const GRACE: Duration = Duration::from_secs(10);
/// How long a published task may take to listen before it counts as running all the same.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);
/// How long open connections hold up the stop signal of a task that is out of rotation.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// Hands on one container.
pub(super) struct EngineController {
    host: Arc<Host>,
    task: Mutex<Arc<Task>>,
    name: String,
    dependencies: Dependencies,
    /// Whether the container was seen to exist; log readers wait for it.
    is_created: watch::Sender<bool>,
}

impl EngineController {
    pub(super) fn new(host: Arc<Host>, task: &Task, dependencies: &Dependencies) -> Self {
        let name = task_name(task);
        let is_created = host.engine.watch_container(&name).is_ok();
        Self {
            host,
            task: Mutex::new(Arc::new(task.clone())),
            name,
            dependencies: dependencies.clone(),
            is_created: watch::Sender::new(is_created),
        }
    }

    fn task(&self) -> Arc<Task> {
        Arc::clone(&self.task.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn watch(&self) -> Result<watch::Receiver<EngineStatus>, TaskError> {
        self.host.engine.watch_container(&self.name).map_err(fatal)
    }

    fn grace(&self) -> Duration {
        let task = self.task();
        let spec = container_spec(&task).and_then(|s| s.stop_grace_period.as_ref());
        spec.map_or(GRACE, timestamp::duration)
    }

    async fn stop(&self) -> Result<(), TaskError> {
        let seconds = i64::try_from(self.grace().as_secs()).unwrap_or(i64::MAX);
        let engine = self.host.engine.clone();
        let name = self.name.clone();
        let stopped = unabandoned(async move { engine.stop(&name, None, Some(seconds)).await });
        match stopped.await {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotModified) => Ok(()),
            Err(e) => Err(TaskError::Temporary(e.to_string())),
        }
    }

    /// Without a health check a task counts as running once it listens where it is published, if
    /// it does so soon: connections before that would be refused. One that is not published but
    /// has a service address listens on some port that its image exposes.
    async fn begin_listening(&self, status: &EngineStatus) {
        let ports = published_tcp(&self.task());
        let exposed = if ports.is_empty() {
            self.exposed_tcp().await
        } else {
            BTreeSet::new()
        };
        if ports.is_empty() && exposed.is_empty() {
            return;
        }
        let Ok(mut ended) = self.watch() else { return };
        let listens = sockets::wait_until(status.pid, LISTEN_LIMIT, |s| {
            s.listen_on(&ports) && (exposed.is_empty() || s.listen_on_some(&exposed))
        });
        tokio::select! {
            () = listens => {}
            _ = ended.wait_for(has_ended) => {}
        }
    }

    /// The TCP ports that the image exposes, of a task that others may send to by a service's
    /// address. A job's tasks serve nobody.
    async fn exposed_tcp(&self) -> BTreeSet<u16> {
        let task = self.task();
        if !takes_traffic(&task) || task.job_iteration.is_some() {
            return BTreeSet::new();
        }
        let inspected = self.host.engine.inspect(&self.name, false).await;
        let exposed = inspected.ok().and_then(|c| c.config.exposed_ports);
        let ports = exposed.into_iter().flatten().map(|(port, _)| port);
        ports.filter_map(|port| tcp_port(&port)).collect()
    }

    /// The task takes no new connections; those that it has may end, if they do so soon.
    async fn finish_requests(&self) {
        if !takes_traffic(&self.task()) {
            return;
        }
        let Ok(mut status) = self.watch() else { return };
        let pid = status.borrow().pid;
        if pid == 0 {
            return;
        }
        tokio::select! {
            () = sockets::wait_until(pid, FINISH_LIMIT, |s| !s.serve()) => {}
            _ = status.wait_for(has_ended) => {}
        }
    }

    async fn create(&self, task: &Task) -> Result<(), TaskError> {
        let Some(spec) = container_spec(task) else {
            return Err(TaskError::Fatal("unsupported runtime".to_owned()));
        };
        let node = self.host.engine.describe();
        let files = files(task, spec, &node, &self.dependencies)?;
        let request = container(task, spec, &node, files, &self.host.extras)?;
        let engine = self.host.engine.clone();
        match unabandoned(async move { engine.create_container(request).await }).await {
            Ok(_) => Ok(()),
            // The name is the task's own: an earlier try got this far.
            Err(e) if e.kind() == ErrorKind::Conflict && self.watch().is_ok() => Ok(()),
            Err(e) => Err(fatal(e)),
        }
    }
}

/// The TCP ports of the container that the mesh leads to.
fn published_tcp(task: &Task) -> BTreeSet<u16> {
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports
        .filter(|p| p.publish_mode() == port_config::PublishMode::Ingress)
        .filter(|p| p.protocol() == port_config::Protocol::Tcp)
        .filter_map(|p| u16::try_from(p.target_port).ok())
        .collect()
}

/// `80/tcp`, or `80`, which is the same.
fn tcp_port(exposed: &str) -> Option<u16> {
    let port = exposed.strip_suffix("/tcp").unwrap_or(exposed);
    port.parse().ok()
}

fn fatal(error: EngineError) -> TaskError {
    TaskError::Fatal(error.to_string())
}

/// Runs to its end even if the caller turns to something else: half a create helps nobody.
async fn unabandoned<T: Send + 'static>(
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(EngineError::NotSupported(format!(
            "interrupted operation ({error})"
        ))),
    }
}

fn has_ended(status: &EngineStatus) -> bool {
    match status.phase {
        Phase::Exited | Phase::Dead | Phase::Removing | Phase::Removed => true,
        Phase::Created => !status.error.is_empty(),
        Phase::Running | Phase::Paused | Phase::Restarting => false,
    }
}

fn exit(status: &EngineStatus) -> Result<(), TaskError> {
    if matches!(status.phase, Phase::Removing | Phase::Removed) && status.starts == 0 {
        return Err(TaskError::Fatal("container was removed".to_owned()));
    }
    if status.exit_code == 0 && status.error.is_empty() {
        return Ok(());
    }
    let cause = (!status.error.is_empty()).then(|| status.error.clone());
    Err(TaskError::Exit {
        code: status.exit_code,
        cause,
    })
}

#[async_trait]
impl Controller for EngineController {
    async fn update(&self, task: &Task) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(task.clone());
    }

    async fn prepare(&self) -> Result<(), TaskError> {
        let task = self.task();
        if self.host.engine.watch_container(&self.name).is_ok() {
            self.is_created.send_replace(true);
            self.host.use_networks(&task).await?;
            return Ok(());
        }
        let Some(spec) = container_spec(&task) else {
            return Err(TaskError::Fatal("unsupported runtime".to_owned()));
        };
        let (networks, image) =
            tokio::join!(self.host.use_networks(&task), self.host.puller.ensure(spec));
        networks?;
        if let Err(error) = image {
            // As Docker: what is told is the missing image, why it could not be pulled is logged.
            debug!(%error, image = %spec.image, task.id = %task.id, "image cannot be pulled");
            let is_missing = error.kind() == ErrorKind::NotFound || error.is_unreachable();
            return Err(TaskError::Fatal(if is_missing {
                format!("No such image: {}", spec.image)
            } else {
                error.to_string()
            }));
        }
        self.create(&task).await?;
        self.is_created.send_replace(true);
        Ok(())
    }

    async fn start(&self) -> Result<(), TaskError> {
        let mut status = self.watch()?;
        if status.borrow().starts == 0 {
            let engine = self.host.engine.clone();
            let name = self.name.clone();
            match unabandoned(async move { engine.start(&name).await }).await {
                Err(e) if e.kind() != ErrorKind::NotModified => {
                    return Err(TaskError::Fatal(format!("starting container failed: {e}")));
                }
                _ => {}
            }
        }
        let decided = |s: &EngineStatus| has_ended(s) || s.health != HealthState::Starting;
        let status = match status.wait_for(decided).await {
            Ok(status) => status.clone(),
            Err(_) => return Err(TaskError::Fatal("container was removed".to_owned())),
        };
        if !has_ended(&status) && status.health == HealthState::None {
            self.begin_listening(&status).await;
        }
        // An ended container passes through RUNNING: its exit is what `wait` reports.
        if !has_ended(&status) && status.health == HealthState::Unhealthy {
            self.stop().await?;
            return Err(TaskError::Unhealthy);
        }
        Ok(())
    }

    async fn wait(&self) -> Result<(), TaskError> {
        let mut status = self.watch()?;
        // A daemon that was restarted learns its networks from the tasks it remembers.
        if let Err(error) = self.host.use_networks(&self.task()).await {
            warn!(%error, container.name = %self.name, "network of a running task not taken up");
        }
        let decided = |s: &EngineStatus| has_ended(s) || s.health == HealthState::Unhealthy;
        let seen = match status.wait_for(decided).await {
            Ok(seen) => seen.clone(),
            Err(_) => return Err(TaskError::Fatal("container was removed".to_owned())),
        };
        if has_ended(&seen) {
            return exit(&seen);
        }
        Err(TaskError::Unhealthy)
    }

    async fn shutdown(&self) -> Result<(), TaskError> {
        self.finish_requests().await;
        self.stop().await
    }

    async fn remove(&self) -> Result<(), TaskError> {
        let stopped = self.stop().await;
        let options = RemoveOptions {
            force: true,
            volumes: true,
            link: false,
        };
        let removed = match self.host.engine.remove(&self.name, options).await {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(fatal(e)),
            _ => Ok(()),
        };
        self.is_created.send_replace(false);
        self.host.release(&self.task().id).await;
        removed.and(stopped)
    }

    async fn status(&self) -> RuntimeStatus {
        let Ok(inspect) = self.host.engine.inspect(&self.name, false).await else {
            return RuntimeStatus::default();
        };
        let container = ContainerStatus {
            container_id: inspect.id,
            pid: inspect.state.pid,
            exit_code: i32::try_from(inspect.state.exit_code).unwrap_or(i32::MAX),
        };
        let ports = published(inspect.network_settings.ports.unwrap_or_default());
        let ports = (!ports.is_empty()).then_some(PortStatus { ports });
        RuntimeStatus {
            container: Some(container),
            ports,
        }
    }

    async fn usage(&self) -> Option<Usage> {
        let pid = self.watch().ok()?.borrow().pid;
        if pid == 0 {
            return None;
        }
        let stats = self.host.engine.stats(&self.name, false, true).await;
        let stats = stats.ok()?.next().await?;
        let memory = &stats.memory_stats;
        // As `docker stats` counts: `inactive_file`, with cgroups v1 `total_inactive_file`.
        let idle = ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|key| memory.stats.get(*key));
        Some(Usage {
            cpu_nanos: stats.cpu_stats.cpu_usage.total_usage,
            memory_bytes: memory.usage.saturating_sub(idle.copied().unwrap_or(0)),
            connections: sockets::connections(pid).await,
        })
    }

    async fn logs(&self, options: &LogSubscriptionOptions) -> Result<LogStream, TaskError> {
        if options.follow {
            let mut created = self.is_created.subscribe();
            let gone = |_| TaskError::Fatal("task is gone".to_owned());
            created
                .wait_for(|is_created| *is_created)
                .await
                .map_err(gone)?;
            // The log of one that has not started yet ends at once.
            let mut status = self.watch()?;
            let has_begun = |s: &EngineStatus| s.starts > 0 || has_ended(s);
            status.wait_for(has_begun).await.map_err(gone)?;
        }
        let log = self
            .host
            .engine
            .logs(&self.name, &log_options(options))
            .await
            .map_err(fatal)?;
        let lines = log.records.filter_map(|record| async move {
            let record = record.ok()?;
            let stream = match record.stream {
                StreamKind::Stderr => WireStream::Stderr,
                StreamKind::Stdin | StreamKind::Stdout => WireStream::Stdout,
            };
            let attrs = record
                .attributes
                .into_iter()
                .map(|(key, value)| LogAttr { key, value });
            Some(LogMessage {
                context: None,
                timestamp: Some(timestamp::timestamp(record.time)),
                stream: stream.into(),
                data: record.bytes.to_vec(),
                attrs: attrs.collect(),
            })
        });
        Ok(Box::pin(lines))
    }
}

fn log_options(options: &LogSubscriptionOptions) -> LogOptions {
    let wants = |stream: WireStream| {
        options.streams.is_empty() || options.streams.contains(&i32::from(stream))
    };
    LogOptions {
        stdout: wants(WireStream::Stdout),
        stderr: wants(WireStream::Stderr),
        since: options.since.as_ref().map(timestamp::system_time),
        until: None,
        tail: tail(options.tail),
        follow: options.follow,
    }
}

/// On the wire 0 is everything, -1 nothing, and -1-n the last n lines.
fn tail(tail: i64) -> Option<usize> {
    if tail < 0 {
        usize::try_from(-(tail + 1)).ok()
    } else {
        None
    }
}

fn published(
    ports: std::collections::BTreeMap<
        String,
        Option<Vec<skep_objects::api::container::PortBinding>>,
    >,
) -> Vec<PortConfig> {
    let mut out = Vec::new();
    for (key, bindings) in ports {
        let Some((target, protocol)) = key.split_once('/') else {
            continue;
        };
        let protocol = match protocol {
            "udp" => port_config::Protocol::Udp,
            "sctp" => port_config::Protocol::Sctp,
            _ => port_config::Protocol::Tcp,
        };
        for binding in bindings.into_iter().flatten() {
            let (Ok(target_port), Ok(published_port)) = (target.parse(), binding.host_port.parse())
            else {
                continue;
            };
            let port = PortConfig {
                name: String::new(),
                protocol: protocol.into(),
                target_port,
                published_port,
                publish_mode: port_config::PublishMode::Host.into(),
            };
            // One for each address family the engine binds.
            if !out.contains(&port) {
                out.push(port);
            }
        }
    }
    out
}
