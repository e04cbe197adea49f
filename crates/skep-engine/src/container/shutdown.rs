//! The daemon's end.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;

impl Core {
    /// Ends background work; containers go on unless `stop_containers`.
    pub(crate) async fn shutdown(self: &Arc<Self>, stop_containers: bool) {
        if stop_containers {
            let running = self
                .containers
                .all()
                .into_iter()
                .filter(|container| container.state().running);
            let stop = |container: Arc<super::Container>| {
                let core = self.clone();
                async move {
                    // As after a reboot, the restart policy is to start it again with the daemon.
                    let by_user = container.state().manually_stopped;
                    if let Err(error) = core.stop_container(&container, None, None).await {
                        tracing::warn!(container.id = %container.id, %error, "container not stopped");
                    }
                    let _ = container.change_state(|state| state.manually_stopped = by_user);
                }
            };
            let patience = Duration::from_secs(self.settings().shutdown_timeout_seconds);
            let _ =
                tokio::time::timeout(patience, futures::future::join_all(running.map(stop))).await;
        }
        self.stopping.cancel();
        self.tasks.close();
        // Restarts and removals under way end by themselves; a stuck one must not keep the daemon.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        self.remove_cgroup_parent();
    }

    /// The cgroup above those of the containers, when none is left.
    fn remove_cgroup_parent(&self) {
        let name = self.config.cgroup_parent.trim_matches('/');
        let path = std::path::Path::new("/").join(name);
        // Containers that run on keep it, which is as it should be.
        if let Err(error) = skep_runtime::cgroup::remove_empty(&path) {
            tracing::debug!(%error, "cgroup of the containers not removed");
        }
    }
}
