//! Removing a container. With force it always works: whatever is in a bad state is taken down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_objects::ErrorKind;

use super::{Container, mounts, shared_memory, signal};
use crate::core::Core;
use crate::engine::RemoveOptions;
use crate::error::{EngineError, Result};

const PATIENCE: Duration = Duration::from_secs(10);

impl Core {
    pub(crate) async fn remove(
        self: &Arc<Self>,
        reference: &str,
        options: RemoveOptions,
    ) -> Result<()> {
        if options.link {
            return self.unlink(reference);
        }
        let container = self.containers.find(reference)?;
        self.remove_container(&container, options).await
    }

    pub(super) async fn remove_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        options: RemoveOptions,
    ) -> Result<()> {
        let state = container.state();
        if state.running && !options.force {
            let (adjective, advice) = match state.status() {
                "paused" => (
                    "paused",
                    "unpause and then stop the container before removing or force remove",
                ),
                "restarting" => (
                    "restarting",
                    "stop the container before removing or force remove",
                ),
                _ => (
                    "running",
                    "stop the container before removing or force remove",
                ),
            };
            return Err(EngineError::conflict(format!(
                "cannot remove container \"{}\": container is {adjective}: {advice}",
                container.with(|record, _| format!("/{}", record.name))
            )));
        }
        let begun = Instant::now();
        if self.containers.get(&container.id).is_none() {
            return Err(EngineError::no_container(&container.id));
        }
        let first = container.change_state(|state| !std::mem::replace(&mut state.removing, true));
        // A full disk must not keep what would free it.
        if !first.unwrap_or(true) {
            return if options.force {
                self.wait_until_gone(container).await
            } else {
                Err(EngineError::conflict(format!(
                    "removal of container {} is already in progress",
                    container.id
                )))
            };
        }
        self.end_by_force(container).await;
        let _operation = container.operation.lock().await;
        // A start may have come in between.
        self.end_by_force(container).await;
        let record = container.record();
        let (dir, bundle) = (container.dir.clone(), container.bundle.clone());
        let removed = self.blocking(move || remove_dirs(&dir, &bundle)).await?;
        if let Err(error) = removed {
            let text = error.to_string();
            let _ = container.change_state(|state| {
                state.removing = false;
                state.dead = true;
                state.error = text;
            });
            return Err(error);
        }
        let core = self.clone();
        let volumes = options.volumes;
        let released = record.clone();
        self.blocking(move || mounts::release(&released, &core, volumes))
            .await?;
        self.execs.container_removed(&container.id);
        self.containers.remove(&container.id);
        self.publish(container, "destroy", BTreeMap::new());
        container.publish_removed();
        self.metrics.containers.delete.since(begun);
        Ok(())
    }

    async fn wait_until_gone(&self, container: &Container) -> Result<()> {
        let mut status = container.watch();
        let gone = status.wait_for(|status| status.phase == crate::Phase::Removed);
        match tokio::time::timeout(PATIENCE, gone).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(EngineError::refused(
                ErrorKind::Conflict,
                format!(
                    "removal of container {} is already in progress",
                    container.id
                ),
            )),
        }
    }

    /// Ends whatever runs, by the shim, by hand, or by cleaning up after a shim that is lost.
    async fn end_by_force(self: &Arc<Self>, container: &Arc<Container>) {
        let _ = super::kill::call_off_restart(container);
        let state = container.state();
        if !state.running {
            return;
        }
        let _ = self.signal(container, signal::KILL, false).await;
        if self.wait_for_end(container, state.exits, PATIENCE).await {
            return;
        }
        self.kill_by_hand(container).await;
        if !self.wait_for_end(container, state.exits, PATIENCE).await {
            let exit = self.recover(container).await;
            self.ended(container, &exit).await;
        }
    }
}

/// The record goes last, so that a crash leaves something that can be removed again.
fn remove_dirs(dir: &Path, bundle: &Path) -> Result<()> {
    let gone = |path: &Path, result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io("remove", path)(error))
        }
        _ => Ok(()),
    };
    gone(bundle, shared_memory::remove_bundle(bundle))?;
    if let Ok(entries) = std::fs::read_dir(dir) {
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_name() != "container.json")
        {
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            gone(&path, removed)?;
        }
    }
    gone(dir, std::fs::remove_dir_all(dir))
}
