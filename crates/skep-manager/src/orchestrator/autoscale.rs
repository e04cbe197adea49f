//! Scales replicated services by the load of their tasks, where labels ask for it
//! ([`Autoscale`]). What it does is what a user does: it changes the replicas in the service's spec,
//! and in the one before, so that a rollback changes the program and not the scale.
//!
//! More tasks come as soon as the load asks for them, and then not before those are at work; tasks go
//! when the load of a whole cooldown could have been carried by fewer. Without fresh figures of most
//! tasks nothing changes, but for the limits, which always hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use skep_objects::autoscale::Autoscale;
use skep_objects::skep_v1::TaskUsage;
use skep_objects::swarmkit::{
    Resources, Service, ServiceSpec, Task, TaskState, UpdateStatus, service_spec::Mode as ModeSpec,
    update_status::UpdateState,
};
use skep_store::{Event, Object, TxError, View};

use super::service;
use super::slot;
use crate::clock::{Monotonic, Now};
use crate::pass::{Pass, Stage};
use crate::usage::UsageBook;

/// How often the load is looked at.
pub const PERIOD: Duration = Duration::from_secs(5);
/// New tasks get this long to take their share before more are asked for.
const SETTLE: Duration = Duration::from_secs(15);
/// Tasks are not added or taken away for a load that is off by less, in per cent.
const TOLERANCE: u128 = 10;

/// What is remembered of a service between two looks.
#[derive(Debug, Default)]
struct Run {
    next: Monotonic,
    /// When the scale was changed last, here.
    changed: Option<Monotonic>,
    /// What the load asked for of late, when that was less than there is: each asks for less than
    /// those before it, which alone can be the most of a time that is to come.
    lower: VecDeque<(Monotonic, u64)>,
    /// Since when it has been less.
    lower_since: Option<Monotonic>,
}

impl Run {
    fn forget_lower(&mut self) {
        self.lower.clear();
        self.lower_since = None;
    }

    /// The most that the load has asked for in a cooldown, if it has been less for so long.
    fn most_of(&mut self, cooldown: Duration, wish: u64, now: Monotonic) -> Option<u64> {
        let begun = *self.lower_since.get_or_insert(now);
        while self.lower.back().is_some_and(|(_, known)| *known <= wish) {
            self.lower.pop_back();
        }
        self.lower.push_back((now, wish));
        let since = now.checked_sub(cooldown)?;
        while self.lower.front().is_some_and(|(at, _)| *at < since) {
            self.lower.pop_front();
        }
        let (_, most) = self.lower.front()?;
        (begun <= since).then_some(*most)
    }
}

/// The stage.
#[derive(Debug)]
pub struct Autoscaler {
    usage: UsageBook,
    /// Services with the labels.
    runs: BTreeMap<String, Run>,
    /// Services whose labels came or went, and whose tasks may not know.
    untold: BTreeSet<String>,
}

impl Autoscaler {
    /// An autoscaler that reads this book.
    #[must_use]
    pub fn new(usage: UsageBook) -> Self {
        Self {
            usage,
            runs: BTreeMap::new(),
            untold: BTreeSet::new(),
        }
    }

    fn take(&mut self, service: &Service) {
        if asked(service).is_some() {
            // A user's own change is looked at again at once: the limits hold.
            self.runs.entry(service.id.clone()).or_default().next = Duration::ZERO;
        } else if self.runs.remove(&service.id).is_none() {
            return;
        }
        self.untold.insert(service.id.clone());
    }

    fn tell_untold(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        while let Some(id) = self.untold.pop_first() {
            if let Some(service) = pass.tx.service(&id).cloned()
                && !tell_agents(&service, pass)?
            {
                self.untold.insert(id);
                break;
            }
        }
        Ok(())
    }

    /// The replicas that the service should have now, where that is not what it has.
    fn decide(&mut self, service: &Service, view: &View, now: Now) -> Option<u64> {
        let scale = asked(service)?;
        let run = self.runs.entry(service.id.clone()).or_default();
        run.next = now.monotonic + PERIOD;
        let replicas = replicas(service)?;
        let bounded = replicas.clamp(scale.min, scale.max);
        if bounded != replicas {
            return Some(bounded);
        }
        if is_updating(service) {
            run.forget_lower();
            return None;
        }
        let Some(wish) = wish(&self.usage, &scale, service, view, now) else {
            run.forget_lower();
            return None;
        };
        let wish = wish.clamp(scale.min, scale.max);
        if wish >= replicas {
            run.forget_lower();
            let is_settled = run.changed.is_none_or(|at| at + SETTLE <= now.monotonic);
            return (wish > replicas && is_settled).then_some(wish);
        }
        run.most_of(scale.cooldown, wish, now.monotonic)
    }
}

