//! The update supervisor: rolls outdated slots over to the service's new spec.
//!
//! At each call it looks at the slots, lets as many slots be worked on as the parallelism allows,
//! and says when it wants to be called again. A [`Run`] is what it noticed meanwhile; a new leader
//! rebuilds it from the tasks that were created since the update started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::{
    Service, Task, TaskState, UpdateConfig, UpdateStatus, Version,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};
use skep_objects::timestamp::{duration, unix_nanos};
use skep_store::TxError;

use super::restart::{self, Start};
use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use crate::clock::{Monotonic, Now};
use crate::pass::Pass;

const DEFAULT_MONITOR: Duration = Duration::from_secs(5);

/// One update, or rollback, of one service.
#[derive(Debug)]
pub struct Run {
    /// Which update this is: spec version and start.
    of: (Option<Version>, Option<prost_types::Timestamp>),
    /// Slots that were outdated when it began.
    total: usize,
    attempts: BTreeMap<SlotKey, Attempt>,
    /// Tasks of this update that failed.
    failed: BTreeSet<String>,
}

/// The task that this update created in a slot.
#[derive(Debug)]
struct Attempt {
    task: String,
    /// When it reached RUNNING, or went past it.
    done: Option<Monotonic>,
    running: Option<Monotonic>,
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
    slots: Vec<(SlotKey, Tasks)>,
    run: Option<Run>,
) -> Result<Step, TxError> {
    if matches!(
        state(service),
        UpdateState::Paused | UpdateState::RollbackPaused
    ) {
        return Ok((None, Vec::new(), None));
    }
    let outdated: Vec<(SlotKey, Tasks)> = slots
        .iter()
        .filter(|(_, tasks)| is_outdated(service, tasks, pass))
        .cloned()
        .collect();
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
    let of = (
        service.spec_version,
        service
            .update_status
            .as_ref()
            .and_then(|status| status.started_at),
    );
    let mut run = match run.filter(|run| run.of == of) {
        Some(run) => run,
        None => Run::resumed(of, &service, mode, &slots, outdated.len(), pass),
    };
    run.total = run.total.max(outdated.len());
    run.look(pass, &config);
    if run.tripped(&config) && fail(pass, &service, &config, &run)? {
        return Ok((None, Vec::new(), None));
    }
    let outdated: Vec<_> = outdated
        .into_iter()
        .filter(|(key, tasks)| !run.gave_up(&service, key, tasks, pass))
        .collect();
    let mut started = Vec::new();
    for (key, tasks) in &outdated {
        if pass.is_full_for_tasks() {
            break;
        }
        started.extend(run.roll(pass, &service, mode, key, tasks, &config)?);
    }
    let wake = run.next_wake(&config, outdated.is_empty(), pass.now);
    if wake.is_none() && outdated.is_empty() && run.all_done() {
        complete(pass, &service.id)?;
        return Ok((None, started, None));
    }
    Ok((Some(run), started, wake))
}

impl Run {
    /// A run at its beginning, or where the tasks show that an earlier leader left it.
    fn resumed(
        of: (Option<Version>, Option<prost_types::Timestamp>),
        service: &Service,
        mode: Mode,
        slots: &[(SlotKey, Tasks)],
        outdated: usize,
        pass: &Pass<'_>,
    ) -> Self {
        let mut run = Self {
            of,
            total: outdated,
            attempts: BTreeMap::new(),
            failed: BTreeSet::new(),
        };
        let Some(since) = of.1.as_ref().map(unix_nanos) else {
            return run;
        };
        let created = |task: &Task| task.meta.as_ref()?.created_at.as_ref().map(unix_nanos);
        for (key, tasks) in slots {
            let Some(any) = tasks.first() else { continue };
            let first = slot::slot_of(pass.tx, any, mode).into_iter().find(|task| {
                task.spec_version == service.spec_version
                    && created(task).is_some_and(|created| created >= since)
            });
            let Some(first) = first else { continue };
            if ended_by_itself(first.observed_state()) {
                run.failed.insert(first.id.clone());
            }
            run.attempts
                .insert(key.clone(), Attempt::of(first.id.clone()));
            run.total = run.total.max(run.attempts.len());
        }
        run
    }

    /// Notes what became of the tasks that this update created.
    fn look(&mut self, pass: &Pass<'_>, config: &Config) {
        let now = pass.now.monotonic;
        for attempt in self.attempts.values_mut() {
            let Some(task) = pass.tx.task(&attempt.task) else {
                attempt.done.get_or_insert(now);
                continue;
            };
            let state = task.observed_state();
            if state >= TaskState::Running {
                attempt.done.get_or_insert(now);
            }
            if state == TaskState::Running {
                attempt.running.get_or_insert(now);
            }
            // Those that were told to stop did not fail.
            let failed = ended_by_itself(state) || (state.is_terminal() && task.wants_to_run());
            let early = attempt
                .running
                .is_none_or(|since| now <= since + config.monitor);
            if failed && early {
                self.failed.insert(task.id.clone());
            }
        }
    }

