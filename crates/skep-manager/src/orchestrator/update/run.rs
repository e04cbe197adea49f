//! What is noticed of one update while it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::{
    Service, Task, TaskState,
    update_config::{FailureAction, UpdateOrder},
};
use skep_objects::timestamp::{system_time, unix_nanos};
use skep_store::TxError;

use super::{Config, Identity, Seen, identity, is_outdated, is_task_outdated};
use crate::clock::{Monotonic, Now};
use crate::orchestrator::restart::{self, Start};
use crate::orchestrator::service::{self, Mode};
use crate::orchestrator::slot::{self, SlotKey, Tasks};
use crate::pass::Pass;

/// One update, or rollback, of one service. Where only some slots are looked at, what it knows of the
/// others holds: whatever happens to a slot has it looked at.
#[derive(Debug)]
pub struct Run {
    of: Identity,
    /// Slots that were outdated when it began.
    total: usize,
    attempts: BTreeMap<SlotKey, Attempt>,
    /// Tasks of this update that failed.
    failed: BTreeSet<String>,
    /// Slots that are outdated, without those that had their try in vain.
    outdated: BTreeSet<SlotKey>,
    /// Those of them that have no new task yet.
    waiting: BTreeSet<SlotKey>,
    /// Slots whose attempt is not done.
    at_work: BTreeSet<SlotKey>,
    /// Slots whose attempt is done, and since when, until the delay after it is over.
    resting: BTreeSet<(Monotonic, SlotKey)>,
    /// When the last attempt was done.
    last_done: Option<Monotonic>,
}

/// The task that this update created in a slot.
#[derive(Debug)]
struct Attempt {
    task: String,
    /// It reached RUNNING, or went past it, or was lost for good.
    done: bool,
    running: Option<Monotonic>,
    /// Whether it failed is known: it was over when an earlier leader's work was taken over.
    judged: bool,
}

impl Run {
    /// Whether this is the service's update of now.
    pub fn is_of(&self, service: &Service) -> bool {
        self.of == identity(service)
    }

    /// A run at its beginning, or where the tasks show that an earlier leader left it.
    pub(super) fn resumed(
        service: &Service,
        mode: Mode,
        outdated: &[&SlotKey],
        config: &Config,
        pass: &Pass<'_>,
    ) -> Self {
        let of = identity(service);
        let mut run = Self {
            of,
            total: outdated.len(),
            attempts: BTreeMap::new(),
            failed: BTreeSet::new(),
            outdated: BTreeSet::new(),
            waiting: BTreeSet::new(),
            at_work: BTreeSet::new(),
            resting: BTreeSet::new(),
            last_done: None,
        };
        let Some(since) = of.1.as_ref().map(unix_nanos) else {
            return run;
        };
        let created = |task: &Task| task.meta.as_ref()?.created_at.as_ref().map(unix_nanos);
        for (key, tasks) in slot::slots(pass.tx, &service.id, mode) {
            let first = tasks.iter().find(|task| {
                task.spec_version == service.spec_version
                    && created(task).is_some_and(|created| created >= since)
            });
            if let Some(first) = first {
                run.resume(&key, first, config, pass.now);
            }
        }
        // What was rolled over already was outdated when it began.
        let rolled = run.attempts.keys();
        let all: BTreeSet<&SlotKey> = outdated.iter().copied().chain(rolled).collect();
        run.total = all.len();
        run
    }

    /// Takes over what an earlier leader knew of a slot, as far as stored times tell.
    fn resume(&mut self, key: &SlotKey, first: &Task, config: &Config, now: Now) {
        if failed_early(first, config.monitor) {
            self.failed.insert(first.id.clone());
        }
        self.attempt(key, first.id.clone());
        let ran = first.observed_state() == TaskState::Running;
        if !ran && !slot::ended_by_itself(first) {
            return;
        }
        let reached = status_time(first).map(|at| now.since(at));
        let ago = now.monotonic.saturating_sub(reached.unwrap_or_default());
        self.finish(key, ago);
        if let Some(attempt) = self.attempts.get_mut(key) {
            attempt.running = ran.then_some(ago);
            attempt.judged = !ran || reached.is_some_and(|reached| reached > config.monitor);
        }
    }

    fn attempt(&mut self, key: &SlotKey, task: String) {
        let attempt = Attempt {
            task,
            done: false,
            running: None,
            judged: false,
        };
        self.attempts.insert(key.clone(), attempt);
        self.at_work.insert(key.clone());
    }

