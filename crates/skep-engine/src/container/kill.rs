//! Signals, stop and restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_objects::ErrorKind;
use skep_runtime::shim::protocol::{RefusalKind, Request};

use super::shim::{Talk, TalkError};
use super::{Container, signal};
use crate::core::Core;
use crate::error::{EngineError, Result};

/// Docker's default for `StopTimeout`.
const STOP_TIMEOUT: i64 = 10;
/// After SIGKILL nothing but the kernel stands between a process and its end.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Core {
    pub(crate) async fn kill(self: &Arc<Self>, reference: &str, signal: &str) -> Result<()> {
        let in_vain = |error: EngineError| {
            let text = format!("cannot kill container: {reference}: {error}");
            EngineError::refused(error.kind(), text)
        };
        let signal = if signal.is_empty() {
            signal::KILL
        } else {
            signal::parse(signal).map_err(in_vain)?
        };
        let container = self.containers.find(reference).map_err(in_vain)?;
        let state = container.state();
        container.refuse_going(reference, || {
            format!(
                "cannot kill container: {reference}: {}",
                container.removal_in_progress()
            )
        })?;
        let refuse = |why: &str| {
            EngineError::conflict(format!(
                "cannot kill container: {reference}: container {} {why}",
                container.id
            ))
        };
        if state.restarting {
            return Err(refuse("is restarting, wait until the container is running"));
        }
        if !state.running {
            return Err(refuse("is not running"));
        }
        let own_stop_signal = container
            .with(|record, _| signal::parse(&record.config.stop_signal).unwrap_or(signal::TERM));
        if signal == signal::KILL || signal == own_stop_signal {
            container.note_state(|state| state.manually_stopped = true);
        }
        self.signal(&container, signal)
            .await
            .map_err(|error| match error {
                TalkError::Gone(_) | TalkError::Silent => refuse("is not running"),
                TalkError::Refused(refusal)
                    if matches!(refusal.kind, RefusalKind::NotFound | RefusalKind::Conflict) =>
                {
                    refuse("is not running")
                }
                TalkError::Refused(refusal) => EngineError::invalid(refusal.message),
            })?;
        if signal == signal::KILL {
            // Docker answers a SIGKILL when the container has ended.
            self.wait_for_end(&container, state.exits, KILL_PATIENCE)
                .await;
        }
        Ok(())
    }

    /// Sends a signal and publishes it; past a shim that says nothing.
    pub(super) async fn signal(&self, container: &Container, signal: i32) -> Result<(), TalkError> {
        let talk = match Talk::open(&container.bundle).await {
            Err(TalkError::Silent) => None,
            talk => Some(talk?),
        };
        if signal == signal::KILL {
            container.live().kills += 1;
            if container.state().paused {
                // A frozen process does not even die.
                let _ = self.thaw(container).await;
            }
        }
        let request = Request::Signal {
            signal,
            exec: None,
            all: false,
        };
        let sent = match talk {
            Some(mut talk) => talk.call(&request).await,
            None => Err(TalkError::Silent),
        };
        match sent {
            Err(TalkError::Silent) => self.signal_by_hand(container, signal).await?,
            sent => drop(sent?),
        }
        self.publish(
            container,
            "kill",
            BTreeMap::from([("signal".to_owned(), signal.to_string())]),
        );
        Ok(())
    }

    pub(crate) async fn stop(
        self: &Arc<Self>,
        reference: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let container = self.containers.find(reference)?;
        if !container.state().running {
            // A start under way ends first.
            drop(
                container
                    .operate(reference, || container.removal_in_progress())
                    .await?,
            );
            if !container.state().running {
                return Err(EngineError::refused(
                    ErrorKind::NotModified,
                    "container already stopped",
                ));
            }
        }
        self.stop_container(&container, signal, timeout).await
    }

    /// The stop signal, patience, SIGKILL; a restart that is waited for is called off.
    pub(super) async fn stop_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let (own_signal, own_timeout) = container.with(|record, _| {
            (
                record.config.stop_signal.clone(),
                record.config.stop_timeout,
            )
        });
        let wanted = signal
            .filter(|signal| !signal.is_empty())
            .unwrap_or(&own_signal);
        let signal = if wanted.is_empty() {
            signal::TERM
        } else {
            signal::parse(wanted)?
        };
        let timeout = timeout.or(own_timeout).unwrap_or(STOP_TIMEOUT);
        let exits = container.state().exits;
        container.note_state(|state| state.manually_stopped = true);
        if container.state().restarting {
            let _operation = container.operation.lock().await;
            if call_off_restart(container)? {
                self.publish(container, "stop", BTreeMap::new());
                return Ok(());
            }
            // It was just being started again, which forgot the wish.
            container.note_state(|state| state.manually_stopped = true);
        }
        if container.state().paused {
            let _ = self.thaw(container).await;
        }
        let sent = self.signal(container, signal).await;
        let patience = match u64::try_from(timeout) {
            Ok(seconds) => Duration::from_secs(seconds),
            // -1 waits for ever.
            Err(_) => Duration::from_secs(u64::from(u32::MAX)),
        };
        let ended = sent.is_ok() && self.wait_for_end(container, exits, patience).await;
        if !ended && container.state().exits == exits {
            self.end_at_once(container, exits).await;
        }
        self.publish(container, "stop", BTreeMap::new());
        Ok(())
    }

    /// Ends what runs since `exits` ends were recorded: by its shim, by hand, or with its shim.
    pub(super) async fn end_at_once(self: &Arc<Self>, container: &Arc<Container>, exits: u64) {
        let _ = self.signal(container, signal::KILL).await;
        if self.wait_for_end(container, exits, KILL_PATIENCE).await {
            return;
        }
        let _ = self.signal_by_hand(container, signal::KILL).await;
        if !self.wait_for_end(container, exits, KILL_PATIENCE).await {
            let exit = self.recover(container).await;
            self.ended(container, &exit).await;
        }
    }

    /// For a shim that does not answer: the kernel takes the signal all the same, and the shim goes on
    /// if all that ails it is that somebody has stopped it.
    async fn signal_by_hand(&self, container: &Container, signal: i32) -> Result<(), TalkError> {
        let bundle = container.bundle.clone();
        let send = move || {
            let state = skep_runtime::shim::ShimState::load(&bundle).ok().flatten();
            skep_runtime::shim::wake(&bundle);
            state.is_some_and(|state| state.signal(signal))
        };
        match self.blocking(send).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TalkError::Silent),
        }
    }

    /// Waits until more ends are recorded than `exits`; false when patience runs out.
    pub(super) async fn wait_for_end(
        &self,
        container: &Container,
        exits: u64,
        patience: Duration,
    ) -> bool {
        let mut status = container.watch();
        let end =
            status.wait_for(|status| status.exits > exits || status.phase == crate::Phase::Removed);
        matches!(tokio::time::timeout(patience, end).await, Ok(Ok(_)))
    }

    pub(crate) async fn restart(
        self: &Arc<Self>,
        reference: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let container = self.containers.find(reference)?;
        if container.state().running {
            let auto_remove = container.with(|record, _| record.host_config.auto_remove);
            // Docker keeps a --rm container through a restart.
            container.live().kept = auto_remove;
            let stopped = self.stop_container(&container, signal, timeout).await;
            container.live().kept = false;
            stopped?;
        }
        match self.start(reference).await {
            Err(error) if error.kind() != ErrorKind::NotModified => return Err(error),
            _ => {}
        }
        self.publish(&container, "restart", BTreeMap::new());
        Ok(())
    }
}

/// Ends the wait for a restart; false when the container runs by now.
pub(super) fn call_off_restart(container: &Container) -> Result<bool> {
    if !container.state().restarting {
        return Ok(false);
    }
    container.live().run.cancel();
    container.change_state(|state| {
        state.running = false;
        state.restarting = false;
    })?;
    Ok(true)
}
