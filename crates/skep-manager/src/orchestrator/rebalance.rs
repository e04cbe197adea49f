//! Rebalancing: moves running tasks of replicated services to nodes that have fewer of them.
//!
//! Docker never does so: a node that joins stays empty until something restarts. Here a user asks
//! for it once, which is a [`Resource`](skep_objects::swarmkit::Resource) of kind [`KIND`] named
//! after the service until it is done, or for good, by the label [`LABEL`]`=auto` on the service or
//! the swarm. One task moves at a time, and the new one runs before the old one is stopped.

pub mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::{
    Cluster, Node, Service, Task, TaskState, UpdateStatus, update_status::UpdateState,
};
use skep_objects::{STRATEGY_LABEL, Text};
use skep_store::{StoreObject, TxError, View};

use self::plan::Place;
use super::restart;
use super::service::{self, Mode};
use super::slot::{self, SlotKey, Tasks};
use super::update::is_task_outdated;
use crate::clock::Monotonic;
use crate::pass::Pass;
use crate::scheduler::filter::Requirements;
use crate::scheduler::nodes;
use crate::scheduler::strategy::Strategy;
use crate::scheduler::{preferences, requirements};

/// Kind of the resources that stand for requests.
pub const KIND: &str = "skep.rebalance";
/// Label, on a service or on the swarm, that says `auto` where rebalancing goes by itself.
pub const LABEL: &str = "skep.rebalance";

/// A task that moves must run after this time, or stays where it was.
const MOVE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// A request that waited so long for the service to become calm is dropped.
const REQUEST_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Pause of automatic rebalancing after a move that failed.
const REST: Duration = Duration::from_secs(5 * 60);

/// Who wants the service to be rebalanced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    /// A user, by this resource.
    Request(String),
    /// A label.
    Label,
}

/// Slots in which a task moves, with the time at which the move is given up.
pub type Moving = BTreeMap<SlotKey, Monotonic>;

/// The part of the orchestrator that rebalances.
#[derive(Debug, Default)]
pub struct Rebalancer {
    /// Services of which running tasks are news.
    watched: BTreeSet<String>,
    /// Services with the label whose last move failed, until when they are left alone.
    resting: HashMap<String, Monotonic>,
}

/// Whether the label of the service, else that of the swarm, says so.
#[must_use]
pub fn is_automatic(service: &Service, view: &View) -> bool {
    let of_service = service
        .spec
        .as_ref()
        .and_then(|spec| spec.annotations.as_ref());
    let of_swarm = view
        .the_cluster()
        .and_then(|cluster| cluster.spec.as_ref()?.annotations.as_ref());
    let mut labels = of_service.into_iter().chain(of_swarm);
    labels
        .find_map(|annotations| annotations.labels.get(LABEL))
        .is_some_and(|value| value.eq_ignore_ascii_case("auto"))
}

/// Whether the service's tasks are spread, so that there is something to even out.
#[must_use]
pub fn is_spread(service: &Service, view: &View) -> bool {
    let empty = BTreeMap::new();
    let labels = service
        .spec
        .as_ref()
        .and_then(|spec| spec.annotations.as_ref())
        .map_or(&empty, |annotations| &annotations.labels);
    let of_swarm = view
        .the_cluster()
        .and_then(|cluster| cluster.spec.as_ref()?.annotations.as_ref());
    Strategy::choose(labels, of_swarm.map(|annotations| &annotations.labels)) == Strategy::Spread
}

/// What the labels of a swarm say of rebalancing, and of the strategy that goes with it.
pub fn labels(cluster: &Cluster) -> [Option<&String>; 2] {
    let spec = cluster.spec.as_ref();
    let annotations = spec.and_then(|spec| spec.annotations.as_ref());
    [LABEL, STRATEGY_LABEL].map(|label| annotations?.labels.get(label))
}

/// The request for a service, by its resource's id.
fn request(view: &View, service: &str) -> Option<String> {
    let mut requests = view.resources_by_kind(KIND);
    requests
        .find(|request| request.name() == service)
        .map(|request| request.id.clone())
}

impl Rebalancer {
    /// Whether the service waits for a task of its own to run.
    pub fn watches(&self, service: &str) -> bool {
        self.watched.contains(service)
    }

    /// The service is gone, and so is what was wanted of it.
    pub fn forget(&mut self, service: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        self.watched.remove(service);
        self.resting.remove(service);
        if let Some(id) = request(pass.tx, service) {
            pass.tx.remove_resource(&id)?;
        }
        Ok(())
    }

