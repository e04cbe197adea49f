//! The scheduler: gives each pending task a node.
//!
//! Tasks of one service and spec version are placed as a group, see [`place`]. What it knows of
//! nodes ([`nodes`]) follows events, so that a decision never reads all tasks.

mod blocked;
pub mod constraint;
mod eligible;
pub mod filter;
pub mod generic;
mod hash;
pub mod nodes;
pub mod place;
pub mod strategy;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use prost::Message;
use rand::SeedableRng;
use rand::rngs::StdRng;
use skep_objects::Text;
use skep_objects::swarmkit::{
    Service, Task, TaskSpec, TaskState, placement_preference::Preference,
};
use skep_store::{Event, Object, TxError, View};

use self::blocked::{Blocked, Need};
pub use self::eligible::Eligibility;
use self::filter::{Refusals, Requirements};
use self::nodes::Cluster;
use self::place::{Group, Placed, Placement};
use self::strategy::Strategy;
use crate::aside;
use crate::clock::Now;
use crate::pass::{Pass, Stage};
use crate::transitions::{self, Owner};

/// Service and spec version; a task without a service is a group of its own.
type GroupKey = (Text, u64);

/// The scheduler's stage.
#[derive(Debug)]
pub struct Scheduler {
    cluster: Cluster,
    /// Tasks without a node, by group, in the order of slot and id.
    waiting: BTreeMap<GroupKey, BTreeSet<(u64, String)>>,
    /// Groups to try. Every waiting group is here or in `blocked`.
    ready: BTreeSet<GroupKey>,
    /// Groups for which there was no room.
    blocked: Blocked,
    /// Why all waiting tasks of a group have been told that they wait.
    told: HashMap<GroupKey, String>,
    /// Tasks whose node was chosen when they were created.
    preassigned: BTreeSet<String>,
    /// Those of them that their node could not take, by node.
    blocked_preassigned: BTreeMap<String, BTreeSet<String>>,
    eligibility: Eligibility,
    swarm_labels: BTreeMap<String, String>,
    rng: StdRng,
}

impl Scheduler {
    /// A scheduler that knows nothing yet; `seed` is for the random strategy.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            cluster: Cluster::default(),
            waiting: BTreeMap::new(),
            ready: BTreeSet::new(),
            blocked: Blocked::default(),
            told: HashMap::new(),
            preassigned: BTreeSet::new(),
            blocked_preassigned: BTreeMap::new(),
            eligibility: Eligibility::default(),
            swarm_labels: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn take_task(&mut self, task: &Task) {
        self.cluster.apply_task(task);
        self.use_gains();
        let key = group_key(task);
        let schedulable = is_schedulable(task);
        if schedulable && task.node_id.is_empty() {
            let slot = (task.slot, task.id.clone());
            if self.waiting.entry(key.clone()).or_default().insert(slot) {
                self.blocked.remove(&key);
                self.told.remove(&key);
                self.ready.insert(key);
            }
        } else if schedulable {
            let blocked = self.blocked_preassigned.get(task.node_id.as_str());
            if !blocked.is_some_and(|tasks| tasks.contains(&task.id)) {
                self.preassigned.insert(task.id.clone());
            }
        } else {
            self.forget(&key, task);
        }
    }

    fn forget(&mut self, key: &GroupKey, task: &Task) {
        self.preassigned.remove(&task.id);
        if let Some(tasks) = self.blocked_preassigned.get_mut(task.node_id.as_str()) {
            tasks.remove(&task.id);
            if tasks.is_empty() {
                self.blocked_preassigned.remove(task.node_id.as_str());
            }
        }
        self.no_longer_waits(key, &(task.slot, task.id.clone()));
    }

    fn no_longer_waits(&mut self, key: &GroupKey, task: &(u64, String)) {
        if let Some(tasks) = self.waiting.get_mut(key) {
            tasks.remove(task);
            if tasks.is_empty() {
                self.waiting.remove(key);
                self.ready.remove(key);
                self.blocked.remove(key);
                self.told.remove(key);
            }
        }
    }

