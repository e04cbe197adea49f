//! Random services, node events and updates: whatever happens, every slot ends as specified, no
//! task's state goes backwards, and no task starts on a node that its constraints forbid.
//!
//! `SKEP_SEED=n` replays one seed, `SKEP_SEEDS=n` runs so many.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use skep_manager::orchestrator::service::{self as facts, Mode};
use skep_objects::swarmkit::{
    EndpointSpec, GlobalService, Network, NetworkAttachmentConfig, NetworkSpec, PortConfig,
    ReplicatedService, RestartPolicy, Service, ServiceSpec, Task, TaskState, UpdateConfig,
    node_spec::Availability, node_status, restart_policy::RestartCondition,
    service_spec::Mode as ModeSpec, update_config::UpdateOrder,
};
use skep_objects::timestamp::duration_message;
use skep_store::StoreObject;

use crate::sim::{Sim, annotations, image, node, service, set_image};

const NODES: usize = 4;

fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    match number("SKEP_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SKEP_SEEDS").unwrap_or(25)).collect(),
    }
}

#[test]
fn every_slot_ends_as_specified() {
    for seed in seeds() {
        let result = std::panic::catch_unwind(|| World::new(seed).run());
        if let Err(panic) = result {
            eprintln!("SKEP_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

struct World {
    sim: Sim,
    rng: StdRng,
    made: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let world = Self {
            sim: Sim::new(NODES),
            rng: StdRng::seed_from_u64(seed),
            made: 0,
        };
        world.sim.write(|tx| {
            tx.create_network(Network {
                id: "back".into(),
                spec: Some(NetworkSpec {
                    annotations: annotations("back"),
                    ..Default::default()
                }),
                ..Default::default()
            })
        });
        world
    }

    fn run(mut self) {
        for _ in 0..60 {
            self.disturb();
            for _ in 0..self.rng.random_range(0..6) {
                self.sim.pass();
                self.sim.agents_step();
                self.check_always();
            }
            let pause = self.rng.random_range(0..8_000);
            self.sim.advance(Duration::from_millis(pause));
            self.check_always();
        }
        self.calm();
        self.check_end();
    }

    fn disturb(&mut self) {
        let node = format!("n{}", self.rng.random_range(1..=NODES));
        let services: Vec<String> = self
            .sim
            .view()
            .services()
            .map(|service| service.id.clone())
            .collect();
        let service = services.choose(&mut self.rng).cloned();
        match (self.rng.random_range(0..14), service) {
            (0..=2, _) | (_, None) => self.create(),
            (3, Some(id)) => self.sim.write(|tx| tx.remove_service(&id).map(drop)),
            (4..=5, Some(id)) => {
                let mut spec = facts::spec(self.sim.view().service(&id).unwrap());
                if let Some(ModeSpec::Replicated(mode)) = &mut spec.mode {
                    mode.replicas = self.rng.random_range(0..9);
                }
                self.sim.update_service(&id, |stored| *stored = spec);
            }
            (6..=7, Some(id)) => {
                let image = self.random_image();
                self.sim.update_service(&id, |spec| set_image(spec, &image));
            }
            (8, Some(id)) => {
                let constraints = self.random_constraints();
                self.sim.update_service(&id, |spec| {
                    let task = spec.task.get_or_insert_default();
                    task.placement.get_or_insert_default().constraints = constraints;
                });
            }
            (9, _) => self.set_label(&node),
            (10, _) if self.has_node(&node) => {
                let all = [
                    Availability::Active,
                    Availability::Pause,
                    Availability::Drain,
                ];
                let availability = *all.choose(&mut self.rng).unwrap();
                self.sim.set_availability(&node, availability);
            }
            (11, _) if self.has_node(&node) => {
                let down = self.rng.random_bool(0.5);
                let state = if down {
                    node_status::State::Down
                } else {
                    node_status::State::Ready
                };
                self.sim.set_node_state(&node, state);
            }
            (12, _) => self.remove_or_add(&node),
            _ => self.sim.change_leader(),
        }
    }

    fn has_node(&self, node: &str) -> bool {
        self.sim.view().node(node).is_some()
    }

    fn remove_or_add(&mut self, id: &str) {
        if self.has_node(id) {
            self.sim.write(|tx| tx.remove_node(id).map(drop));
        } else {
            self.sim.silent.remove(id);
            self.sim.write(|tx| tx.create_node(node(id)).map(drop));
        }
    }

    fn set_label(&mut self, node: &str) {
        if self.has_node(node) {
            let value = *["a", "b"].choose(&mut self.rng).unwrap();
            self.sim.set_label(node, "zone", value);
        }
    }

    fn random_image(&mut self) -> String {
        let images = [
            "nginx",
            "nginx",
            "nginx",
            "fails",
            "completes",
            "missing",
            "hangs",
        ];
        format!(
            "{}:{}",
            images.choose(&mut self.rng).unwrap(),
            self.rng.random_range(0..100)
        )
    }

    fn random_constraints(&mut self) -> Vec<String> {
        let all = [
            "node.labels.zone==a",
            "node.labels.zone!=a",
            "node.hostname!=n1",
        ];
        let count = self.rng.random_range(0..2);
        all.choose_multiple(&mut self.rng, count)
            .map(|text| (*text).to_owned())
            .collect()
    }

    fn create(&mut self) {
        self.made += 1;
        let image = self.random_image();
        let mut service = service(
            &format!("s{}", self.made),
            &image,
            self.rng.random_range(0..7),
        );
        let constraints = self.random_constraints();
        let rng = &mut self.rng;
        let spec = service.spec.as_mut().unwrap();
        let task = spec.task.get_or_insert_default();
        task.placement.get_or_insert_default().constraints = constraints;
        if rng.random_bool(0.3) {
            task.networks = vec![NetworkAttachmentConfig {
                target: "back".into(),
                ..Default::default()
            }];
        }
        if rng.random_bool(0.5) {
            let all = [
                RestartCondition::Any,
                RestartCondition::OnFailure,
                RestartCondition::None,
            ];
            task.restart = Some(RestartPolicy {
                condition: (*all.choose(rng).unwrap()).into(),
                delay: Some(duration_message(Duration::from_millis(
                    rng.random_range(100..3000),
                ))),
                max_attempts: rng.random_range(0..4),
                ..Default::default()
            });
        }
        if rng.random_bool(0.2) {
            let resources = task.resources.get_or_insert_default();
            resources.reservations.get_or_insert_default().nano_cpus = 1_000_000_000;
        }
        if rng.random_bool(0.3) {
            let port = PortConfig {
                target_port: 80,
                ..Default::default()
            };
            spec.endpoint = Some(EndpointSpec {
                ports: vec![port],
                ..Default::default()
            });
        }
        if rng.random_bool(0.5) {
            spec.update = Some(UpdateConfig {
                parallelism: rng.random_range(0..4),
                order: [UpdateOrder::StartFirst, UpdateOrder::StopFirst][rng.random_range(0..2)]
                    .into(),
                failure_action: rng.random_range(0..3),
                max_failure_ratio: [0.0, 0.5][rng.random_range(0..2)],
                ..Default::default()
            });
        }
        if rng.random_bool(0.25) {
            spec.mode = Some(ModeSpec::Global(GlobalService {}));
        }
        self.sim.write(|tx| tx.create_service(service).map(drop));
    }

    /// All nodes come back and all services get a spec that works.
    fn calm(&mut self) {
        for number in 1..=NODES {
            let id = format!("n{number}");
            if !self.has_node(&id) {
                self.remove_or_add(&id);
            }
            self.sim.set_node_state(&id, node_status::State::Ready);
            self.sim.set_availability(&id, Availability::Active);
            self.sim.set_label(&id, "zone", ["a", "b"][number % 2]);
        }
        let ids: Vec<String> = self
            .sim
            .view()
            .services()
            .map(|service| service.id.clone())
            .collect();
        for id in ids {
            self.sim.update_service(&id, |spec| {
                set_image(spec, "nginx:last");
                // Those that may not restart would end with fewer tasks, as specified.
                spec.task.get_or_insert_default().restart = None;
                spec.task.get_or_insert_default().resources = None;
            });
        }
        self.sim.advance(Duration::from_secs(600));
    }

    fn check_always(&self) {
        let view = self.sim.view();
        let mut addresses = BTreeSet::new();
        for task in view.tasks() {
            self.check_place(task);
            if task.has_stopped() {
                continue;
            }
            for attachment in &task.networks {
                let network = attachment.network.as_ref().unwrap().id.clone();
                for address in &attachment.addresses {
                    let own = addresses.insert((network.clone(), address.clone()));
                    assert!(own, "{address} on {network} is given out twice");
                }
            }
        }
        for service in view.services() {
            for vip in service
                .endpoint
                .iter()
                .flat_map(|endpoint| &endpoint.virtual_ips)
            {
                let own = addresses.insert((vip.network_id.clone(), vip.addr.clone()));
                assert!(own, "{} is given out twice", vip.addr);
            }
        }
    }

    /// A task that was just assigned meets its own constraints there.
    fn check_place(&self, task: &Task) {
        let view = self.sim.view();
        let Some(node) = view.node(&task.node_id) else {
            return;
        };
        if task.observed_state() == TaskState::Assigned
            && task.wanted_state() <= TaskState::Running
            && node.version() < task.version()
        {
            let spec = task.spec.as_ref().unwrap();
            assert!(
                facts::meets_constraints(node, spec),
                "{:#?}",
                self.sim.summary()
            );
        }
    }

    fn check_end(&self) {
        let view = self.sim.view();
        for service in view.services() {
            self.check_service(service);
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

    fn check_service(&self, service: &Service) {
        let spec: ServiceSpec = facts::spec(service);
        let task_spec = facts::task_spec(service);
        let live = self.sim.live(&service.id);
        let what = || {
            format!(
                "{spec:?} {:?}\n{:#?}",
                service.update_status,
                self.sim.summary()
            )
        };
        let view = self.sim.view();
        let fitting: Vec<String> = view
            .nodes()
            .filter(|node| facts::meets_constraints(node, &task_spec))
            .map(|node| node.id.clone())
            .collect();
        for task in &live {
            if !task.node_id.is_empty() {
                assert!(fitting.contains(&task.node_id), "{} {}", task.id, what());
            }
        }
        let wanted = match Mode::of(service) {
            Mode::Replicated { .. } if fitting.is_empty() => return,
            Mode::Replicated { replicas } => usize::try_from(replicas).unwrap(),
            _ => fitting.len(),
        };
        assert_eq!(live.len(), wanted, "{}", what());
        for task in &live {
            assert_eq!(task.observed_state(), TaskState::Running, "{}", what());
            assert_eq!(image(task), "nginx:last", "{}", what());
        }
        let slots: BTreeSet<_> = live
            .iter()
            .map(|task| (task.slot, task.slot == 0))
            .collect();
        if matches!(
            spec.mode,
            Some(ModeSpec::Replicated(ReplicatedService { .. }))
        ) {
            assert_eq!(slots.len(), wanted, "a slot has two tasks: {}", what());
        }
    }
}
