//! Freezing and thawing.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_runtime::cgroup::Cgroup;
use skep_runtime::shim::ShimState;

use super::Container;
use crate::core::Core;
use crate::error::{EngineError, Result};

impl Core {
    pub(crate) async fn pause(self: &Arc<Self>, reference: &str) -> Result<()> {
        let container = self.containers.find(reference)?;
        let _operation = container
            .operate(reference, || container.removal_in_progress())
            .await?;
        let state = container.state();
        let refuse = |text: String| Err(EngineError::conflict(text));
        if !state.running {
            return Err(container.not_running());
        }
        if state.paused {
            return refuse(format!("container {} is already paused", container.id));
        }
        if state.restarting {
            return refuse(format!(
                "Container {} is restarting, wait until the container is running",
                container.id
            ));
        }
        match self.freeze(&container, state.exits).await {
            Err(error) => Err(self.told_running(&container, reference, error).await),
            frozen => frozen,
        }
    }

    /// Freezes a running container, unless it ends or is killed meanwhile.
    pub(super) async fn freeze(&self, container: &Container, exits: u64) -> Result<()> {
        let kills = container.live().kills;
        self.with_cgroup(container, |cgroup| cgroup.freeze())
            .await?;
        let mut runs = false;
        container.note_state(|state| {
            runs = state.running && state.exits == exits;
            state.paused = runs;
        });
        if !runs {
            return Err(container.not_running());
        }
        self.publish(container, "pause", BTreeMap::new());
        if container.live().kills != kills {
            // Who killed it looked before it was frozen, and nothing would end it now.
            self.thaw(container).await?;
        }
        Ok(())
    }

    pub(crate) async fn unpause(self: &Arc<Self>, reference: &str) -> Result<()> {
        let container = self.containers.find(reference)?;
        let _operation = container
            .operate(reference, || container.removal_in_progress())
            .await?;
        if !container.state().paused {
            return Err(EngineError::conflict(format!(
                "Container {} is not paused",
                container.id
            )));
        }
        if let Err(error) = self.thaw(&container).await {
            return Err(self.told_running(&container, reference, error).await);
        }
        self.publish(&container, "unpause", BTreeMap::new());
        Ok(())
    }

    pub(super) async fn thaw(&self, container: &Container) -> Result<()> {
        self.with_cgroup(container, |cgroup| cgroup.thaw()).await?;
        container.note_state(|state| state.paused = false);
        Ok(())
    }

    /// Works on the cgroups of a running container.
    pub(super) async fn with_cgroup<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        &self,
        container: &Container,
        work: impl FnOnce(&Cgroup) -> std::result::Result<T, E> + Send + 'static,
    ) -> Result<T> {
        let (bundle, id) = (container.bundle.clone(), container.id.clone());
        let fail = move |reason: String| EngineError::Shim {
            doing: "control",
            id,
            reason,
        };
        self.blocking(move || {
            let state = ShimState::load(&bundle).map_err(|error| error.to_string())?;
            let state = state.ok_or_else(|| "it is not running".to_owned())?;
            work(&Cgroup::open(state.cgroup)).map_err(|error| error.to_string())
        })
        .await?
        .map_err(fail)
    }
}