    /// Tries again what fits now that nodes have more of something.
    fn use_gains(&mut self) {
        for gain in self.cluster.take_gains() {
            self.ready.extend(self.blocked.wake(&gain));
            if let Some(state) = self.cluster.node(gain.node) {
                let tasks = self.blocked_preassigned.remove(&state.node.id);
                self.preassigned.extend(tasks.into_iter().flatten());
            }
        }
    }

    fn take_node(&mut self, id: &str, view: &View) {
        match view.node(id) {
            Some(node) => {
                let known = self
                    .cluster
                    .node_index(id)
                    .and_then(|at| self.cluster.node(at));
                if known.is_some_and(|known| !differs_for_filters(&known.node, node)) {
                    return;
                }
                let new = known.is_none();
                if !self.cluster.refresh_node(node) {
                    self.cluster.set_node(Arc::clone(node));
                }
                if new {
                    for task in view.tasks_by_node(id) {
                        self.cluster.apply_task(task);
                    }
                }
            }
            None => self.cluster.remove_node(id),
        }
        self.use_gains();
        self.ready.extend(self.blocked.wake_all());
        let here = self.blocked_preassigned.remove(id);
        self.preassigned.extend(here.into_iter().flatten());
    }

    /// Decides on the tasks of one group: a node for each, until one has none.
    fn place_group(
        &mut self,
        task: &Task,
        tasks: &[String],
        service: Option<&Service>,
        now: Now,
    ) -> (Vec<Placed>, Option<Refused>) {
        let requirements = requirements(task);
        let default = TaskSpec::default();
        let spec = task.spec.as_deref().unwrap_or(&default);
        let labels = service.and_then(|service| service.spec.as_ref()?.annotations.as_ref());
        let strategy = Strategy::choose(
            &labels
                .map(|annotations| annotations.labels.clone())
                .unwrap_or_default(),
            Some(&self.swarm_labels),
        );
        let group = Group {
            service: self.cluster.service_index(&task.service_id),
            spec_version: group_key(task).1,
            demand: Arc::new(requirements.demand.clone()),
            requirements,
            preferences: preferences(spec),
            strategy,
        };
        let eligible = self.eligibility.of(&group.requirements.kind, &self.cluster);
        let mut placement = Placement::new(
            &mut self.cluster,
            &group,
            eligible,
            tasks.len(),
            now.monotonic,
        );
        let mut placed = Vec::with_capacity(tasks.len());
        for task in tasks {
            match placement.place(task, &mut self.rng) {
                Some(choice) => placed.push(choice),
                None => {
                    let refused = Refused {
                        why: placement.refusals(),
                        needs: blocked::needs(&group.requirements, group.service),
                    };
                    return (placed, Some(refused));
                }
            }
        }
        (placed, None)
    }

    /// How many tasks of a group are placed in one go: no more than the transaction takes.
    fn batch(&self, key: &GroupKey, pass: &mut Pass<'_>) -> usize {
        let waiting = self.waiting.get(key);
        let first = waiting.and_then(|tasks| pass.tx.task(&tasks.first()?.1));
        let Some(bytes) = first.map(|task| task.encoded_len()) else {
            return BATCH;
        };
        pass.room(waiting.map_or(0, BTreeSet::len).min(BATCH), bytes)
    }