    /// Ends moves that came to an end, before anybody else looks at the service's tasks. Returns
    /// the slots in which a move goes on.
    pub fn settle(
        &mut self,
        service: &Service,
        mode: Mode,
        pass: &mut Pass<'_>,
    ) -> Result<Moving, TxError> {
        let mut moving = Moving::new();
        let Some(wish) = wish(service, mode, pass.tx) else {
            self.watched.remove(&service.id);
            return Ok(moving);
        };
        self.watched.insert(service.id.clone());
        for (key, tasks) in slot::slots(pass.tx, &service.id, mode) {
            let Some((old, new)) = as_move(service, &tasks, pass) else {
                continue;
            };
            match outcome(service, &old, &new, pass) {
                Outcome::Pending => {
                    let limit = pass.now.monotonic + time_left(&new, MOVE_LIMIT, pass);
                    moving.insert(key, limit);
                }
                Outcome::Done => {
                    tracing::info!(service.id, task.id = new.id, "task was moved");
                    restart::stop(pass, &old.id)?;
                }
                Outcome::Failed => {
                    tracing::info!(service.id, task.id = new.id, "task could not be moved");
                    restart::stop(pass, &new.id)?;
                    self.give_up(service, &wish, pass)?;
                }
            }
        }
        Ok(moving)
    }

    /// Begins the next move where the service is calm. Returns when to look again.
    pub fn advance(
        &mut self,
        service: &Service,
        mode: Mode,
        moving: &Moving,
        pass: &mut Pass<'_>,
    ) -> Result<Option<Monotonic>, TxError> {
        let Some(wish) = wish(service, mode, pass.tx) else {
            return Ok(None);
        };
        let now = pass.now.monotonic;
        if let Some(until) = self.resting.get(&service.id).copied() {
            if wish == Wish::Label && until > now {
                return Ok(Some(until));
            }
            self.resting.remove(&service.id);
        }
        if !moving.is_empty() {
            return Ok(moving.values().min().copied());
        }
        let Some(tasks) = calm_tasks(service, mode, pass) else {
            return drop_old_request(&wish, pass);
        };
        let from = plan_move(service, &tasks, pass.tx);
        let Some(task) = from.and_then(|from| tasks.iter().rev().find(|t| t.node_id == from))
        else {
            if let Wish::Request(id) = &wish {
                tracing::info!(service.id, "service is balanced");
                pass.tx.remove_resource(id)?;
                self.watched.remove(&service.id);
            }
            return Ok(None);
        };
        if !pass.is_full_for_tasks() {
            let key = SlotKey::of(task, mode);
            let new = service::new_task(service, &key, TaskState::Running, pass.tx, pass.now);
            pass.tx.create_task(new)?;
        }
        Ok(Some(now + MOVE_LIMIT))
    }

    fn give_up(
        &mut self,
        service: &Service,
        wish: &Wish,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        match wish {
            Wish::Request(id) => {
                self.watched.remove(&service.id);
                if pass.tx.resource(id).is_some() {
                    pass.tx.remove_resource(id)?;
                }
            }
            Wish::Label => {
                let until = pass.now.monotonic + REST;
                self.resting.insert(service.id.clone(), until);
            }
        }
        Ok(())
    }
}

fn wish(service: &Service, mode: Mode, view: &View) -> Option<Wish> {
    if !matches!(mode, Mode::Replicated { .. }) {
        return None;
    }
    let asked = request(view, &service.id).map(Wish::Request);
    asked.or_else(|| {
        (is_automatic(service, view) && is_spread(service, view)).then_some(Wish::Label)
    })
}

/// A request for a service that does not become calm is not kept for ever.
fn drop_old_request(wish: &Wish, pass: &mut Pass<'_>) -> Result<Option<Monotonic>, TxError> {
    let Wish::Request(id) = wish else {
        return Ok(None);
    };
    let created = pass
        .tx
        .resource(id)
        .and_then(|request| request.meta.as_ref()?.created_at);
    let age = created.map_or(Duration::ZERO, |created| pass.now.since(&created));
    if age < REQUEST_LIMIT {
        return Ok(Some(pass.now.monotonic + (REQUEST_LIMIT - age)));
    }
    pass.tx.remove_resource(id)?;
    Ok(None)
}

/// The two live tasks of a slot from which a task moves, old and new: both are of the spec of now.
fn as_move(service: &Service, tasks: &Tasks, pass: &Pass<'_>) -> Option<(Arc<Task>, Arc<Task>)> {
    let mut live = tasks.iter().filter(|task| slot::is_live(task));
    let (old, new, none) = (live.next()?, live.next()?, live.next());
    let is_move = none.is_none()
        && !is_task_outdated(service, old, pass)
        && !is_task_outdated(service, new, pass);
    is_move.then(|| (Arc::clone(old), Arc::clone(new)))
}

