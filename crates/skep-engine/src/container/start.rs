//! Starting a container.
//!
//! The shim makes the namespaces, mounts and cgroups while the network is joined; then whoever waits
//! to attach is connected, and only then the program runs. A failure undoes everything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use skep_objects::ErrorKind;
use skep_objects::ids::short_id;
use skep_runtime::shim::protocol::{Reply, Request};
use skep_runtime::shim::{OverlaySpec, ShimError, ShimSpec};
use skep_runtime::user::ResolvedUser;
use tokio_util::sync::CancellationToken;

use super::endpoints::NetworkPlan;
use super::layered::Layered;
use super::record::{Record, RunState};
use super::shim::{Talk, TalkError};
use super::{Container, etc_files, mounts, oci, shared_memory};
use crate::core::Core;
use crate::engine::InMemoryFile;
use crate::error::{EngineError, Result};

/// A start that did not come about: the error, and the exit code that Docker records for it.
pub(super) struct Failed {
    pub error: EngineError,
    pub exit_code: i64,
}

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Self {
        Self {
            error,
            exit_code: 128,
        }
    }
}

impl Core {
    pub(crate) async fn start(self: &Arc<Self>, reference: &str) -> Result<()> {
        let container = self.containers.find(reference)?;
        let marked = || "container is marked for removal and cannot be started".to_owned();
        let _operation = container.operate(reference, marked).await?;
        let state = container.state();
        if state.paused {
            return Err(EngineError::conflict(
                "cannot start a paused container, try unpause instead",
            ));
        }
        if state.running && !state.restarting {
            return Err(EngineError::refused(
                ErrorKind::NotModified,
                "container already started",
            ));
        }
        container.live().run.cancel();
        container.live().backoff = super::restart::Backoff::default();
        container.change_state(|state| {
            state.restarting = false;
            state.running = false;
            state.manually_stopped = false;
            state.restart_count = 0;
        })?;
        self.start_now(&container).await
    }

    /// Starts; the operation lock is held, and the state says that it does not run.
    pub(super) async fn start_now(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let begun = Instant::now();
        match self.launch(container).await {
            Ok(()) => {
                self.metrics.containers.start.since(begun);
                Ok(())
            }
            Err(Failed { error, exit_code }) => {
                let text = error.to_string();
                let now = SystemTime::now();
                // In memory it is so whatever the disk says; the first error is the one to tell.
                let _ = container.change_state(|state| {
                    state.running = false;
                    state.restarting = false;
                    state.pid = 0;
                    state.exit_code = exit_code;
                    state.error = text;
                    state.finished_at = Some(now);
                    state.exits += 1;
                    state.endpoints.clear();
                    state.ports.clear();
                    state.netns.clear();
                });
                super::attach::refuse_waiting(container);
                if container.with(|record, _| record.host_config.auto_remove) {
                    self.remove_behind(container.clone());
                }
                Err(error)
            }
        }
    }

    async fn launch(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), Failed> {
        let record = container.record();
        if record.task.as_ref().is_some_and(|task| task.has_files)
            && container.live().files.is_empty()
        {
            return Err(EngineError::conflict(
                "the secrets of this task are gone with the daemon that had them",
            )
            .into());
        }
        self.check_links(&record)?;
        let plan = self.plan_network(&record)?;
        let leases = plan
            .leases
            .iter()
            .map(|(_, lease)| lease.clone())
            .collect::<Vec<_>>();
        let give_back = || {
            leases
                .iter()
                .for_each(|lease| self.networks.give_back(lease))
        };
        if !plan.own.is_empty() {
            let netns = plan.own.clone();
            if let Err(error) = self
                .networks
                .kernel("failed to create network namespace", move |net| {
                    net.create_netns(&netns)
                })
                .await
            {
                give_back();
                return Err(error.into());
            }
        }
        let mut state = RunState {
            netns: plan.own.clone(),
            ..RunState::default()
        };
        let prepared = self.prepare(container, &record, &plan).await;
        let result = match prepared {
            Err(error) => {
                give_back();
                Err(error.into())
            }
            Ok(()) => {
                let (shim, network) = tokio::join!(
                    self.spawn_shim(container),
                    self.join_network(&record, plan, &mut state)
                );
                match (shim, network) {
                    (Ok(()), Ok(())) => self.run(container, &state).await,
                    (Ok(()), Err(error)) => {
                        abandon(&container.bundle).await;
                        Err(error.into())
                    }
                    (Err(failed), _) => Err(failed),
                }
            }
        };
        if result.is_err() {
            self.leave_network(&record.id, &state).await;
            let _ = shared_memory::remove_bundle(&container.bundle);
            self.files.forget(&record.id);
        }
        result
    }