    fn plan_group(&mut self, key: &GroupKey, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let mut waiting = Vec::new();
        let mut gone = Vec::new();
        let all = self.waiting.get(key).into_iter().flatten();
        for (slot, id) in all.take(self.batch(key, pass)) {
            // The transaction may be ahead of the events that were seen.
            match pass.tx.task(id) {
                Some(task) if is_schedulable(task) && task.node_id.is_empty() => {
                    waiting.push(id.clone());
                }
                _ => gone.push((*slot, id.clone())),
            }
        }
        for task in &gone {
            self.no_longer_waits(key, task);
        }
        let Some(first) = waiting.first().and_then(|id| pass.tx.task(id)).cloned() else {
            return Ok(());
        };
        let service = pass.tx.service(&first.service_id).cloned();
        let (placed, refused) = self.place_group(&first, &waiting, service.as_deref(), pass.now);
        for (id, (node, generic)) in waiting.iter().zip(&placed) {
            let Some(node_id) = self
                .cluster
                .node(*node)
                .map(|state| Text::from(&state.node.id))
            else {
                continue;
            };
            let now = pass.now;
            let task = pass.tx.edit_task(id, |task| {
                const MESSAGE: &str = "scheduler assigned task to node";
                if transitions::advance(task, Owner::Scheduler, TaskState::Assigned, MESSAGE, now) {
                    task.node_id = node_id;
                    task.assigned_generic_resources.clone_from(generic);
                }
            })?;
            self.forget(key, &task);
        }
        if let Some(refused) = refused {
            self.explain_group(key, refused, pass)?;
        }
        Ok(())
    }

    /// Tells the tasks of a group why they wait; when all know, the group is blocked.
    fn explain_group(
        &mut self,
        key: &GroupKey,
        refused: Refused,
        pass: &mut Pass<'_>,
    ) -> Result<(), TxError> {
        let now = pass.now;
        let text = &refused.why.no_suitable_node();
        let known = self.told.get(key).is_some_and(|told| told == text);
        let waiting = self.waiting.get(key).into_iter().flatten();
        for (_, id) in waiting.filter(|_| !known) {
            if pass.is_full() {
                return Ok(());
            }
            if pass.tx.task(id).is_some() {
                pass.tx
                    .edit_task(id, |task| transitions::explain(task, text, now))?;
            }
        }
        self.told.insert(key.clone(), text.to_owned());
        self.blocked.insert(key.clone(), refused.needs);
        Ok(())
    }

    fn plan_preassigned(&mut self, id: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let Some(task) = pass
            .tx
            .task(id)
            .filter(|task| is_schedulable(task))
            .cloned()
        else {
            return Ok(());
        };
        let Some(at) = self.cluster.node_index(&task.node_id) else {
            return Ok(());
        };
        let requirements = requirements(&task);
        let service = self.cluster.service_index(&task.service_id);
        let here = self.cluster.tasks_of(service, at);
        let refusal = self
            .cluster
            .node(at)
            .and_then(|state| requirements.refusal(state, here));
        let now = pass.now;
        if let Some(refusal) = refusal {
            let mut refusals = Refusals::default();
            refusals.add(refusal);
            let blocked = self.blocked_preassigned.entry(task.node_id.to_string());
            blocked.or_default().insert(id.to_owned());
            pass.tx.edit_task(id, |task| {
                transitions::explain(task, &refusals.explain(), now)
            })?;
            return Ok(());
        }
        let generic = self
            .cluster
            .place(id, service, at, &Arc::new(requirements.demand));
        pass.tx.edit_task(id, |task| {
            const MESSAGE: &str = "scheduler confirmed task can run on preassigned node";
            if transitions::advance(task, Owner::Scheduler, TaskState::Assigned, MESSAGE, now) {
                task.assigned_generic_resources = generic;
            }
        })?;
        Ok(())
    }
}

/// Why a task has no node, and what a node would have to have.
struct Refused {
    why: Refusals,
    needs: Vec<(Need, i64)>,
}

/// Tasks of a group that are placed in one go.
const BATCH: usize = 1000;

