//! What must hold at every moment, and what must be so in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng;
use skep_manager::aside::Aside;
use skep_manager::orchestrator::service::{self as facts, Mode};
use skep_manager::orchestrator::slot;
use skep_manager::orchestrator::{Orchestrator, rebalance};
use skep_manager::pass::{CAPACITY, Pass, Stage};
use skep_objects::swarmkit::{
    Service, Task, TaskState, generic_resource::Resource as Generic, port_config::PublishMode,
};
use skep_store::{Object, StoreObject, View};

use super::{GPUS, NODES, SSDS, World, is_container};
use crate::sim::image;

impl World {
    pub fn check_always(&mut self) {
        let view = self.sim.view();
        let node = format!("n{}", self.rng.random_range(1..=NODES));
        let anew = self.rng.random_bool(0.1).then_some(node.as_str());
        self.told.check(&view, anew);
        self.check_addresses(&view);
        for task in view.tasks() {
            self.check_place(task, &view);
        }
        for node in view.nodes() {
            self.check_node(&node.id, &view);
        }
    }

    /// At rest, a leader that looks at all there is for the first time finds nothing that this one,
    /// which looked at what changed, has overlooked.
    pub fn check_nothing_overlooked(&self) {
        let now = self.sim.now();
        let rebalances = |service: &str, view: &View| {
            let mut requests = view.resources_by_kind(rebalance::KIND);
            requests.any(|request| request.name() == service)
                || view
                    .service(service)
                    .is_some_and(|service| rebalance::is_automatic(service, view))
        };
        let found: Vec<String> = self.sim.dry_run(|tx| {
            let mut leader = Orchestrator::default();
            leader.load(tx, now);
            leader
                .plan(&mut Pass::new(tx, now, CAPACITY, &Aside::default()))
                .unwrap();
            let changes = tx.changes().iter();
            changes
                .filter(|change| match change.object() {
                    Some(Object::Task(task)) => !rebalances(&task.service_id, tx),
                    _ => false,
                })
                .map(|change| format!("{change:?}"))
                .collect()
        });
        assert!(found.is_empty(), "{found:#?} {:#?}", self.sim.summary());
    }

    fn check_addresses(&self, view: &View) {
        let mut taken = BTreeSet::new();
        let mut take = |network: &str, address: &str| {
            let own = taken.insert((network.to_owned(), address.to_owned()));
            assert!(own, "{address} on {network} is given out twice");
        };
        let of_tasks = view
            .tasks()
            .filter(|task| !task.has_stopped())
            .flat_map(|task| &task.networks);
        let of_nodes = view.nodes().flat_map(|node| &node.attachments);
        for attachment in of_tasks.chain(of_nodes) {
            let network = attachment.network.as_ref().unwrap();
            for address in &attachment.addresses {
                take(&network.id, address);
            }
        }
        for service in view.services() {
            for vip in service
                .endpoint
                .iter()
                .flat_map(|endpoint| &endpoint.virtual_ips)
            {
                take(&vip.network_id, &vip.addr);
            }
        }
    }

    /// A task that was just assigned meets its own constraints there.
    fn check_place(&self, task: &Task, view: &View) {
        let Some(node) = view.node(&task.node_id) else {
            return;
        };
        if task.observed_state() == TaskState::Assigned
            && task.wanted_state() <= TaskState::Complete
            && node.version() < task.version()
        {
            let spec = task.spec.as_ref().unwrap();
            assert!(is_container(spec.runtime.as_ref()));
            assert!(
                facts::meets_constraints(node, spec),
                "{:#?}",
                self.sim.summary()
            );
            let placement = spec.placement.as_ref();
            let platforms = placement.map_or(&[][..], |placement| &placement.platforms);
            assert!(
                platforms.iter().all(|platform| platform.os == "linux"),
                "{:#?}",
                self.sim.summary()
            );
        }
    }

    /// What tasks hold on a node is there, and is held once.
    fn check_node(&self, node: &str, view: &View) {
        let held: Vec<&Arc<Task>> = view
            .tasks_by_node(node)
            .filter(|task| {
                (TaskState::Assigned..=TaskState::Running).contains(&task.observed_state())
            })
            .collect();
        let what = || format!("on {node}: {:#?}", self.sim.summary());
        let (mut gpus, mut ssds) = (BTreeSet::new(), 0);
        let mut ports = BTreeSet::new();
        let mut of_spec: BTreeMap<_, u64> = BTreeMap::new();
        for task in held {
            for resource in &task.assigned_generic_resources {
                match resource.resource.as_ref().unwrap() {
                    Generic::NamedResourceSpec(named) => {
                        assert!(GPUS.contains(&named.value.as_str()), "{}", what());
                        assert!(gpus.insert(named.value.clone()), "gpu twice {}", what());
                    }
                    Generic::DiscreteResourceSpec(count) => ssds += count.value,
                }
            }
            let published = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
            for port in published.filter(|port| port.publish_mode() == PublishMode::Host) {
                let free = ports.insert((port.protocol, port.published_port));
                assert!(free, "port {} twice {}", port.published_port, what());
            }
            let placement = task.spec.as_ref().and_then(|spec| spec.placement.as_ref());
            let most = placement.map_or(0, |placement| placement.max_replicas);
            if most > 0 && slot::is_live(task) {
                let version = task.spec_version.map(|version| version.index);
                let count = of_spec.entry((&task.service_id, version)).or_default();
                *count += 1;
                assert!(*count <= most, "more than {most} {}", what());
            }
        }
        assert!(ssds <= SSDS, "{ssds} ssds {}", what());
    }

