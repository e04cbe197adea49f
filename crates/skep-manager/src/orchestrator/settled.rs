//! Services that are looked at slot by slot.
//!
//! Once all slots of a service were looked at, what happens to a task concerns its own slot, and the
//! update or job that counts it, until the slot is short of a task that the restart supervisor will
//! not replace. So an event costs a look at one slot, whatever the service's size; in doubt all of the
//! service is looked at, which decides alone.

use std::collections::BTreeSet;

use skep_objects::Text;
use skep_objects::swarmkit::{Service, Task, TaskState};
use skep_store::TxError;

use super::service::Mode;
use super::slot::{self, SlotKey, Tasks};
use super::update::{self, Seen};
use super::{Orchestrator, global, jobs};
use crate::pass::Pass;

/// A slot whatever the service's mode is: its number, or 0 and its node.
pub(super) type Place = (u64, Text);

/// What is to be looked at when a time has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// All of the service.
    Whole,
    /// Its update.
    Update,
    /// A slot.
    Slot(Place),
}

/// What happened to a service since it was last reconciled.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// The service itself changed.
    pub(super) changed: bool,
    /// More than single slots are concerned.
    whole: bool,
    slots: BTreeSet<Place>,
}

impl Mark {
    pub(super) fn add_whole(&mut self, changed: bool) {
        self.changed |= changed;
        self.whole = true;
        self.slots.clear();
    }

    pub(super) fn add_slot(&mut self, place: Place) {
        if !self.whole {
            self.slots.insert(place);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        if other.whole {
            self.add_whole(other.changed);
        } else if !self.whole {
            self.slots.extend(other.slots);
        }
    }
}

/// The slot of a task.
pub(super) fn place_of(task: &Task) -> Place {
    let node = if task.slot == 0 {
        task.node_id.clone()
    } else {
        Text::default()
    };
    (task.slot, node)
}

fn key_of((number, node): &Place, mode: Mode) -> SlotKey {
    if mode.is_global() {
        SlotKey::Node(node.clone())
    } else {
        SlotKey::Number(*number)
    }
}

impl Orchestrator {
    /// Notes that all of the service was looked at: from now on its slots will do, unless something is
    /// to be done to others than those that something happens to.
    pub(super) fn settle(&mut self, id: &str) {
        if self.rebalancer.watches(id) || self.marked.contains_key(id) {
            self.settled.remove(id);
        } else {
            self.settled.insert(id.to_owned());
        }
    }

    /// Looks at the marked slots only, where that will do; false when it will not.
    pub(super) fn reconcile_slots(
        &mut self,
        id: &str,
        mark: &Mark,
        pass: &mut Pass<'_>,
    ) -> Result<bool, TxError> {
        if mark.whole || !self.settled.contains(id) {
            return Ok(false);
        }
        let Some(service) = pass.tx.service(id).cloned() else {
            return Ok(false);
        };
        let run = self.updates.get(id);
        if service.pending_delete || run.is_some_and(|run| !run.is_of(&service)) {
            return Ok(false);
        }
        let (mode, is_updating) = (Mode::of(&service), run.is_some());
        let mut slots = Vec::new();
        for place in &mark.slots {
            let key = key_of(place, mode);
            let tasks = slot::tasks_at(pass.tx, id, &key);
            self.replace_stopped(&service, mode, tasks, pass)?;
            let tasks = slot::tasks_at(pass.tx, id, &key);
            self.start_ready(&service, mode, &tasks, pass)?;
            let Some(current) = current(&service, mode, &key, &tasks, pass)? else {
                return Ok(false);
            };
            if !is_updating && update::is_outdated(&service, &current, pass) {
                return Ok(false);
            }
            slots.push((key, current));
        }
        if is_updating {
            let seen = Seen { slots, all: false };
            self.update(&service, mode, &seen, pass)?;
        } else if mode.is_job() {
            return self.bring_on_job(&service, mode, &slots, pass);
        }
        Ok(true)
    }

    /// Brings on a job of which these slots were looked at.
    fn bring_on_job(
        &mut self,
        service: &Service,
        mode: Mode,
        slots: &[(SlotKey, Tasks)],
        pass: &mut Pass<'_>,
    ) -> Result<bool, TxError> {
        let Mode::ReplicatedJob { .. } = mode else {
            return Ok(true);
        };
        let Some(job) = self.jobs.get_mut(&service.id) else {
            return Ok(false);
        };
        for (key, _) in slots {
            let tasks = slot::tasks_at(pass.tx, &service.id, key);
            job.note(service, mode, key, tasks);
        }
        job.fill(service, mode, pass)?;
        Ok(true)
    }
}

/// Adds and removes tasks of a slot, and returns what an update may replace. None where all of the
/// service has to be looked at: the slot is short of a task, and not for good.
fn current(
    service: &Service,
    mode: Mode,
    key: &SlotKey,
    tasks: &Tasks,
    pass: &mut Pass<'_>,
) -> Result<Option<Tasks>, TxError> {
    match mode {
        Mode::Replicated { .. } => {
            let current = slot::updatable(tasks, service, mode);
            let is_there = !current.is_empty() || was_given_up(tasks);
            Ok(is_there.then_some(current))
        }
        Mode::Global => global::reconcile_slot(pass, service, key, tasks).map(Some),
        Mode::ReplicatedJob { .. } => Ok(Some(Tasks::new())),
        Mode::GlobalJob => {
            jobs::reconcile_slot(pass, service, key, tasks)?;
            Ok(Some(Tasks::new()))
        }
    }
}

/// Whether the slot is one of those that went when the service was scaled down.
fn was_given_up(tasks: &Tasks) -> bool {
    tasks
        .last()
        .is_some_and(|newest| newest.wanted_state() == TaskState::Remove)
}
