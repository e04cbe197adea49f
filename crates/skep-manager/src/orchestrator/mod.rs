//! The orchestrator: turns services into tasks and keeps them so.
//!
//! Whatever happens to a service, its tasks or their nodes marks the service; a marked service is
//! reconciled once a round, however much happened to it: tasks that stopped are replaced
//! ([`restart`]), slots are added and removed ([`replicated`], [`global`], [`jobs`]), outdated ones
//! are rolled over ([`update`]), and those that crowd a node move to others where that is wanted
//! ([`rebalance`]). Once all of a service was looked at, only the slots that something happens to are
//! ([`settled`]).

pub mod autoscale;
mod enforcer;
mod global;
mod jobs;
mod node_watch;
mod reaper;
pub mod rebalance;
mod replicated;
pub mod restart;
pub mod service;
mod settled;
pub mod slot;
mod update;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use skep_objects::Text;
use skep_objects::swarmkit::{Cluster, Node, Service, Task, TaskState};
use skep_store::{Event, Object, StoreObject, TxError, View};

pub use self::enforcer::ConstraintEnforcer;
pub use self::node_watch::NodeWatch;
pub use self::reaper::TaskReaper;
use self::rebalance::Rebalancer;
use self::restart::Start;
use self::service::Mode;
use self::settled::{Due, Mark, Place};
use self::slot::Tasks;
use self::update::Seen;
use crate::clock::{Monotonic, Now};
use crate::pass::{Pass, Stage};

/// The orchestrator's stage.
#[derive(Debug, Default)]
pub struct Orchestrator {
    /// Services to reconcile, and why.
    marked: BTreeMap<String, Mark>,
    /// When to look again at a service, and at what of it.
    timers: BTreeSet<(Monotonic, String, Due)>,
    /// Services of which all slots were looked at.
    settled: BTreeSet<String>,
    /// How often all tasks of a service were looked at.
    walks: u64,
    /// When replacements may start.
    starts: HashMap<String, Start>,
    /// Rolling updates that are watched.
    updates: HashMap<String, update::Run>,
    /// How far replicated jobs are.
    jobs: HashMap<String, jobs::Run>,
    rebalancer: Rebalancer,
}

impl Orchestrator {
    fn mark(&mut self, service: &str, changed: bool) {
        if !service.is_empty() {
            self.settled.remove(service);
            self.marked
                .entry(service.to_owned())
                .or_default()
                .add_whole(changed);
        }
    }

    fn mark_slot(&mut self, service: &str, place: Place) {
        if !service.is_empty() {
            let mark = self.marked.entry(service.to_owned()).or_default();
            mark.add_slot(place);
        }
    }

    fn observe_task(&mut self, event: &Event, task: &Task, view: &View) {
        let is_updating = self.updates.contains_key(task.service_id.as_str());
        let moved = match event {
            Event::Created(_) => {
                is_updating || task.wanted_state() == TaskState::Ready || task.has_stopped()
            }
            Event::Removed(_) => {
                self.starts.remove(&task.id);
                // Those of a service that is to go hold it up.
                let service = view.service(&task.service_id);
                if service.is_none_or(|service| service.pending_delete) {
                    return self.mark(&task.service_id, false);
                }
                // Of a slot that was given up, nothing was to come any more, but for an update.
                is_updating || task.wanted_state() != TaskState::Remove
            }
            Event::Updated {
                old: Object::Task(old),
                ..
            } => {
                let ran = task.observed_state() == TaskState::Running
                    && old.observed_state() != TaskState::Running;
                (task.has_stopped() && !old.has_stopped())
                    || (ran && self.awaits_running(&task.service_id))
                    || task.wanted_state() != old.wanted_state()
            }
            Event::Updated { .. } | Event::Committed(_) => false,
        };
        if moved {
            self.mark_slot(&task.service_id, settled::place_of(task));
        }
    }

    /// Whether a task of the service that runs is news.
    fn awaits_running(&self, service: &str) -> bool {
        self.updates.contains_key(service) || self.rebalancer.watches(service)
    }

    fn observe_node(&mut self, event: &Event, node: &Node, view: &View) {
        if let Event::Updated {
            old: Object::Node(old),
            ..
        } = event
            && !differs_for_services(old, node)
        {
            return;
        }
        for task in view.tasks_by_node(&node.id) {
            self.mark_slot(&task.service_id, settled::place_of(task));
        }
        let id = Text::from(node.id.as_str());
        for service in view.services() {
            if Mode::of(service).is_global() {
                self.mark_slot(&service.id, (0, id.clone()));
            } else if rebalance::is_automatic(service, view) {
                self.mark(&service.id, false);
            }
        }
    }