    pub fn check_end(&self) {
        let view = self.sim.view();
        for service in view.services() {
            match Mode::of(service) {
                Mode::Replicated { .. } | Mode::Global => self.check_service(service),
                Mode::ReplicatedJob { .. } | Mode::GlobalJob => self.check_job(service),
            }
        }
        for task in view.tasks() {
            let orphan = view.service(&task.service_id).is_none();
            assert!(
                !orphan,
                "a task outlives its service: {:#?}",
                self.sim.summary()
            );
        }
    }

    fn fitting(&self, service: &Service) -> Vec<String> {
        let spec = facts::task_spec(service);
        let view = self.sim.view();
        view.nodes()
            .filter(|node| facts::meets_constraints(node, &spec))
            .map(|node| node.id.clone())
            .collect()
    }

    fn what(&self, service: &Service) -> String {
        format!(
            "{:?} {:?}\n{:#?}",
            facts::spec(service),
            service.update_status,
            self.sim.summary()
        )
    }

    fn check_service(&self, service: &Service) {
        let live = self.sim.live(&service.id);
        let what = || self.what(service);
        let fitting = self.fitting(service);
        let placement = facts::task_spec(service)
            .into_inner()
            .placement
            .unwrap_or_default();
        let mode = Mode::of(service);
        let (slots, places) = match mode {
            Mode::Replicated { replicas } if placement.max_replicas > 0 => {
                let most = u64::try_from(fitting.len()).unwrap() * placement.max_replicas;
                (replicas, replicas.min(most))
            }
            Mode::Replicated { replicas } if fitting.is_empty() => (replicas, 0),
            Mode::Replicated { replicas } => (replicas, replicas),
            _ => (fitting.len() as u64, fitting.len() as u64),
        };
        assert_eq!(live.len() as u64, slots, "{}", what());
        let running: Vec<_> = live
            .iter()
            .filter(|task| task.observed_state() == TaskState::Running)
            .collect();
        assert_eq!(running.len() as u64, places, "{}", what());
        for task in &live {
            let place = &task.node_id;
            assert!(
                place.is_empty() || fitting.iter().any(|id| id == place),
                "{}",
                what()
            );
            assert_eq!(image(task), "nginx:last", "{}", what());
        }
        if let Mode::Replicated { .. } = mode {
            let numbers: BTreeSet<_> = live.iter().map(|task| task.slot).collect();
            assert_eq!(
                numbers.len(),
                live.len(),
                "a slot has two tasks: {}",
                what()
            );
            self.check_balance(service, &fitting);
        }
    }

    /// Services that rebalance by themselves are even, and no request is left open.
    fn check_balance(&self, service: &Service, fitting: &[String]) {
        let view = self.sim.view();
        let open = view
            .resources_by_kind(rebalance::KIND)
            .any(|request| request.name() == service.id);
        let all_run = self.sim.count_running(&service.id) == self.sim.live(&service.id).len();
        assert!(
            !open || !all_run,
            "a request is open: {}",
            self.what(service)
        );
        let placement = facts::task_spec(service)
            .into_inner()
            .placement
            .unwrap_or_default();
        if !rebalance::is_automatic(service, &view)
            || !rebalance::is_spread(service, &view)
            || !all_run
            || !placement.preferences.is_empty()
        {
            return;
        }
        let running = self.sim.running(&service.id);
        let counts = fitting
            .iter()
            .map(|id| running.get(id).copied().unwrap_or(0));
        let (least, most) = (counts.clone().min(), counts.max());
        let uneven = most.unwrap_or(0) - least.unwrap_or(0);
        assert!(uneven < 2, "{running:?} {}", self.what(service));
    }

    fn check_job(&self, service: &Service) {
        let what = || self.what(service);
        let fitting = self.fitting(service);
        let iteration = |of: Option<skep_objects::swarmkit::Version>| of.map_or(0, |v| v.index);
        let status = service.job_status.as_ref();
        let current = iteration(status.and_then(|status| status.job_iteration));
        let mut completed = BTreeSet::new();
        for task in self.sim.tasks(&service.id) {
            let done = task.observed_state() == TaskState::Complete;
            if done && iteration(task.job_iteration) == current {
                let place = match Mode::of(service) {
                    Mode::GlobalJob => task.node_id.to_string(),
                    _ => task.slot.to_string(),
                };
                assert!(completed.insert(place), "completed twice: {}", what());
            }
        }
        let wanted = match Mode::of(service) {
            Mode::ReplicatedJob { .. } if fitting.is_empty() => return,
            Mode::ReplicatedJob { total, .. } => total,
            _ => fitting.len() as u64,
        };
        let max = facts::task_spec(service)
            .placement
            .as_ref()
            .map_or(0, |placement| placement.max_replicas);
        assert!(
            completed.len() as u64 == wanted || max > 0,
            "{} of {wanted} completed: {}",
            completed.len(),
            what()
        );
    }
}