fn is_asked_for(spec: &ServiceSpec) -> bool {
    let annotations = spec.annotations.as_ref();
    annotations.is_some_and(|annotations| Autoscale::is_asked_for(&annotations.labels))
}

/// What the labels of a replicated service ask for; labels that cannot be read ask for nothing.
fn asked(service: &Service) -> Option<Autoscale> {
    let annotations = service.spec.as_ref()?.annotations.as_ref()?;
    replicas(service)?;
    Autoscale::read(&annotations.labels).ok().flatten()
}

fn replicas(service: &Service) -> Option<u64> {
    match service.spec.as_ref()?.mode.as_ref()? {
        ModeSpec::Replicated(mode) => Some(mode.replicas),
        _ => None,
    }
}

fn is_updating(service: &Service) -> bool {
    let state = service.update_status.as_ref().map(UpdateStatus::state);
    matches!(
        state,
        Some(UpdateState::Updating | UpdateState::RollbackStarted)
    )
}

/// Agents know from a task's copy of its service's labels whether its load is of interest. Labels that
/// come or go later do not replace tasks: the copies are brought up to date. False when some are left.
fn tell_agents(service: &Service, pass: &mut Pass<'_>) -> Result<bool, TxError> {
    let spec = service.spec.as_ref();
    let Some(annotations) = spec.and_then(|spec| spec.annotations.as_ref()) else {
        return Ok(true);
    };
    let is_metered = Autoscale::is_asked_for(&annotations.labels);
    let tasks = pass.tx.tasks_by_service(&service.id);
    let untold: Vec<String> = tasks
        .filter(|task| slot::is_live(task) && thinks_metered(task) != is_metered)
        .map(|task| task.id.clone())
        .collect();
    for id in untold {
        if pass.is_full() {
            return Ok(false);
        }
        pass.tx.edit_task(&id, |task| {
            task.service_annotations = Some(annotations.clone().into());
        })?;
    }
    Ok(true)
}

fn thinks_metered(task: &Task) -> bool {
    let service = task.service_annotations.as_ref();
    service.is_some_and(|known| Autoscale::is_asked_for(&known.labels))
}

/// How many tasks the load of those that run asks for; none when too little is known.
fn wish(
    usage: &UsageBook,
    scale: &Autoscale,
    service: &Service,
    view: &View,
    now: Now,
) -> Option<u64> {
    let running: Vec<Option<TaskUsage>> = view
        .tasks_by_service(&service.id)
        .filter(|task| slot::is_live(task) && task.observed_state() == TaskState::Running)
        .map(|task| (task, usage.of(&task.id, &task.node_id, now.monotonic)))
        // One that has just begun will take its share: until it tells of it, it carries none.
        .filter(|(task, known)| known.is_some() || !has_just_begun(task, now))
        .map(|(_, known)| known)
        .collect();
    let known: Vec<&TaskUsage> = running.iter().flatten().collect();
    if known.is_empty() || known.len() * 2 < running.len() {
        return None;
    }
    let spec = service::task_spec(service);
    let limits = spec.resources.as_ref().and_then(|r| r.limits.as_ref());
    let reserved = spec
        .resources
        .as_ref()
        .and_then(|r| r.reservations.as_ref());
    let amount = |of: fn(&Resources) -> i64| {
        let given = limits.map(of).filter(|amount| *amount > 0);
        let given = given.or_else(|| reserved.map(of).filter(|amount| *amount > 0));
        given.and_then(|amount| u64::try_from(amount).ok())
    };
    let cpu = amount(|resources| resources.nano_cpus).unwrap_or(1_000_000_000);
    let memory = amount(|resources| resources.memory_bytes);
    let targets = [
        scale
            .cpu_percent
            .map(|percent| (sum(&known, |u| u.nano_cpus), part(cpu, percent))),
        scale
            .memory_percent
            .zip(memory)
            .map(|(percent, memory)| (sum(&known, |u| u.memory_bytes), part(memory, percent))),
        scale
            .connections
            .map(|most| (sum(&known, |u| u.connections), u128::from(most))),
    ];
    let running = running.len() as u128;
    let wishes = targets
        .into_iter()
        .flatten()
        .map(|(used, target)| tasks_for(used, target, known.len() as u128, running));
    wishes.max().and_then(|wish| u64::try_from(wish).ok())
}

