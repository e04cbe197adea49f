//! What follows when a container has ended: its network goes, the end is recorded, and it is started
//! again or removed if it was made so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use skep_runtime::shim::ExitRecord;
use tokio_util::sync::CancellationToken;

use super::{Container, restart, seconds_between, shared_memory};
use crate::core::Core;
use crate::engine::RemoveOptions;

impl Core {
    /// Records the end of a container that ran.
    pub(super) async fn ended(self: &Arc<Self>, container: &Arc<Container>, exit: &ExitRecord) {
        container.live().run.cancel();
        // Whoever connects or disconnects it does so before its end, or of a container that has ended.
        let _network = container.network.lock().await;
        let before = container.state();
        self.execs.container_ended(&container.id);
        self.leave_network(&container.id, &before).await;
        self.publish_mounts(container, "unmount");
        let finished =
            UNIX_EPOCH + Duration::from_nanos(u64::try_from(exit.finished_at).unwrap_or(0));
        let run = before
            .started_at
            .and_then(|at| finished.duration_since(at).ok())
            .unwrap_or_default();
        let code = i64::from(exit.code);
        let policy = container.with(|record, _| record.host_config.restart_policy.clone());
        let is_stopping = self.stopping.is_cancelled();
        let waiting = CancellationToken::new();
        container.live().run = waiting.clone();
        // Secrets do not outlive the run; the rest of the bundle goes with the next start or with the
        // container, so that nothing is missing when a start follows at once.
        self.files.forget(&container.id);
        shared_memory::unmount(&container.bundle);
        let attributes = BTreeMap::from([
            ("exitCode".to_owned(), exit.code.to_string()),
            (
                "execDuration".to_owned(),
                seconds_between(before.started_at, finished).to_string(),
            ),
        ]);
        // Before the end is seen: who restarts it waits for that.
        let kept = container.live().kept;
        let mut again = false;
        let recorded = container.change_state_then(
            |state| {
                // By what is so now: somebody may have asked for a stop since.
                let by_user = state.manually_stopped || state.removing;
                again =
                    !is_stopping && restart::restarts(&policy, code, state.restart_count, by_user);
                // Docker counts a container that waits for its restart as running.
                state.running = again;
                state.restarting = again;
                state.paused = false;
                state.pid = 0;
                state.exit_code = code;
                state.oom_killed = exit.oom_killed;
                state.error = exit.error.clone().unwrap_or_default();
                state.finished_at = Some(finished);
                state.exits += 1;
                state.endpoints.clear();
                state.ports.clear();
                state.netns.clear();
            },
            || self.publish(container, "die", attributes),
        );
        if let Err(error) = recorded {
            tracing::error!(container.id = %container.id, %error, "the end of a container could not be recorded");
        }
        if again {
            self.restart_later(container.clone(), run, waiting);
        } else if !kept
            && container.with(|record, state| record.host_config.auto_remove && !state.removing)
        {
            self.remove_behind(container.clone());
        }
    }

    /// Starts again after a delay, unless somebody stops or removes it meanwhile.
    fn restart_later(
        self: &Arc<Self>,
        container: Arc<Container>,
        run: Duration,
        waiting: CancellationToken,
    ) {
        let core = self.clone();
        self.tasks.spawn(async move {
            let mut run = run;
            loop {
                let delay = container.live().backoff.next(run);
                let due = async {
                    tokio::time::sleep(delay).await;
                    core.taken_up.cancelled().await;
                };
                tokio::select! {
                    () = due => {}
                    () = waiting.cancelled() => return,
                    () = core.stopping.cancelled() => return,
                }
                let _operation = container.operation.lock().await;
                let state = container.state();
                // Who stops it calls the restart off, or waits here to do so.
                if waiting.is_cancelled() || !state.restarting || state.manually_stopped {
                    return;
                }
                let counted = container.change_state(|state| {
                    state.restart_count += 1;
                    state.restart_count
                });
                if core.start_now(&container).await.is_ok() {
                    return;
                }
                // A start that failed is an end like any other.
                let state = container.state();
                let policy = container.with(|record, _| record.host_config.restart_policy.clone());
                let so_far = counted.unwrap_or(state.restart_count);
                if !restart::restarts(
                    &policy,
                    state.exit_code,
                    so_far,
                    state.manually_stopped || state.removing,
                ) {
                    return;
                }
                run = Duration::ZERO;
                let _ = container.change_state(|state| {
                    state.running = true;
                    state.restarting = true;
                });
            }
        });
    }

    /// Removes a `--rm` container, in the background.
    pub(super) fn remove_behind(self: &Arc<Self>, container: Arc<Container>) {
        let core = self.clone();
        self.tasks.spawn(async move {
            let options = RemoveOptions { force: true, volumes: true, link: false };
            if let Err(error) = core.remove_container(&container, options).await {
                tracing::warn!(container.id = %container.id, %error, "container not removed at its end");
            }
        });
    }
}