impl Stage for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn load(&mut self, view: &View, _now: Now) {
        use rand::RngCore;
        *self = Self::new(self.rng.next_u64());
        for node in view.nodes() {
            self.cluster.set_node(Arc::clone(node));
        }
        for task in view.tasks() {
            self.take_task(task);
        }
        // Tasks outlive their services for a while.
        self.cluster
            .retain_services(|id| id.is_empty() || view.service(id).is_some());
        self.swarm_labels = swarm_labels(view);
    }

    fn observe(&mut self, event: &Event, view: &View, now: Now) {
        if let Event::Updated {
            old: Object::Task(old),
            new: Object::Task(new),
        } = event
            && !old.has_stopped()
            && new.slot != 0
            && matches!(
                new.observed_state(),
                TaskState::Failed | TaskState::Rejected
            )
        {
            let version = group_key(new).1;
            self.cluster
                .note_failure(&new.service_id, version, &new.node_id, now.monotonic);
        }
        match event.object() {
            Some(Object::Task(task)) => match view.task(&task.id) {
                Some(task) => self.take_task(task),
                None => {
                    self.forget(&group_key(task), task);
                    self.cluster.release(&task.id);
                    self.use_gains();
                }
            },
            Some(Object::Node(node)) => self.take_node(&node.id, view),
            Some(Object::Service(service)) if view.service(&service.id).is_none() => {
                self.cluster.forget_service(&service.id);
            }
            Some(Object::Cluster(_)) => self.swarm_labels = swarm_labels(view),
            _ => {}
        }
    }

    fn plan(&mut self, pass: &mut Pass<'_>) -> Result<(), TxError> {
        while let Some(id) = self.preassigned.first().cloned() {
            if pass.is_full() {
                return Ok(());
            }
            self.preassigned.remove(&id);
            let task = pass.tx.task(&id);
            if !pass.is_aside(task.map_or(&*id, |task| aside::owner(task))) {
                self.plan_preassigned(&id, pass)?;
            }
        }
        // What a group is not done with is for the next round.
        for key in std::mem::take(&mut self.ready) {
            if !pass.is_aside(&key.0) && !pass.is_full() {
                self.plan_group(&key, pass)?;
            }
            if self.waiting.contains_key(&key) && !self.blocked.contains(&key) {
                self.ready.insert(key);
            }
        }
        Ok(())
    }
}

fn is_schedulable(task: &Task) -> bool {
    task.observed_state() == TaskState::Pending && task.wanted_state() <= TaskState::Complete
}

fn group_key(task: &Task) -> GroupKey {
    match task.spec_version {
        Some(version) if !task.service_id.is_empty() => (task.service_id.clone(), version.index),
        _ => (task.id.as_str().into(), 0),
    }
}

/// What a task asks of a node.
#[must_use]
pub fn requirements(task: &Task) -> Requirements {
    let default = TaskSpec::default();
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    let drivers = task.networks.iter().filter_map(|attachment| {
        Some(
            attachment
                .network
                .as_ref()?
                .driver_state
                .as_ref()?
                .name
                .as_str(),
        )
    });
    Requirements::of(task.spec.as_deref().unwrap_or(&default), ports, drivers)
}

/// What a spec wants its tasks spread over, outermost first.
#[must_use]
pub fn preferences(spec: &TaskSpec) -> Vec<String> {
    let preferences = spec
        .placement
        .iter()
        .flat_map(|placement| &placement.preferences);
    preferences
        .filter_map(|preference| match preference.preference.as_ref()? {
            Preference::Spread(spread) => Some(spread.spread_descriptor.clone()),
        })
        .collect()
}

fn swarm_labels(view: &View) -> BTreeMap<String, String> {
    view.the_cluster()
        .and_then(|cluster| cluster.spec.as_ref()?.annotations.as_ref())
        .map(|annotations| annotations.labels.clone())
        .unwrap_or_default()
}

fn differs_for_filters(
    one: &skep_objects::swarmkit::Node,
    other: &skep_objects::swarmkit::Node,
) -> bool {
    one.spec != other.spec
        || one.description != other.description
        || one.role != other.role
        || one
            .status
            .as_ref()
            .map(|status| (status.state, &status.addr))
            != other
                .status
                .as_ref()
                .map(|status| (status.state, &status.addr))
}
