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
        let _operation = container.operation.lock().await;
        let state = container.state();
        let refuse = |text: String| Err(EngineError::conflict(text));
        if !state.running {
            return refuse(format!("container {} is not running", container.id));
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
        self.with_cgroup(&container, |cgroup| cgroup.freeze())
            .await?;
        container.note_state(|state| state.paused = true);
        self.publish(&container, "pause", BTreeMap::new());
        Ok(())
    }

    pub(crate) async fn unpause(self: &Arc<Self>, reference: &str) -> Result<()> {
        let container = self.containers.find(reference)?;
        let _operation = container.operation.lock().await;
        if !container.state().paused {
            return Err(EngineError::conflict(format!(
                "Container {} is not paused",
                container.id
            )));
        }
        self.thaw(&container).await?;
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
