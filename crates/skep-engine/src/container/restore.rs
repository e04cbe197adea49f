//! At the daemon's start: containers are read from disk, those that run are taken up again, those
//! that ended meanwhile are recorded, and those whose policy says so are started.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use skep_runtime::shim::{Found, ShimState};
use tokio_util::sync::CancellationToken;

use super::record::{Record, RunState};
use super::{Container, monitor, restart, shared_memory};
use crate::core::Core;
use crate::engine::RemoveOptions;
use crate::error::{EngineError, Result};

/// How many containers are taken up at once.
const AT_ONCE: usize = 16;

impl Core {
    /// Reads all containers and takes up those that run. Returns when every one's state is true.
    pub(crate) async fn restore(self: &Arc<Self>) -> Result<()> {
        let root = self.config.data_root.join("containers");
        let bundles = self.config.exec_root.join("containers");
        for dir in [&root, &bundles] {
            std::fs::create_dir_all(dir).map_err(EngineError::io("create", dir))?;
        }
        for entry in std::fs::read_dir(&root).map_err(EngineError::io("read", &root))? {
            let dir = entry.map_err(EngineError::io("read", &root))?.path();
            self.read_container(&dir, &bundles);
        }
        self.sweep_bundles(&bundles);
        // Side by side: one whose shim is slow to answer must not keep the others waiting.
        futures::stream::iter(self.containers.all())
            .for_each_concurrent(AT_ONCE, |container| async move {
                self.take_up(&container).await;
            })
            .await;
        let runs = |id: &str| self.containers.get(id).is_some_and(|it| it.state().running);
        self.files.sweep(runs);
        Ok(())
    }

    /// What a crash left half made is removed; what cannot be read is left alone and told of.
    fn read_container(&self, dir: &Path, bundles: &Path) {
        let record = match Record::load(dir) {
            Ok(record) => record,
            Err(error) if error.is_missing_file() => {
                if let Err(error) = std::fs::remove_dir_all(dir) {
                    tracing::warn!(container.dir = %dir.display(), %error, "half a container stays");
                }
                return;
            }
            Err(error) => {
                let Some(id) = dir.file_name().and_then(|name| name.to_str()) else {
                    return;
                };
                tracing::error!(container.id = %id, %error, "record of a container cannot be read; the container can only be removed");
                Record::damaged(id, &error)
            }
        };
        if let Err(error) = self.containers.reserve(&record.name, &record.id) {
            tracing::warn!(container.id = %record.id, %error, "container has lost its name");
        }
        for mount in record
            .mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume")
        {
            self.volumes.hold(&mount.point.name, &record.id);
        }
        let bundle = bundles.join(&record.id);
        let mut state = RunState::load(dir, &bundle);
        if let Some(damage) = &record.damage {
            (state.dead, state.error) = (!state.running, damage.clone());
        }
        self.containers.insert(Arc::new(Container::new(
            dir.to_owned(),
            bundle,
            record,
            state,
        )));
    }

    /// Shims of containers that are no more.
    fn sweep_bundles(&self, bundles: &Path) {
        let Ok(entries) = std::fs::read_dir(bundles) else {
            return;
        };
        for entry in entries.flatten() {
            let known = entry
                .file_name()
                .to_str()
                .is_some_and(|id| self.containers.get(id).is_some());
            if !known {
                let path = entry.path();
                if let Err(error) = skep_runtime::shim::recover(&path) {
                    tracing::debug!(bundle = %path.display(), %error, "bundle of no container");
                }
                let _ = shared_memory::remove_bundle(&path);
            }
        }
    }