    /// Writes the bundle: everything is resolved and checked here.
    async fn prepare(
        self: &Arc<Self>,
        container: &Arc<Container>,
        record: &Record,
        plan: &NetworkPlan,
    ) -> Result<()> {
        let work = Preparation {
            core: self.clone(),
            container: container.clone(),
            record: record.clone(),
            files: container.live().files.clone(),
            netns: plan.netns.clone(),
            addresses: plan.addresses(),
            resolver: plan.resolver,
        };
        self.blocking(move || work.write()).await?
    }

    /// Runs the shim until the container is created.
    async fn spawn_shim(&self, container: &Arc<Container>) -> Result<(), Failed> {
        let (bundle, program) = (container.bundle.clone(), self.config.shim_program.clone());
        let ready = self
            .blocking(move || skep_runtime::shim::spawn(&bundle, &program)?.wait_ready())
            .await?;
        ready.map(|_| ()).map_err(|error| match error {
            ShimError::Refused(refusal) => Failed {
                exit_code: i64::from(refusal.kind.exit_code()),
                error: EngineError::Start(refusal.message),
            },
            other => {
                EngineError::Start(format!("failed to create task for container: {other}")).into()
            }
        })
    }

    /// Lets the created container run.
    async fn run(
        self: &Arc<Self>,
        container: &Arc<Container>,
        planned: &RunState,
    ) -> Result<(), Failed> {
        let started = start_program(container).await;
        let (talk, pid) = match started {
            Ok(started) => started,
            Err(failed) => {
                abandon(&container.bundle).await;
                return Err(failed);
            }
        };
        let now = SystemTime::now();
        container.live().run = CancellationToken::new();
        self.begin_health(container, false);
        let recorded = container.change_state(|state| {
            state.running = true;
            state.restarting = false;
            state.paused = false;
            state.oom_killed = false;
            state.healthy = false;
            state.pid = pid;
            state.exit_code = 0;
            state.error.clear();
            state.started_at = Some(now);
            state.starts += 1;
            state.netns.clone_from(&planned.netns);
            state.endpoints.clone_from(&planned.endpoints);
            state.ports.clone_from(&planned.ports);
        });
        if let Err(error) = recorded {
            // A full disk: what no record tells of must not run.
            abandon(&container.bundle).await;
            return Err(error.into());
        }
        self.publish_mounts(container, "mount");
        self.publish(container, "start", BTreeMap::new());
        self.refresh_linked_to(container).await;
        self.watch_shim(container.clone(), talk);
        Ok(())
    }

    /// Publishes `mount` or `unmount` for each volume.
    pub(super) fn publish_mounts(&self, container: &Container, action: &str) {
        container.with(|record, _| {
            for mount in record
                .mounts
                .iter()
                .filter(|mount| mount.point.kind == "volume")
            {
                let mut attributes = BTreeMap::from([("container".to_owned(), record.id.clone())]);
                if action == "mount" {
                    attributes.insert("destination".to_owned(), mount.point.destination.clone());
                    attributes.insert("read/write".to_owned(), mount.point.rw.to_string());
                    attributes.insert("propagation".to_owned(), mount.point.propagation.clone());
                }
                self.volumes.event(action, &mount.point.name, attributes);
            }
        });
    }

    /// The cgroup of a container, as a path from the root of the hierarchy.
    fn cgroup(&self, record: &Record) -> String {
        let parent = &record.host_config.cgroup_parent;
        let parent = if parent.is_empty() {
            &self.config.cgroup_parent
        } else {
            parent
        };
        format!("/{}/{}", parent.trim_matches('/'), record.id)
    }
}

/// Connects whoever waits to attach, then lets the program run.
async fn start_program(container: &Container) -> Result<(Talk, i32), Failed> {
    let mut talk = Talk::open(&container.bundle)
        .await
        .map_err(|error| refused(error, container))?;
    talk.call(&Request::Subscribe)
        .await
        .map_err(|error| refused(error, container))?;
    super::attach::connect_waiting(container).await;
    match talk.call(&Request::Start).await {
        Ok(Reply::Started { pid }) => Ok((talk, pid)),
        Ok(other) => {
            Err(EngineError::Start(format!("the shim answered a start with {other:?}")).into())
        }
        Err(error) => Err(refused(error, container)),
    }
}

fn refused(error: TalkError, container: &Container) -> Failed {
    match error {
        TalkError::Refused(refusal) => Failed {
            exit_code: i64::from(refusal.kind.exit_code()),
            error: EngineError::Start(refusal.message),
        },
        error @ (TalkError::Gone(_) | TalkError::Silent) => EngineError::Shim {
            doing: "start",
            id: container.id.clone(),
            reason: error.to_string(),
        }
        .into(),
    }
}

