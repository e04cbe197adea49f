//! The update supervisor: rolls outdated slots over to the service's new spec.
//!
//! At each call it is shown slots, all of them or those that something happened to, lets as many slots
//! be worked on as the parallelism allows, and says when it wants to be called again. A [`Run`] is what
//! it noticed meanwhile; a new leader rebuilds it from the tasks that were created since the update
//! started.

mod run;

use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::{
    Service, Task, UpdateConfig, UpdateStatus, Version,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};
use skep_objects::timestamp::duration;
use skep_store::TxError;

pub use self::run::Run;
use super::restart::Start;
use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use crate::clock::Monotonic;
use crate::pass::Pass;

const DEFAULT_MONITOR: Duration = Duration::from_secs(5);

/// Which update it is: spec version and start.
type Identity = (Option<Version>, Option<prost_types::Timestamp>);

fn identity(service: &Service) -> Identity {
    let status = service.update_status.as_ref();
    (
        service.spec_version,
        status.and_then(|status| status.started_at),
    )
}

/// Slots with the tasks that an update would replace.
pub struct Seen {
    /// The slots.
    pub slots: Vec<(SlotKey, Tasks)>,
    /// Whether the service has no others.
    pub all: bool,
}

/// What the service asks of this update.
struct Config {
    parallelism: usize,
    delay: Duration,
    monitor: Duration,
    max_failure_ratio: f32,
    on_failure: FailureAction,
    order: UpdateOrder,
    is_rollback: bool,
}

impl Config {
    fn of(service: &Service) -> Self {
        let is_rollback = matches!(
            state(service),
            UpdateState::RollbackStarted
                | UpdateState::RollbackPaused
                | UpdateState::RollbackCompleted
        );
        let spec = service.spec.as_ref();
        let given = spec.and_then(|spec| {
            if is_rollback {
                spec.rollback.as_ref()
            } else {
                spec.update.as_ref()
            }
        });
        let default = UpdateConfig {
            parallelism: 1,
            ..Default::default()
        };
        let config = given.unwrap_or(&default);
        Self {
            parallelism: match config.parallelism {
                0 => usize::MAX,
                some => usize::try_from(some).unwrap_or(usize::MAX),
            },
            delay: config.delay.as_ref().map_or(Duration::ZERO, duration),
            monitor: config.monitor.as_ref().map_or(DEFAULT_MONITOR, duration),
            max_failure_ratio: config.max_failure_ratio,
            on_failure: config.failure_action(),
            order: config.order(),
            is_rollback,
        }
    }
}

/// What came of a step: the run to go on with, tasks that wait to start, when to come back.
type Step = (Option<Run>, Vec<(String, Start)>, Option<Monotonic>);

/// Brings the update of a service as far as it can be now.
pub fn advance(
    pass: &mut Pass<'_>,
    service: &Service,
    mode: Mode,
    seen: &Seen,
    run: Option<Run>,
) -> Result<Step, TxError> {
    if matches!(
        state(service),
        UpdateState::Paused | UpdateState::RollbackPaused
    ) {
        return Ok((None, Vec::new(), None));
    }
    let outdated = seen.slots.iter();
    let outdated = outdated.filter(|(_, tasks)| is_outdated(service, tasks, pass));
    let outdated: Vec<&SlotKey> = outdated.map(|(key, _)| key).collect();
    let in_progress = matches!(
        state(service),
        UpdateState::Updating | UpdateState::RollbackStarted
    );
    if outdated.is_empty() && !in_progress {
        return Ok((None, Vec::new(), None));
    }
    let mut service = service.clone();
    if service.update_status.is_none() {
        service = begin(pass, &service)?;
    }
    let config = Config::of(&service);
    let mut run = match run.filter(|run| run.is_of(&service)) {
        Some(run) => run,
        None => Run::resumed(&service, mode, &outdated, &config, pass),
    };
    run.look(&service, seen, outdated.len(), pass, &config);
    if run.tripped(&config) && fail(pass, &service, &config, &run)? {
        return Ok((None, Vec::new(), None));
    }
    run.sort_out(&service, seen, pass);
    run.tidy(&service, seen, pass, &config)?;
    let started = run.roll(&service, mode, pass, &config)?;
    let wake = run.next_wake(&config, pass.now);
    if wake.is_none() && run.is_done() {
        complete(pass, &service.id)?;
        return Ok((None, started, None));
    }
    Ok((Some(run), started, wake))
}

/// Whether a slot with these tasks, which an update may replace, is to be rolled over.
pub fn is_outdated(service: &Service, tasks: &Tasks, pass: &Pass<'_>) -> bool {
    let live = tasks.iter().filter(|task| slot::is_live(task)).count();
    live > 1
        || tasks
            .iter()
            .any(|task| is_task_outdated(service, task, pass))
}

/// Whether a task is to be replaced by one of the service's spec of now.
pub fn is_task_outdated(service: &Service, task: &Task, pass: &Pass<'_>) -> bool {
    service::is_dirty(service, task, pass.tx.node(&task.node_id).map(Arc::as_ref))
}

fn state(service: &Service) -> UpdateState {
    service
        .update_status
        .as_ref()
        .map_or(UpdateState::Unknown, UpdateStatus::state)
}

fn begin(pass: &mut Pass<'_>, service: &Service) -> Result<Service, TxError> {
    let now = pass.now.timestamp();
    let status = UpdateStatus {
        state: UpdateState::Updating.into(),
        started_at: Some(now),
        message: "update in progress".to_owned(),
        ..Default::default()
    };
    let service = pass
        .tx
        .edit_service(&service.id, |service| service.update_status = Some(status))?;
    Ok(service.as_ref().clone())
}

fn complete(pass: &mut Pass<'_>, service: &str) -> Result<(), TxError> {
    let now = pass.now.timestamp();
    pass.tx.edit_service(service, |service| {
        let Some(status) = &mut service.update_status else {
            return;
        };
        let (state, message) = match status.state() {
            UpdateState::RollbackStarted => (UpdateState::RollbackCompleted, "rollback completed"),
            UpdateState::Updating => (UpdateState::Completed, "update completed"),
            _ => return,
        };
        status.set_state(state);
        message.clone_into(&mut status.message);
        status.completed_at = Some(now);
    })?;
    Ok(())
}

/// Does what the service wants done about failures. True when the update ends here.
fn fail(
    pass: &mut Pass<'_>,
    service: &Service,
    config: &Config,
    run: &Run,
) -> Result<bool, TxError> {
    let task = run.first_failed();
    let reason = format!("due to failure or early termination of task {task}");
    let now = pass.now.timestamp();
    let rolls_back = config.on_failure == FailureAction::Rollback
        && !config.is_rollback
        && service.previous_spec.is_some();
    pass.tx.edit_service(&service.id, |service| {
        let started_at = service
            .update_status
            .as_ref()
            .and_then(|status| status.started_at);
        let (state, message, started_at) = if rolls_back {
            service.spec = service.previous_spec.take();
            service.spec_version = service.previous_spec_version.take();
            (
                UpdateState::RollbackStarted,
                format!("update rolled back {reason}"),
                Some(now),
            )
        } else if config.is_rollback {
            (
                UpdateState::RollbackPaused,
                format!("rollback paused {reason}"),
                started_at,
            )
        } else {
            (
                UpdateState::Paused,
                format!("update paused {reason}"),
                started_at,
            )
        };
        service.update_status = Some(UpdateStatus {
            state: state.into(),
            started_at,
            completed_at: None,
            message,
        });
    })?;
    Ok(true)
}
