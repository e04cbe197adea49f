//! Services that are settled: as many slots as there are to be, none outdated, none on the move.
//!
//! What happens to a task of such a service concerns its own slot, until the slot is short of a task
//! that the restart supervisor will not replace. So an event costs a look at one slot, whatever the
//! service's size; in doubt all of the service is looked at, which decides alone.

use std::collections::BTreeSet;

use skep_objects::Text;
use skep_objects::swarmkit::{Task, TaskState};
use skep_store::{TxError, View};

use super::service::Mode;
use super::slot::{self, Tasks};
use super::{Orchestrator, update};
use crate::pass::Pass;

/// A slot whatever the service's mode is: its number, or 0 and its node.
pub(super) type Place = (u64, Text);

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

fn tasks_at(view: &View, service: &str, (number, node): &Place, mode: Mode) -> Tasks {
    if mode.is_global() {
        slot::on_node(view, service, node)
    } else {
        slot::by_age(view.tasks_by_slot(service, *number))
    }
}

impl Orchestrator {
    /// Notes that all of the service was looked at, and whether something is still to come of that.
    pub(super) fn settle(&mut self, id: &str, mode: Mode) {
        let is_settled = !mode.is_job()
            && !self.updates.contains_key(id)
            && !self.rebalancer.watches(id)
            && !self.marked.contains_key(id);
        if is_settled {
            self.settled.insert(id.to_owned());
        } else {
            self.settled.remove(id);
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
        let mode = Mode::of(&service);
        if service.pending_delete || mode.is_job() {
            return Ok(false);
        }
        for place in &mark.slots {
            let tasks = tasks_at(pass.tx, id, place, mode);
            self.replace_stopped(&service, mode, tasks, pass)?;
            let tasks = tasks_at(pass.tx, id, place, mode);
            let current = slot::updatable(&tasks, &service, mode);
            if (current.is_empty() && !was_given_up(&tasks))
                || update::is_outdated(&service, &current, pass)
            {
                return Ok(false);
            }
            if let Some(at) = self.start_ready(mode, tasks, pass)? {
                self.timers.insert((at, id.to_owned(), Some(place.clone())));
            }
        }
        Ok(true)
    }
}

/// Whether the slot is one of those that went when the service was scaled down.
fn was_given_up(tasks: &Tasks) -> bool {
    tasks
        .last()
        .is_some_and(|newest| newest.wanted_state() == TaskState::Remove)
}