fn has_just_begun(task: &Task, now: Now) -> bool {
    let began = task.status.as_ref().and_then(|status| status.applied_at);
    began.is_some_and(|at| now.since(&at) < SETTLE)
}

fn set_replicas(spec: Option<&mut ServiceSpec>, wanted: u64) {
    if let Some(ModeSpec::Replicated(mode)) = spec.and_then(|spec| spec.mode.as_mut()) {
        mode.replicas = wanted;
    }
}

fn sum(known: &[&TaskUsage], of: impl Fn(&TaskUsage) -> u64) -> u128 {
    known.iter().map(|usage| u128::from(of(usage))).sum()
}

fn part(whole: u64, percent: u64) -> u128 {
    (u128::from(whole) * u128::from(percent) / 100).max(1)
}

/// Tasks that bring each to its target, if `known` of them use so much together and so many run.
fn tasks_for(used: u128, target: u128, known: u128, running: u128) -> u128 {
    let on_target = target * known;
    if used * 100 <= on_target * (100 + TOLERANCE) && used * 100 >= on_target * (100 - TOLERANCE) {
        return running;
    }
    (used * running).div_ceil(on_target).max(1)
}

impl Stage for Autoscaler {
    fn name(&self) -> &'static str {
        "autoscaler"
    }

    fn load(&mut self, view: &View, _now: Now) {
        self.runs.clear();
        self.untold.clear();
        for service in view.services() {
            self.take(service);
        }
        // Labels may have gone under an earlier leader, which did not get to tell of it.
        let metered = view.tasks().filter(|task| thinks_metered(task));
        self.untold
            .extend(metered.map(|task| task.service_id.to_string()));
    }

    fn observe(&mut self, event: &Event, view: &View, _now: Now) {
        if let Some(Object::Service(service)) = event.object() {
            match view.service(&service.id) {
                Some(service) => self.take(service),
                None => {
                    self.runs.remove(&service.id);
                    self.untold.remove(&service.id);
                }
            }
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        self.tell_untold(pass)?;
        let now = pass.now.monotonic;
        let due = self.runs.iter().filter(|(_, run)| run.next <= now);
        let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        if !due.is_empty() {
            self.usage.forget_old(now);
        }
        for id in due {
            let Some(service) = pass.tx.service(&id).cloned() else {
                self.runs.remove(&id);
                continue;
            };
            let Some(wanted) = self.decide(&service, pass.tx, pass.now) else {
                continue;
            };
            tracing::info!(
                service.id = id,
                from = replicas(&service),
                to = wanted,
                "service is scaled by its load"
            );
            if let Some(run) = self.runs.get_mut(&id) {
                run.changed = Some(now);
                run.forget_lower();
            }
            pass.tx.edit_service(&id, |service| {
                set_replicas(service.spec.as_mut(), wanted);
                // Who rolls back means the program: the load is what it is.
                let previous = service.previous_spec.as_mut();
                set_replicas(previous.filter(|spec| is_asked_for(spec)), wanted);
            })?;
        }
        if let Some(next) = self.runs.values().map(|run| run.next).min() {
            pass.wake_at(next.max(now));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_as_many_as_bring_each_to_its_target() {
        let check = |used, target, known, running, expect| {
            assert_eq!(tasks_for(used, target, known, running), expect);
        };
        check(400, 100, 4, 4, 4);
        check(430, 100, 4, 4, 4);
        check(450, 100, 4, 4, 5);
        check(800, 100, 4, 4, 8);
        check(801, 100, 4, 4, 9);
        check(120, 100, 4, 4, 2);
        check(0, 100, 4, 4, 1);
        // Half of them are known: the others are taken to have as much.
        check(400, 100, 2, 4, 8);
    }
}