/// Ends a shim whose container is not wanted any more.
pub(super) async fn abandon(bundle: &Path) {
    if let Ok(mut talk) = Talk::open(bundle).await {
        let kill = Request::Signal {
            signal: super::signal::KILL,
            exec: None,
            all: true,
        };
        let _ = talk.call(&kill).await;
        let (mut frames, _write, _) = talk.split();
        // The shim closes the connection when it has cleaned up.
        let end = async { while let Ok(Some(_)) = frames.next().await {} };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), end).await;
    }
    let bundle = bundle.to_owned();
    let recovered = tokio::task::spawn_blocking(move || skep_runtime::shim::recover(&bundle)).await;
    if let Ok(Err(error)) = recovered {
        tracing::warn!(%error, "a container that was not wanted may have left something");
    }
}

struct Preparation {
    core: Arc<Core>,
    container: Arc<Container>,
    record: Record,
    files: Vec<InMemoryFile>,
    netns: Option<PathBuf>,
    addresses: Vec<IpAddr>,
    resolver: etc_files::Resolver,
}

impl Core {
    /// What `host-gateway` stands for.
    fn host_gateways(&self) -> Result<Vec<IpAddr>> {
        let given = &self.config.host_gateway_ips;
        if !given.is_empty() {
            return Ok(given.clone());
        }
        let bridge = self.networks.find("bridge")?;
        let subnets = bridge.subnets();
        Ok(subnets.iter().filter_map(|subnet| subnet.gateway).collect())
    }
}

impl Preparation {
    fn write(self) -> Result<()> {
        let (record, dir, bundle) = (&self.record, &self.container.dir, &self.container.bundle);
        let host = &record.host_config;
        let config = &*self.core.settings();
        let lower = self.core.images.by_id(&record.image_id)?.lower;
        fresh_bundle(bundle)?;
        self.check_binds()?;
        let layered = Layered::new(std::iter::once(dir.join("upper")).chain(lower.iter().cloned()));
        let user = resolve_user(
            &layered,
            &record.config.user,
            host.group_add.as_deref().unwrap_or_default(),
        )?;
        let links = self.core.linked(record);
        let mut files = self.etc(&links)?;
        files.extend(self.core.files.put(&record.id, &self.files)?);
        let init = host.init.unwrap_or(config.init);
        if init {
            let program = std::fs::read_link("/proc/self/exe")
                .unwrap_or_else(|_| config.shim_program.clone());
            let program = if config.shim_program.starts_with("/proc") {
                program
            } else {
                config.shim_program.clone()
            };
            files.push(oci::BindFile {
                source: program,
                target: skep_runtime::init::PATH.to_owned(),
                read_only: true,
            });
        }
        let inputs = oci::Inputs {
            record,
            rootfs: &dir.join("rootfs"),
            netns: self.netns.clone(),
            joined: self.joined()?,
            hostname: &self.hostname()?,
            user: &user,
            cgroup: self.core.cgroup(record),
            sources: oci::Sources {
                volumes: &self.core.volumes,
                files,
            },
            default_ulimits: &config.default_ulimits,
            init,
            cdi_dirs: &config.cdi_spec_dirs,
            link_env: self.core.link_env(record),
            is_external: config.runtimes.contains_key(&host.runtime),
        };
        let spec = oci::specification(&inputs)?;
        super::record::save_json(&bundle.join("config.json"), &spec, false)?;
        let capabilities = oci::for_container(host)?;
        let external =
            config
                .runtimes
                .get(&host.runtime)
                .map(|program| skep_runtime::shim::ExternalRuntime {
                    program: program.clone(),
                    args: Vec::new(),
                    root: config.exec_root.join("runtimes").join(&host.runtime),
                });
        let shim = ShimSpec {
            id: record.id.clone(),
            terminal: record.config.tty,
            console_size: console_size(host.console_size),
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
            log: crate::logs::spec(record, dir)?,
            overlay: Some(OverlaySpec {
                lower,
                upper: Some(dir.join("upper")),
                work: Some(dir.join("work")),
            }),
            seccomp_filter: oci::seccomp_filter(
                host,
                &capabilities,
                &config.exec_root.join("seccomp"),
            )?,
            external,
        };
        shim.save(bundle)
            .map_err(|error| EngineError::Start(error.to_string()))
    }

    /// Who shares another's network has its name, and its files say so.
    fn hostname(&self) -> Result<String> {
        match oci::shared(&self.record.host_config.network_mode) {
            None => Ok(self.record.config.hostname.clone()),
            Some(other) => {
                let other = self.core.containers.find(other)?;
                Ok(other.with(|record, _| record.config.hostname.clone()))
            }
        }
    }