    /// The slot has its new task, or will have none.
    fn finish(&mut self, key: &SlotKey, at: Monotonic) {
        if let Some(attempt) = self.attempts.get_mut(key) {
            attempt.done = true;
        }
        self.at_work.remove(key);
        self.resting.insert((at, key.clone()));
        self.last_done = self.last_done.max(Some(at));
    }

    /// Notes what became of the tasks that this update created in these slots.
    pub(super) fn look(
        &mut self,
        service: &Service,
        seen: &Seen,
        outdated: usize,
        pass: &Pass<'_>,
        config: &Config,
    ) {
        self.total = self.total.max(outdated);
        if seen.all {
            let keys: Vec<SlotKey> = self.attempts.keys().cloned().collect();
            for key in keys {
                self.look_at(service, &key, pass, config);
            }
        } else {
            for (key, _) in &seen.slots {
                self.look_at(service, key, pass, config);
            }
        }
    }

    fn look_at(&mut self, service: &Service, key: &SlotKey, pass: &Pass<'_>, config: &Config) {
        let now = pass.now.monotonic;
        let Some(attempt) = self.attempts.get(key) else {
            return;
        };
        if attempt.is_lost(pass) {
            match successor(service, key, pass) {
                // Its node, or its place there, was lost before it ran: the next one counts.
                Some(next) => self.attempt(key, next),
                None if attempt.is_beyond_reach(pass) => self.finish(key, now),
                None => {}
            }
        }
        let Some(attempt) = self.attempts.get_mut(key) else {
            return;
        };
        let Some(task) = pass.tx.task(&attempt.task) else {
            return;
        };
        let state = task.observed_state();
        if state == TaskState::Running {
            attempt.running.get_or_insert(now);
        }
        // Those that were told to stop did not fail.
        let failed = slot::ended_by_itself(task) || (state.is_terminal() && task.wants_to_run());
        let early = attempt
            .running
            .is_none_or(|since| now <= since + config.monitor);
        if failed && early && !attempt.judged {
            self.failed.insert(task.id.clone());
        }
        if !attempt.done && state >= TaskState::Running {
            self.finish(key, now);
        }
    }

    #[allow(clippy::cast_precision_loss)] // The ratio is a float for users, too.
    pub(super) fn tripped(&self, config: &Config) -> bool {
        config.on_failure != FailureAction::Continue
            && !self.failed.is_empty()
            && self.failed.len() as f32 / self.total.max(1) as f32 > config.max_failure_ratio
    }

    /// One of the tasks that failed.
    pub(super) fn first_failed(&self) -> &str {
        self.failed.first().map_or("", String::as_str)
    }

    /// Notes which of the slots seen are outdated, and which of those wait for their turn.
    pub(super) fn sort_out(&mut self, service: &Service, seen: &Seen, pass: &Pass<'_>) {
        if seen.all {
            self.outdated.clear();
            self.waiting.clear();
        }
        for (key, tasks) in &seen.slots {
            self.outdated.remove(key);
            self.waiting.remove(key);
            if !is_outdated(service, tasks, pass) {
                continue;
            }
            let has_new = tasks
                .iter()
                .any(|task| slot::is_live(task) && !is_task_outdated(service, task, pass));
            // A slot whose try failed, and is not restarted, keeps its old task.
            let gave_up = !has_new && self.attempts.get(key).is_some_and(|attempt| attempt.done);
            if gave_up {
                continue;
            }
            self.outdated.insert(key.clone());
            if !has_new {
                self.waiting.insert(key.clone());
            }
        }
    }

    /// Stops what is not needed any more in slots that have their new task.
    pub(super) fn tidy(
        &mut self,
        service: &Service,
        seen: &Seen,
        pass: &mut Pass<'_>,
        config: &Config,
    ) -> Result<(), TxError> {
        for (key, tasks) in &seen.slots {
            if !self.outdated.contains(key) || self.waiting.contains(key) {
                continue;
            }
            if pass.is_full_for_tasks() {
                break;
            }
            let (clean, old): (Tasks, Tasks) = tasks
                .iter()
                .filter(|task| slot::is_live(task))
                .cloned()
                .partition(|task| !is_task_outdated(service, task, pass));
            let Some(new) = newest_of(&clean) else {
                continue;
            };
            if !self.attempts.contains_key(key) {
                self.attempt(key, new.id.clone());
            }
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
        }
        Ok(())
    }