    #[allow(clippy::cast_precision_loss)] // The ratio is a float for users, too.
    fn tripped(&self, config: &Config) -> bool {
        config.on_failure != FailureAction::Continue
            && !self.failed.is_empty()
            && self.failed.len() as f32 / self.total.max(1) as f32 > config.max_failure_ratio
    }

    /// Whether the slot had its try, which failed and is not restarted: it keeps its old task.
    fn gave_up(&self, service: &Service, key: &SlotKey, tasks: &Tasks, pass: &Pass<'_>) -> bool {
        let done = self
            .attempts
            .get(key)
            .is_some_and(|attempt| attempt.done.is_some());
        done && !tasks
            .iter()
            .any(|task| slot::is_live(task) && !is_task_outdated(service, task, pass))
    }

    /// Slots that are being worked on, or whose delay runs.
    fn busy(&self, config: &Config, now: Now) -> usize {
        let is_busy = |attempt: &&Attempt| {
            attempt
                .done
                .is_none_or(|done| now.monotonic < done + config.delay)
        };
        self.attempts.values().filter(is_busy).count()
    }

    /// Does the next step in a slot that is outdated.
    fn roll(
        &mut self,
        pass: &mut Pass<'_>,
        service: &Service,
        mode: Mode,
        key: &SlotKey,
        tasks: &Tasks,
        config: &Config,
    ) -> Result<Option<(String, Start)>, TxError> {
        let (clean, old): (Tasks, Tasks) = tasks
            .iter()
            .filter(|task| slot::is_live(task))
            .cloned()
            .partition(|task| !is_task_outdated(service, task, pass));
        if let Some(new) = newest_of(&clean) {
            self.attempts
                .entry(key.clone())
                .or_insert_with(|| Attempt::of(new.id.clone()));
            let keeps_old_until_running = config.order == UpdateOrder::StartFirst
                && new.observed_state() != TaskState::Running;
            let surplus = clean.iter().filter(|task| task.id != new.id);
            // Those that do not run serve nobody, and may hold the place that the new one needs.
            let old = old.iter().filter(|task| {
                !keeps_old_until_running || task.observed_state() < TaskState::Running
            });
            for task in surplus.chain(old) {
                restart::stop(pass, &task.id)?;
            }
            return Ok(None);
        }
        if self.busy(config, pass.now) >= config.parallelism {
            return Ok(None);
        }
        let first = config.order == UpdateOrder::StartFirst && !old.is_empty();
        if first {
            let task = service::new_task(service, key, TaskState::Running, pass.tx, pass.now);
            let id = pass.tx.create_task(task)?.id.clone();
            self.attempts.insert(key.clone(), Attempt::of(id));
            return Ok(None);
        }
        for task in &old {
            restart::stop(pass, &task.id)?;
        }
        let start = Start::after(Duration::ZERO, pass.now);
        let (id, waits) = restart::replace(pass, service, key, mode, start)?;
        self.attempts.insert(key.clone(), Attempt::of(id.clone()));
        Ok(waits.map(|start| (id, start)))
    }

    fn all_done(&self) -> bool {
        self.attempts.values().all(|attempt| attempt.done.is_some())
    }

    /// When time alone will bring the update on: a delay is over, or the watch after the end.
    fn next_wake(&self, config: &Config, nothing_outdated: bool, now: Now) -> Option<Monotonic> {
        let done = self.attempts.values().filter_map(|attempt| attempt.done);
        if !nothing_outdated {
            return done
                .map(|done| done + config.delay)
                .filter(|at| *at > now.monotonic)
                .min();
        }
        let watch = if config.delay >= config.monitor {
            config.delay + Duration::from_secs(1)
        } else {
            config.monitor
        };
        done.max()
            .map(|last| last + watch)
            .filter(|at| *at > now.monotonic)
    }
}

impl Attempt {
    fn of(task: String) -> Self {
        Self {
            task,
            done: None,
            running: None,
        }
    }
}

/// A service's task that exits, even with success, has ended early.
fn ended_by_itself(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Complete | TaskState::Failed | TaskState::Rejected
    )
}

fn newest_of(tasks: &Tasks) -> Option<&Arc<Task>> {
    // One that runs is kept over one that only is newer.
    let running = tasks
        .iter()
        .rev()
        .find(|task| task.observed_state() == TaskState::Running);
    running.or(tasks.last())
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
    let task = run.failed.first().map_or("", String::as_str);
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
