//! Removing a container. With force it always works: whatever is in a bad state is taken down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Container, mounts, shared_memory};
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
        let begun = Instant::now();
        let mut asks = 0;
        let _operation = loop {
            asks += 1;
            match self.begin_removal(container, options.force).await? {
                Begun::Now(operation) => break operation,
                Begun::ByAnother if asks == 1 => {
                    if self.wait_until_gone(container).await? {
                        return Ok(());
                    }
                }
                Begun::ByAnother => {
                    return Err(EngineError::conflict(container.removal_in_progress()));
                }
            }
        };
        let record = container.record();
        let (dir, bundle) = (container.dir.clone(), container.bundle.clone());
        container.close(true);
        let removed = self.blocking(move || remove_dirs(&dir, &bundle)).await?;
        if let Err(error) = removed {
            let text = error.to_string();
            container.close(false);
            container.note_state(|state| {
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

    /// Marks a container for removal and ends what runs; nothing else is done to it from then on.
    async fn begin_removal<'c>(
        self: &Arc<Self>,
        container: &'c Arc<Container>,
        force: bool,
    ) -> Result<Begun<'c>> {
        // What runs is killed first: who holds the lock may wait for it. Without force there is
        // nothing to kill, and a start under way ends before it is looked at.
        let held = match force {
            true => None,
            false if container.with(|_, state| state.removing) => None,
            false => Some(container.operation.lock().await),
        };
        if container.is_gone() {
            return Err(EngineError::no_container(&container.id));
        }
        let mut marked = Ok(true);
        // A full disk must not keep what would free it.
        container.note_state(|state| {
            marked = if state.removing {
                Ok(false)
            } else if state.running && !force {
                Err(state.status())
            } else {
                state.removing = true;
                Ok(true)
            };
        });
        match marked {
            Err(status) => return Err(refuse_running(container, status)),
            Ok(false) if force => return Ok(Begun::ByAnother),
            Ok(false) => return Err(EngineError::conflict(container.removal_in_progress())),
            Ok(true) => {}
        }
        if let Some(held) = held {
            return Ok(Begun::Now(held));
        }
        container.going.cancel();
        self.end_by_force(container).await;
        let held = container.operation.lock().await;
        // A start may have come in between.
        self.end_by_force(container).await;
        Ok(Begun::Now(held))
    }

    /// Waits for a removal that another asked for; false when that has failed.
    async fn wait_until_gone(&self, container: &Container) -> Result<bool> {
        let mut status = container.watch();
        let over = status.wait_for(|status| {
            status.phase == crate::Phase::Removed || !container.with(|_, state| state.removing)
        });
        match tokio::time::timeout(PATIENCE, over).await {
            Ok(Ok(status)) => Ok(status.phase == crate::Phase::Removed),
            _ => Err(EngineError::conflict(container.removal_in_progress())),
        }
    }

    /// Ends whatever runs, by the shim, by hand, or by cleaning up after a shim that is lost.
    async fn end_by_force(self: &Arc<Self>, container: &Arc<Container>) {
        let _ = super::kill::call_off_restart(container);
        let state = container.state();
        if !state.running {
            return;
        }
        self.end_at_once(container, state.exits).await;
    }
}

/// Who removes a container.
enum Begun<'c> {
    /// Who asked, with the container's lock.
    Now(tokio::sync::MutexGuard<'c, ()>),
    ByAnother,
}

fn refuse_running(container: &Container, status: &str) -> EngineError {
    let (adjective, advice) = match status {
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
    EngineError::conflict(format!(
        "cannot remove container \"{}\": container is {adjective}: {advice}",
        container.with(|record, _| format!("/{}", record.name))
    ))
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