    /// Labels of the swarm say of all services that have none themselves whether they rebalance.
    fn observe_cluster(&mut self, event: &Event, cluster: &Cluster, view: &View) {
        if let Event::Updated {
            old: Object::Cluster(old),
            ..
        } = event
            && rebalance::labels(old) != rebalance::labels(cluster)
        {
            for service in view.services() {
                self.mark(&service.id, false);
            }
        }
    }

    /// Looks at all that the service has.
    fn reconcile(&mut self, id: &str, changed: bool, pass: &mut Pass<'_>) -> Result<(), TxError> {
        self.walks += 1;
        let service = match pass.tx.service(id).cloned() {
            Some(service) if !service.pending_delete => service,
            going => return self.remove_tasks(id, going.as_deref(), pass),
        };
        let mode = Mode::of(&service);
        let moving = self.rebalancer.settle(&service, mode, pass)?;
        let tasks = pass.tx.tasks_by_service(id).cloned().collect();
        self.replace_stopped(&service, mode, tasks, pass)?;
        match mode {
            Mode::Replicated { replicas } => {
                let mut slots = replicated::reconcile(pass, &service, replicas, changed)?;
                slots.retain(|(key, _)| !moving.contains_key(key));
                let seen = Seen { slots, all: true };
                self.update(&service, mode, &seen, pass)?;
                let again = self.rebalancer.advance(&service, mode, &moving, pass)?;
                let again = again.map(|at| (at, id.to_owned(), Due::Whole));
                self.timers.extend(again);
            }
            Mode::Global => {
                let slots = global::reconcile(pass, &service)?;
                let seen = Seen { slots, all: true };
                self.update(&service, mode, &seen, pass)?;
            }
            Mode::ReplicatedJob { .. } => {
                let run = jobs::reconcile_replicated(pass, &service, mode)?;
                self.jobs.insert(id.to_owned(), run);
            }
            Mode::GlobalJob => jobs::reconcile_global(pass, &service)?,
        }
        let tasks = pass.tx.tasks_by_service(id).cloned().collect();
        self.start_ready(&service, mode, &tasks, pass)?;
        self.settle(id);
        Ok(())
    }

    fn update(
        &mut self,
        service: &Service,
        mode: Mode,
        seen: &Seen,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        let run = self.updates.remove(&service.id);
        let (run, started, wake) = update::advance(pass, service, mode, seen, run)?;
        if let Some(run) = run {
            self.updates.insert(service.id.clone(), run);
        }
        for (task, start) in started {
            let place = pass.tx.task(&task).map(|task| settled::place_of(task));
            let due = place.map(|place| (start.at_last, service.id.clone(), Due::Slot(place)));
            self.timers.extend(due);
            self.starts.insert(task, start);
        }
        let wake = wake.map(|at| (at, service.id.clone(), Due::Update));
        self.timers.extend(wake);
        Ok(())
    }

    /// The service is gone, or is to go: so are its tasks.
    fn remove_tasks(
        &mut self,
        id: &str,
        service: Option<&Service>,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        self.updates.remove(id);
        self.jobs.remove(id);
        self.rebalancer.forget(id, pass)?;
        let tasks: Vec<Arc<Task>> = pass.tx.tasks_by_service(id).cloned().collect();
        if tasks.is_empty() && service.is_some() {
            pass.tx.remove_service(id)?;
            return Ok(());
        }
        for task in &tasks {
            if pass.is_full_for_tasks() {
                self.mark(id, false);
                break;
            }
            self.starts.remove(&task.id);
            restart::want(pass, &task.id, TaskState::Remove)?;
        }
        Ok(())
    }

    /// Hands tasks that stopped, or lost their node, to the restart supervisor.
    fn replace_stopped(
        &mut self,
        service: &Service,
        mode: Mode,
        tasks: Tasks,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        for task in tasks.into_iter().filter(|task| slot::is_live(task)) {
            let node = pass.tx.node(&task.node_id).cloned();
            let node = node.as_deref();
            let lost = !task.node_id.is_empty() && service::is_invalid(node);
            if !task.has_stopped() && !lost {
                continue;
            }
            if task.observed_state() == TaskState::Complete && mode.is_job() {
                continue;
            }
            if pass.is_full_for_tasks() {
                self.mark(&service.id, false);
                break;
            }
            if !lost && self.waits_to_start(&task, pass.now) {
                continue;
            }
            // What an earlier iteration of a job has not done is not wanted any more.
            if mode.is_job() && !jobs::is_current(&task, service) {
                restart::stop(pass, &task.id)?;
                continue;
            }
            // A global task can only be replaced on its own node.
            if mode.is_global() && !global::takes_tasks(node, service) {
                restart::stop(pass, &task.id)?;
                continue;
            }
            let replacement = restart::restart(pass, service, &task, mode)?;
            self.starts.extend(replacement);
            self.starts.remove(&task.id);
        }
        Ok(())
    }

