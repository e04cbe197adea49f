//! Random services of all kinds, node events and updates: whatever happens, every slot ends as
//! specified, no task's state goes backwards, no task starts on a node that may not have it, nothing
//! is given out twice or kept for ever, and each node is told of its tasks' secrets and no others.
//!
//! `SKEP_SEED=n` replays one seed, `SKEP_SEEDS=n` runs so many.

mod checks;
mod specs;
mod told;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use skep_manager::orchestrator::rebalance;
use skep_manager::orchestrator::service::{self as facts, Mode};
use skep_objects::swarmkit::{
    Annotations, Config, ConfigSpec, DiscreteGenericResource, Extension, GenericResource,
    NamedGenericResource, Network, NetworkSpec, Node, PortConfig, Resource, Secret, SecretSpec,
    Service, UpdateStatus, Version, generic_resource::Resource as Generic, node_spec::Availability,
    node_status, port_config::PublishMode, service_spec::Mode as ModeSpec, task_spec::Runtime,
    update_status::UpdateState,
};
use skep_store::StoreObject;

use crate::sim::{Sim, annotations, node, set_image};

const NODES: usize = 4;
const GPUS: [&str; 2] = ["a", "b"];
const SSDS: i64 = 3;
const SECRETS: [&str; 3] = ["key", "password", "token"];
const CONFIGS: [&str; 2] = ["app.conf", "site.conf"];

fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    match number("SKEP_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SKEP_SEEDS").unwrap_or(12)).collect(),
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
    told: told::Told,
}

fn equipped(id: &str) -> Node {
    let mut node = node(id);
    let named = |value: &str| {
        Generic::NamedResourceSpec(NamedGenericResource {
            kind: "gpu".into(),
            value: value.into(),
        })
    };
    let ssd = Generic::DiscreteResourceSpec(DiscreteGenericResource {
        kind: "ssd".into(),
        value: SSDS,
    });
    let all = GPUS.iter().map(|value| named(value)).chain([ssd]);
    let description = node.description.get_or_insert_default();
    description.resources.get_or_insert_default().generic = all
        .map(|resource| GenericResource {
            resource: Some(resource),
        })
        .collect();
    node
}

