//! Waiting for a container to end or go.

use futures::FutureExt;
use futures::future::BoxFuture;
use skep_objects::api::container::{WaitError, WaitResponse};

use crate::core::Core;
use crate::engine::{ContainerStatus, Phase, WaitCondition};
use crate::error::Result;

impl Core {
    pub(crate) fn wait(
        &self,
        reference: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, WaitResponse>> {
        let container = self.containers.find(reference)?;
        let mut status = container.watch();
        let exits = status.borrow_and_update().exits;
        let met = move |now: &ContainerStatus| {
            matches!(now.phase, Phase::Removed | Phase::Dead)
                || match condition {
                    WaitCondition::NotRunning => !matches!(
                        now.phase,
                        Phase::Running | Phase::Paused | Phase::Restarting
                    ),
                    WaitCondition::NextExit => now.exits > exits,
                    WaitCondition::Removed => false,
                }
        };
        Ok(async move {
            let ended = status.wait_for(met).await.map(|status| status.clone());
            let ended = ended.unwrap_or_default();
            // A start that failed was told to whoever asked for it; here only a failed removal counts.
            let error = (ended.phase == Phase::Dead).then(|| WaitError {
                message: ended.error.clone(),
            });
            WaitResponse {
                status_code: ended.exit_code,
                error,
            }
        }
        .boxed())
    }
}