    /// Whether a replacement failed while its delay still runs: it is replaced when that is over.
    fn waits_to_start(&mut self, task: &Task, now: Now) -> bool {
        if task.wanted_state() != TaskState::Ready {
            return false;
        }
        let start = *self
            .starts
            .entry(task.id.clone())
            .or_insert_with(|| Start::resumed(task, now));
        start.not_before > now.monotonic
    }

    /// Starts replacements whose time has come.
    fn start_ready(
        &mut self,
        service: &Service,
        mode: Mode,
        tasks: &Tasks,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        let waits = |task: &&Arc<Task>| task.wanted_state() == TaskState::Ready;
        for task in tasks.iter().filter(waits) {
            let now = pass.now;
            let start = *self
                .starts
                .entry(task.id.clone())
                .or_insert_with(|| Start::resumed(task, now));
            let tasks = slot::slot_of(pass.tx, task, mode);
            let stopped = restart::old_tasks_stopped(&tasks, &task.id, pass.tx);
            let due = if stopped {
                start.not_before
            } else {
                start.at_last
            };
            if due > now.monotonic {
                let slot = Due::Slot(settled::place_of(task));
                self.timers.insert((due, service.id.clone(), slot));
                continue;
            }
            self.starts.remove(&task.id);
            restart::want(pass, &task.id, mode.goal())?;
        }
        Ok(())
    }
}

impl Stage for Orchestrator {
    fn name(&self) -> &'static str {
        "orchestrator"
    }

    fn load(&mut self, view: &View, _now: Now) {
        *self = Self::default();
        let of_services = view.services().map(|service| service.id.as_str());
        // Tasks whose service went away with the last leader have nobody else to end them.
        let of_tasks = view.tasks().map(|task| task.service_id.as_str());
        let ids: BTreeSet<&str> = of_services.chain(of_tasks).collect();
        for id in ids {
            self.mark(id, false);
        }
    }

    fn observe(&mut self, event: &Event, view: &View, _now: Now) {
        match event.object() {
            Some(Object::Service(service)) => {
                let changed = match event {
                    Event::Updated {
                        old: Object::Service(old),
                        ..
                    } => old.spec != service.spec || old.job_status != service.job_status,
                    _ => true,
                };
                self.mark(&service.id, changed);
            }
            Some(Object::Task(task)) => self.observe_task(event, task, view),
            Some(Object::Node(node)) => self.observe_node(event, node, view),
            Some(Object::Cluster(cluster)) => self.observe_cluster(event, cluster, view),
            Some(Object::Resource(asked)) if asked.kind == rebalance::KIND => {
                self.mark(asked.name(), false);
            }
            _ => {}
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        while let Some((at, ..)) = self.timers.first()
            && *at <= pass.now.monotonic
            && let Some((_, service, due)) = self.timers.pop_first()
        {
            match due {
                Due::Whole => self.mark(&service, false),
                Due::Update => drop(self.marked.entry(service).or_default()),
                Due::Slot(place) => self.mark_slot(&service, place),
            }
        }
        // What a service's reconciliation marks again is for the next round of this pass.
        for (id, mark) in std::mem::take(&mut self.marked) {
            if pass.is_aside(&id) {
                continue;
            }
            if pass.is_full_for_tasks() {
                self.marked.entry(id).or_default().add(mark);
                continue;
            }
            if !self.reconcile_slots(&id, &mark, pass)? {
                self.reconcile(&id, mark.changed, pass)?;
            }
            if pass.is_full_for_tasks() {
                self.mark(&id, mark.changed);
            }
        }
        if let Some((at, ..)) = self.timers.first() {
            pass.wake_at(*at);
        }
        Ok(())
    }
}

fn differs_for_services(one: &Node, other: &Node) -> bool {
    one.spec != other.spec
        || one.role != other.role
        || one.description != other.description
        || one
            .status
            .as_ref()
            .map(|status| (status.state, &status.addr))
            != other
                .status
                .as_ref()
                .map(|status| (status.state, &status.addr))
}

#[cfg(test)]
mod tests;