fn secret(id: &str) -> Secret {
    Secret {
        id: id.into(),
        spec: Some(SecretSpec {
            annotations: annotations(id),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn config(id: &str) -> Config {
    Config {
        id: id.into(),
        spec: Some(ConfigSpec {
            annotations: annotations(id),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn small_network() -> Network {
    use skep_objects::swarmkit::{IpamConfig, IpamOptions};
    Network {
        id: "back".into(),
        spec: Some(NetworkSpec {
            annotations: annotations("back"),
            ipam: Some(IpamOptions {
                configs: vec![IpamConfig {
                    subnet: "192.168.7.0/25".into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(0);
        sim.write(|tx| {
            for id in SECRETS {
                tx.create_secret(secret(id))?;
            }
            for id in CONFIGS {
                tx.create_config(config(id))?;
            }
            for number in 1..=NODES {
                tx.create_node(equipped(&format!("n{number}")))?;
            }
            tx.create_extension(Extension {
                id: "rebalance".into(),
                annotations: annotations(rebalance::KIND),
                ..Default::default()
            })?;
            tx.create_network(small_network())
        });
        Self {
            told: told::Told::new(&sim.store),
            sim,
            rng: StdRng::seed_from_u64(seed),
            made: 0,
        }
    }

    fn run(mut self) {
        for _ in 0..60 {
            self.disturb();
            for _ in 0..self.rng.random_range(0..6) {
                self.sim.pass();
                self.check_always();
                self.sim.agents_step();
            }
            let pause = self.rng.random_range(0..8_000);
            self.sim.advance(Duration::from_millis(pause));
            self.check_always();
            self.check_nothing_overlooked();
        }
        self.calm();
        self.check_end();
        self.check_nothing_leaked();
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
        match (self.rng.random_range(0..17), service) {
            (0..=2, _) | (_, None) => self.create(),
            (3, Some(id)) => self.sim.write(|tx| tx.remove_service(&id).map(drop)),
            (4..=8, Some(id)) => self.change_service(&id),
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
            (13, Some(id)) => self.roll_back(&id),
            (14..=15, Some(id)) => self.ask_to_rebalance(&id),
            _ => self.sim.change_leader(),
        }
    }

    fn change_service(&mut self, id: &str) {
        let mut spec = facts::spec(self.sim.view().service(id).unwrap());
        match self.rng.random_range(0..6) {
            0..=1 => match &mut spec.mode {
                Some(ModeSpec::Replicated(mode)) => mode.replicas = self.rng.random_range(0..9),
                Some(ModeSpec::ReplicatedJob(job)) => {
                    job.total_completions = self.rng.random_range(0..6);
                }
                _ => {}
            },
            2..=3 => set_image(&mut spec, &self.random_image()),
            4 => self.use_files(&mut spec),
            _ => {
                let constraints = self.random_constraints();
                let task = spec.task.get_or_insert_default();
                task.placement.get_or_insert_default().constraints = constraints;
            }
        }
        self.update(id, spec);
    }

    /// As the control API does it.
    fn update(&mut self, id: &str, spec: skep_objects::swarmkit::ServiceSpec) {
        self.sim.update_service(id, |stored| *stored = spec);
        self.sim.write(|tx| tx.edit_service(id, run_job_again));
    }

    fn roll_back(&mut self, id: &str) {
        let now = self.sim.now().timestamp();
        self.sim.write(|tx| {
            tx.edit_service(id, |service| {
                let Some(previous) = service.previous_spec.take() else {
                    return;
                };
                service.previous_spec = service.spec.replace(previous);
                std::mem::swap(
                    &mut service.previous_spec_version,
                    &mut service.spec_version,
                );
                service.update_status = Some(UpdateStatus {
                    state: UpdateState::RollbackStarted.into(),
                    started_at: Some(now),
                    ..Default::default()
                });
                run_job_again(service);
            })
        });
    }

    fn ask_to_rebalance(&mut self, id: &str) {
        let request = Resource {
            id: skep_objects::ids::new_id(),
            annotations: annotations(id),
            kind: rebalance::KIND.into(),
            ..Default::default()
        };
        let view = self.sim.view();
        let known = view
            .resources_by_kind(rebalance::KIND)
            .any(|known| known.name() == id);
        let replicated = matches!(Mode::of(view.service(id).unwrap()), Mode::Replicated { .. });
        if !known && replicated {
            self.sim.write(|tx| tx.create_resource(request).map(drop));
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
            self.sim.write(|tx| tx.create_node(equipped(id)).map(drop));
        }
    }

    fn set_label(&mut self, node: &str) {
        if self.has_node(node) {
            let value = *["a", "b"].choose(&mut self.rng).unwrap();
            self.sim.set_label(node, "zone", value);
        }
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
        for service in self.services() {
            let mut spec = facts::spec(&service);
            let image = if Mode::of(&service).is_job() {
                "completes:last"
            } else {
                "nginx:last"
            };
            set_image(&mut spec, image);
            let task = spec.task.get_or_insert_default();
            // Those that may not restart would end with fewer tasks, as specified.
            task.restart = None;
            task.resources = None;
            // Where places are short, an update may wait for one for ever.
            let placement = task.placement.get_or_insert_default();
            placement.max_replicas = 0;
            placement.platforms.clear();
            spec.update = None;
            spec.rollback = None;
            if let Some(endpoint) = &mut spec.endpoint {
                let is_host = |port: &PortConfig| port.publish_mode() == PublishMode::Host;
                endpoint.ports.retain(|port| !is_host(port));
            }
            self.update(&service.id, spec);
        }
        self.sim.advance(Duration::from_secs(900));
    }

    fn services(&self) -> Vec<Service> {
        let view = self.sim.view();
        view.services()
            .map(|service| Service::clone(service))
            .collect()
    }

    /// With everything removed, all addresses, ports and network ids can be had again.
    fn check_nothing_leaked(&mut self) {
        for service in self.services() {
            self.sim
                .write(|tx| tx.remove_service(&service.id).map(drop));
        }
        self.sim.advance(Duration::from_secs(60));
        assert_eq!(
            self.sim.view().tasks().count(),
            0,
            "{:#?}",
            self.sim.summary()
        );
        // 126 addresses, but for the gateway, the service's own and each node's.
        let replicas = 126 - 2 - u64::try_from(NODES).unwrap();
        let mut all = crate::sim::service("all", "nginx", replicas);
        let spec = all.spec.as_mut().unwrap();
        spec.task.get_or_insert_default().networks = specs::on_back();
        let ports = (30_000..30_020).map(|published_port| PortConfig {
            target_port: 80,
            published_port,
            ..Default::default()
        });
        spec.endpoint.get_or_insert_default().ports = ports.collect();
        self.sim.write(|tx| tx.create_service(all).map(drop));
        self.sim.advance(Duration::from_secs(1));
        let running = u64::try_from(self.sim.count_running("all")).unwrap();
        assert_eq!(running, replicas, "{:#?}", self.sim.summary());
    }
}

fn run_job_again(service: &mut Service) {
    if Mode::of(service).is_job() {
        let status = service.job_status.get_or_insert_default();
        let iteration = status.job_iteration.map_or(0, |iteration| iteration.index);
        status.job_iteration = Some(Version {
            index: iteration + 1,
        });
    }
}

/// Labels that ask for automatic rebalancing.
fn auto(annotations: &mut Option<Annotations>) {
    let labels = &mut annotations.get_or_insert_default().labels;
    labels.insert(rebalance::LABEL.into(), "auto".into());
}

/// The container of a task or service.
fn is_container(runtime: Option<&Runtime>) -> bool {
    matches!(runtime, Some(Runtime::Container(_)))
}
