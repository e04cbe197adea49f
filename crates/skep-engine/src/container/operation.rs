//! The one rule of what may be done to a container, and when.
//!
//! What changes a container holds its `operation` lock and looks at its state only then. Whoever
//! waited while it was removed finds nobody; what is marked for removal is left alone. What reads, or
//! talks with the process, holds no lock: when that fails, [`Core::told`] looks again, and says what
//! went away beneath it instead of what the kernel or the shim said.

use std::time::Duration;

use skep_objects::ErrorKind;
use skep_runtime::shim::ShimState;
use tokio::sync::MutexGuard;

use super::Container;
use crate::core::Core;
use crate::engine::Phase;
use crate::error::{EngineError, Result};

/// How long something that failed waits for an end that may be the reason: the kernel takes a process
/// apart before it tells of its end.
const GRACE: Duration = Duration::from_secs(1);

impl Container {
    /// Takes the lock of whatever changes what the container is. `refusal` is what Docker tells of one
    /// that is marked for removal.
    pub(super) async fn operate(
        &self,
        reference: &str,
        refusal: impl FnOnce() -> String,
    ) -> Result<MutexGuard<'_, ()>> {
        let guard = self.operation.lock().await;
        self.refuse_going(reference, refusal)?;
        Ok(guard)
    }

    /// Refuses what is gone, or marked for removal.
    pub(crate) fn refuse_going(
        &self,
        reference: &str,
        refusal: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.is_gone() {
            return Err(EngineError::no_container(reference));
        }
        if self.with(|_, state| state.removing || state.dead) {
            return Err(EngineError::conflict(refusal()));
        }
        Ok(())
    }

    /// Refuses what lost files on the way, which a reader of its directories is not told by the kernel.
    pub(super) fn refuse_closed(&self) -> Result<()> {
        match self.is_closed() {
            true => Err(EngineError::conflict(self.removal_in_progress())),
            false => Ok(()),
        }
    }

    /// Whether it has been removed since it was found.
    pub(super) fn is_gone(&self) -> bool {
        self.status.borrow().phase == Phase::Removed
    }

    pub(super) fn removal_in_progress(&self) -> String {
        format!("removal of container {} is already in progress", self.id)
    }

    pub(super) fn not_running(&self) -> EngineError {
        EngineError::conflict(format!("container {} is not running", self.id))
    }

    /// Whether the container's process is there, which the record may learn later.
    fn is_alive(&self) -> bool {
        self.with(|_, state| state.running)
            && matches!(ShimState::load(&self.bundle), Ok(Some(shim)) if shim.is_alive())
    }

    /// What to answer for something that failed from within: the removal that went on meanwhile, if
    /// one did.
    pub(crate) fn told(&self, reference: &str, error: EngineError) -> EngineError {
        if !is_from_within(&error) {
            return error;
        }
        let going = self.refuse_going(reference, || self.removal_in_progress());
        going.err().unwrap_or(error)
    }
}

impl Core {
    /// As [`Container::told`], for what only a running container can do.
    pub(super) async fn told_running(
        &self,
        container: &Container,
        reference: &str,
        error: EngineError,
    ) -> EngineError {
        let error = container.told(reference, error);
        if !is_from_within(&error) {
            return error;
        }
        let exits = container.state().exits;
        if !container.is_alive() || self.wait_for_end(container, exits, GRACE).await {
            return container.not_running();
        }
        error
    }

    /// Waits for the record of an end of which the kernel knows already, or does in a moment; false
    /// when the process lives.
    pub(super) async fn has_ended(&self, container: &Container, exits: u64) -> bool {
        let patience = match container.is_alive() {
            true => GRACE,
            false => super::kill::KILL_PATIENCE,
        };
        self.wait_for_end(container, exits, patience).await
    }
}

/// Whether an error is of the kernel, the disk or a shim, and not a refusal.
pub(super) fn is_from_within(error: &EngineError) -> bool {
    error.kind() == ErrorKind::Internal
}

#[cfg(test)]
mod tests {
    use super::super::{Record, RunState};
    use super::*;

    fn container(state: RunState) -> (tempfile::TempDir, Container) {
        let dir = tempfile::tempdir().unwrap();
        let record = Record {
            id: "c1".to_owned(),
            ..Record::default()
        };
        let bundle = dir.path().join("bundle");
        let container = Container::new(dir.path().to_owned(), bundle, record, state);
        (dir, container)
    }

    fn running() -> RunState {
        RunState {
            running: true,
            ..RunState::default()
        }
    }

    fn inner() -> EngineError {
        EngineError::io("write", "freezer.state")(std::io::ErrorKind::NotFound.into())
    }

    #[tokio::test]
    async fn who_waited_for_the_lock_looks_only_then() {
        let (_dir, container) = container(RunState::default());
        let held = container.operation.lock().await;
        let waits = container.operate("web", || "going".to_owned());
        tokio::pin!(waits);
        assert!(futures::poll!(waits.as_mut()).is_pending());
        container.note_state(|state| state.removing = true);
        drop(held);
        let error = waits.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Conflict, "going".to_owned())
        );

        container.publish_removed();
        let error = container.operate("web", String::new).await.unwrap_err();
        assert_eq!(error.to_string(), "No such container: web");
    }

    #[test]
    fn what_went_away_is_told_instead_of_what_the_kernel_said() {
        let (_dir, container) = container(running());
        assert_eq!(
            container.told("web", inner()).to_string(),
            inner().to_string()
        );
        // No shim: its process has ended, and the record does not know yet.
        assert!(!container.is_alive());
        container.note_state(|state| state.removing = true);
        let refusal = EngineError::invalid("bad");
        assert_eq!(container.told("web", refusal).to_string(), "bad");
        let text = container.told("web", inner()).to_string();
        assert_eq!(text, "removal of container c1 is already in progress");
        container.publish_removed();
        let text = container.told("web", inner()).to_string();
        assert_eq!(text, "No such container: web");
    }

    #[test]
    fn nothing_is_written_where_a_container_is_being_removed() {
        let (dir, container) = container(running());
        container.close(true);
        container
            .change_state(|state| state.running = false)
            .unwrap();
        assert!(!container.state().running);
        assert!(container.change_record(|_| ()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