enum Outcome {
    Pending,
    /// The new task takes over.
    Done,
    /// The old task stays.
    Failed,
}

fn outcome(service: &Service, old: &Task, new: &Task, pass: &Pass<'_>) -> Outcome {
    let is_lost = |task: &Task| {
        let node = pass.tx.node(&task.node_id).map(Arc::as_ref);
        task.has_stopped() || (!task.node_id.is_empty() && service::is_invalid(node))
    };
    if is_lost(old) {
        return Outcome::Done;
    }
    if is_lost(new) || time_left(new, MOVE_LIMIT, pass).is_zero() {
        return Outcome::Failed;
    }
    if !new.node_id.is_empty() && !is_better(service, old, new, pass.tx) {
        return Outcome::Failed;
    }
    if new.observed_state() == TaskState::Running {
        return Outcome::Done;
    }
    Outcome::Pending
}

fn time_left(task: &Task, limit: Duration, pass: &Pass<'_>) -> Duration {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    let age = created.map_or(Duration::ZERO, |created| pass.now.since(created));
    limit.saturating_sub(age)
}

/// Whether the scheduler found a better node; it knows things that the plan does not.
fn is_better(service: &Service, old: &Task, new: &Task, view: &View) -> bool {
    let spec = service::task_spec(service);
    let counts = counts(view.tasks_by_service(&service.id));
    let nodes: Vec<&Arc<Node>> = counts.keys().filter_map(|id| view.node(id)).collect();
    let places: Vec<Place<'_>> = nodes
        .iter()
        .map(|node| Place {
            node,
            tasks: counts.get(node.id.as_str()).copied().unwrap_or(0),
            is_open: true,
        })
        .collect();
    plan::evens_out(&places, &preferences(&spec), &old.node_id, &new.node_id)
}

/// The tasks of a service that wants nothing else: all slots run, as specified, in the order of
/// their numbers.
fn calm_tasks(service: &Service, mode: Mode, pass: &Pass<'_>) -> Option<Tasks> {
    let state = service.update_status.as_ref().map(UpdateStatus::state);
    if matches!(
        state,
        Some(UpdateState::Updating | UpdateState::RollbackStarted)
    ) {
        return None;
    }
    let Mode::Replicated { replicas } = mode else {
        return None;
    };
    let mut live: Tasks = pass
        .tx
        .tasks_by_service(&service.id)
        .filter(|task| slot::is_live(task))
        .cloned()
        .collect();
    let calm = u64::try_from(live.len()).ok()? == replicas
        && live.iter().all(|task| {
            task.observed_state() == TaskState::Running && !is_task_outdated(service, task, pass)
        });
    live.sort_by_key(|task| task.slot);
    calm.then_some(live)
}

/// The node that a task should leave.
fn plan_move(service: &Service, tasks: &Tasks, view: &View) -> Option<String> {
    let requirements = requirements(tasks.first()?);
    let counts = counts(tasks.iter());
    let places: Vec<Place<'_>> = view
        .nodes()
        .map(|node| Place {
            node,
            tasks: counts.get(node.id.as_str()).copied().unwrap_or(0),
            is_open: requirements.kind.accepts(node),
        })
        .filter(|place| place.is_open || place.tasks > 0)
        .collect();
    let spec = service::task_spec(service);
    let found = plan::next_move(&places, &preferences(&spec), &mut |node| {
        has_room(node, &counts, &requirements, view)
    });
    found.map(|(from, _)| from.to_owned())
}

fn counts<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> BTreeMap<Text, u32> {
    let mut counts = BTreeMap::new();
    for task in tasks.filter(|task| slot::is_live(task) && !task.node_id.is_empty()) {
        *counts.entry(task.node_id.clone()).or_default() += 1;
    }
    counts
}

/// Whether one more task fits on the node beside all that is there.
fn has_room(
    node: &Node,
    counts: &BTreeMap<Text, u32>,
    requirements: &Requirements,
    view: &View,
) -> bool {
    let Some(node) = view.node(&node.id) else {
        return false;
    };
    let mut cluster = nodes::Cluster::default();
    let at = cluster.set_node(Arc::clone(node));
    for task in view.tasks_by_node(&node.id) {
        cluster.apply_task(task);
    }
    let here = counts.get(node.id.as_str()).copied().unwrap_or(0);
    cluster
        .node(at)
        .is_some_and(|state| requirements.refusal(state, here).is_none())
}