    /// Begins with as many of the slots that wait as the parallelism has room for. Returns the new
    /// tasks that wait to start.
    pub(super) fn roll(
        &mut self,
        service: &Service,
        mode: Mode,
        pass: &mut Pass<'_>,
        config: &Config,
    ) -> Result<Vec<(String, Start)>, TxError> {
        while let Some((done, _)) = self.resting.first()
            && *done + config.delay <= pass.now.monotonic
        {
            self.resting.pop_first();
        }
        let mut started = Vec::new();
        while self.at_work.len() + self.resting.len() < config.parallelism
            && !(self.waiting.is_empty() || pass.is_full_for_tasks())
            && let Some(key) = self.waiting.pop_first()
        {
            let tasks = slot::tasks_at(pass.tx, &service.id, &key);
            let tasks = slot::updatable(&tasks, service, mode);
            if !is_outdated(service, &tasks, pass) {
                self.outdated.remove(&key);
                continue;
            }
            started.extend(self.roll_over(service, mode, &key, &tasks, pass, config)?);
        }
        Ok(started)
    }

    fn roll_over(
        &mut self,
        service: &Service,
        mode: Mode,
        key: &SlotKey,
        tasks: &Tasks,
        pass: &mut Pass<'_>,
        config: &Config,
    ) -> Result<Option<(String, Start)>, TxError> {
        let old: Tasks = tasks
            .iter()
            .filter(|task| slot::is_live(task))
            .cloned()
            .collect();
        if config.order == UpdateOrder::StartFirst && !old.is_empty() {
            let task = service::new_task(service, key, TaskState::Running, pass.tx, pass.now);
            self.attempt(key, pass.tx.create_task(task)?.id.clone());
            return Ok(None);
        }
        for task in &old {
            restart::stop(pass, &task.id)?;
        }
        let start = Start::after(Duration::ZERO, pass.now);
        let (id, waits) = restart::replace(pass, service, key, mode, start)?;
        self.attempt(key, id.clone());
        Ok(waits.map(|start| (id, start)))
    }

    /// Whether all that was to be done is.
    pub(super) fn is_done(&self) -> bool {
        self.outdated.is_empty() && self.at_work.is_empty()
    }

    /// When time alone will bring the update on: a delay is over, or the watch after the end.
    pub(super) fn next_wake(&self, config: &Config, now: Now) -> Option<Monotonic> {
        if !self.outdated.is_empty() {
            return self.resting.first().map(|(done, _)| *done + config.delay);
        }
        let watch = if config.delay >= config.monitor {
            config.delay + Duration::from_secs(1)
        } else {
            config.monitor
        };
        self.last_done
            .map(|last| last + watch)
            .filter(|at| *at > now.monotonic)
    }
}

impl Attempt {
    /// Whether the task was told to stop, or was deleted, before it had run.
    fn is_lost(&self, pass: &Pass<'_>) -> bool {
        let task = pass.tx.task(&self.task);
        !self.done && task.is_none_or(|task| !slot::is_live(task) && !slot::ended_by_itself(task))
    }

    /// Whether nothing more will be heard of it, or not for long.
    fn is_beyond_reach(&self, pass: &Pass<'_>) -> bool {
        let Some(task) = pass.tx.task(&self.task) else {
            return true;
        };
        let node = pass.tx.node(&task.node_id).map(Arc::as_ref);
        slot::is_over(task) || node.is_none_or(service::is_down)
    }
}

/// What the restart supervisor put in place of a slot's task.
fn successor(service: &Service, key: &SlotKey, pass: &Pass<'_>) -> Option<String> {
    let mut tasks = slot::tasks_at(pass.tx, &service.id, key);
    tasks.retain(|task| slot::is_live(task) && !is_task_outdated(service, task, pass));
    newest_of(&tasks).map(|task| task.id.clone())
}

/// When the task reached the state that it is in, by the clock of the managers.
fn status_time(task: &Task) -> Option<&prost_types::Timestamp> {
    let status = task.status.as_ref()?;
    status.applied_at.as_ref().or(status.timestamp.as_ref())
}

/// Whether a task ended that soon. How long it ran is not stored: one that took longer from its
/// creation on is given the benefit of the doubt.
fn failed_early(task: &Task, monitor: Duration) -> bool {
    if task.observed_state() == TaskState::Rejected {
        return true;
    }
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    let lasted = status_time(task).zip(created).map(|(ended, created)| {
        let (ended, created) = (system_time(ended), system_time(created));
        ended.duration_since(created).unwrap_or_default()
    });
    slot::ended_by_itself(task) && lasted.is_none_or(|lasted| lasted <= monitor)
}

fn newest_of(tasks: &Tasks) -> Option<&Arc<Task>> {
    // One that runs is kept over one that only is newer.
    let running = tasks
        .iter()
        .rev()
        .find(|task| task.observed_state() == TaskState::Running);
    running.or(tasks.last())
}