    async fn take_up(self: &Arc<Self>, container: &Arc<Container>) {
        let state = container.state();
        let damaged = container.with(|record, _| record.damage.is_some());
        if state.removing || (state.dead && !damaged) {
            self.remove_rest(container).await;
            return;
        }
        let waited = state.restarting;
        if waited {
            let _ = container.change_state(|state| {
                state.running = false;
                state.restarting = false;
            });
        }
        let bundle = container.bundle.clone();
        let found = if bundle.exists() {
            self.blocking(move || skep_runtime::shim::find(&bundle))
                .await
                .ok()
                .and_then(std::result::Result::ok)
        } else {
            None
        };
        match found {
            Some(Found::Running(stream)) => self.take_up_running(container, stream).await,
            Some(Found::Ended(exit)) if container.state().running => {
                self.ended(container, &exit).await
            }
            Some(Found::Lost) => {
                let exit = self.recover(container).await;
                if container.state().running {
                    self.ended(container, &exit).await;
                }
            }
            _ if container.state().running => {
                // The machine went down with it: nothing of it is left, not even an exit code.
                let exit = monitor::lost(&"the container ended with its host");
                self.ended(container, &exit).await;
            }
            _ => {}
        }
    }

    async fn take_up_running(
        self: &Arc<Self>,
        container: &Arc<Container>,
        stream: std::os::unix::net::UnixStream,
    ) {
        let shim = ShimState::load(&container.bundle).ok().flatten();
        // A container that was created and not let go belongs to a start that the daemon did not survive.
        if shim.as_ref().is_none_or(|shim| shim.started_at.is_none()) {
            super::start::abandon(&container.bundle).await;
            let _ = shared_memory::remove_bundle(&container.bundle);
            self.leave_network(
                &container.id,
                &RunState {
                    netns: container.id.clone(),
                    ..container.state()
                },
            )
            .await;
            return;
        }
        let Some(talk) = self.subscribe(container, stream).await else {
            let exit = self.recover(container).await;
            self.ended(container, &exit).await;
            return;
        };
        if let Some(shim) = shim {
            let recorded = container.change_state(|state| {
                if !state.running {
                    // The daemon died between the start and its record.
                    state.running = true;
                    state.starts += 1;
                    let nanos = shim
                        .started_at
                        .and_then(|at| u64::try_from(at).ok())
                        .unwrap_or(0);
                    state.started_at =
                        Some(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos));
                }
                state.pid = shim.pid;
            });
            if let Err(error) = recorded {
                tracing::warn!(container.id = %container.id, %error, "state of a container not written");
            }
        }
        if let Err(error) = self.adopt_network(container).await {
            tracing::warn!(container.id = %container.id, %error, "network of a running container not taken up whole");
        }
        container.live().run = CancellationToken::new();
        self.begin_health(container, container.state().healthy);
        container.publish();
        self.watch_shim(container.clone(), talk);
    }

    /// Ends a removal that the last daemon began.
    async fn remove_rest(self: &Arc<Self>, container: &Arc<Container>) {
        let _ = self.recover(container).await;
        self.leave_network(
            &container.id,
            &RunState {
                netns: container.id.clone(),
                ..container.state()
            },
        )
        .await;
        let _ = container.change_state(|state| {
            state.running = false;
            state.restarting = false;
            state.removing = false;
        });
        let options = RemoveOptions {
            force: true,
            volumes: container.with(|r, _| r.host_config.auto_remove),
            link: false,
        };
        if let Err(error) = self.remove_container(container, options).await {
            tracing::warn!(container.id = %container.id, %error, "removal not finished");
        }
    }

    /// Starts what is to run whenever the daemon does. Those that ended while no daemon was there
    /// were started again when that was recorded.
    pub(crate) fn start_by_policy(self: &Arc<Self>) {
        for container in self.containers.all() {
            let start = container.with(|record, state| {
                !state.running
                    && record.task.is_none()
                    && restart::starts_with_daemon(
                        &record.host_config.restart_policy,
                        state.starts > 0,
                        state.manually_stopped,
                        state.exit_code,
                    )
            });
            if start {
                let core = self.clone();
                self.tasks.spawn(async move {
                    if let Err(error) = core.start(&container.id).await {
                        tracing::warn!(container.id = %container.id, %error, "container not started with the daemon");
                    }
                });
            }
        }
    }
}