    /// A bind whose source went away since the container was made.
    fn check_binds(&self) -> Result<()> {
        for mount in self
            .record
            .mounts
            .iter()
            .filter(|mount| mount.point.kind == "bind")
        {
            if !mount.source.exists() {
                return Err(EngineError::Start(format!(
                    "failed to create shim task: OCI runtime create failed: invalid mount config for type \"bind\": bind source path does not exist: {}",
                    mount.source.display()
                )));
            }
            mounts::propagation::check(&mount.source, &mount.point.propagation)?;
        }
        Ok(())
    }

    fn etc(&self, links: &[super::links::Link]) -> Result<Vec<oci::BindFile>> {
        let (record, dir) = (&self.record, &self.container.dir);
        let host = &record.host_config;
        let asks = |entry: &String| entry.ends_with("host-gateway");
        let gateways = if host.extra_hosts.iter().flatten().any(asks) {
            self.core.host_gateways()?
        } else {
            Vec::new()
        };
        let names: Vec<(String, IpAddr)> =
            links.iter().map(|link| (link.names(), link.ip)).collect();
        let mut source = dir.clone();
        if let Some(other) = oci::shared(&host.network_mode) {
            // The files of whoever has the network, so that both see the same names.
            source.clone_from(&self.core.containers.find(other)?.dir);
        } else {
            let hosts = etc_files::hosts(&record.config, host, &self.addresses, &names, &gateways)?;
            etc_files::write(&dir.join("hosts"), &hosts)?;
            etc_files::write(
                &dir.join("resolv.conf"),
                &etc_files::resolv_conf(host, &self.core.config, self.resolver),
            )?;
            etc_files::write(
                &dir.join("hostname"),
                &format!("{}\n", record.config.hostname),
            )?;
        }
        let file = |name: &str| oci::BindFile {
            source: source.join(name),
            target: format!("/etc/{name}"),
            read_only: host.readonly_rootfs,
        };
        Ok(["resolv.conf", "hostname", "hosts"].map(file).into())
    }

    fn joined(&self) -> Result<oci::Joined> {
        let host = &self.record.host_config;
        let of = |mode: &str| -> Result<Option<i32>> {
            let Some(other) = oci::shared(mode) else {
                return Ok(None);
            };
            let other = self.core.containers.find(other)?;
            let state = other.state();
            if !state.running || state.pid == 0 {
                return Err(EngineError::conflict(format!(
                    "cannot join namespace of a non running container: container {} is not running",
                    short_id(&other.id)
                )));
            }
            Ok(Some(state.pid))
        };
        let (pid, ipc) = (of(&host.pid_mode)?, of(&host.ipc_mode)?);
        Ok(oci::Joined {
            pid: pid.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/pid"))),
            ipc: ipc.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/ipc"))),
            shm: self.shared_memory()?,
        })
    }

    /// The directory behind `/dev/shm` where it is shared; a private one is mounted by the runtime.
    fn shared_memory(&self) -> Result<Option<PathBuf>> {
        let mode = &self.record.host_config.ipc_mode;
        if mode == "shareable" {
            let size = self.record.host_config.shm_size;
            return shared_memory::mount(&self.container.bundle, size).map(Some);
        }
        let Some(other) = oci::shared(mode) else {
            return Ok(None);
        };
        let other = self.core.containers.find(other)?;
        if other.with(|record, _| record.host_config.ipc_mode != "shareable") {
            return Err(EngineError::invalid(format!(
                "cannot join IPC of a container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                other.id
            )));
        }
        Ok(Some(shared_memory::place(&other.bundle)))
    }
}

/// An empty bundle directory: nothing of an earlier run may be taken for this one's.
fn fresh_bundle(bundle: &Path) -> Result<()> {
    match shared_memory::remove_bundle(bundle) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(EngineError::io("remove", bundle)(error));
        }
        _ => {}
    }
    std::fs::create_dir(bundle).map_err(EngineError::io("create", bundle))
}

fn console_size(size: [u32; 2]) -> Option<(u16, u16)> {
    let [rows, columns] = size.map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    (rows > 0 && columns > 0).then_some((rows, columns))
}

/// Looks the user up in the container's own files.
pub(super) fn resolve_user(
    layered: &Layered,
    user: &str,
    groups: &[String],
) -> Result<ResolvedUser> {
    let text = |path: &str| layered.read_to_string(path).unwrap_or_default();
    skep_runtime::user::resolve(user, groups, &text("/etc/passwd"), &text("/etc/group"))
        .map_err(|error| EngineError::invalid(error.to_string()))
}
