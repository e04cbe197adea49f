//! Random services.

use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;
use skep_objects::swarmkit::{
    ConfigReference, DiscreteGenericResource, EndpointSpec, GenericResource, GlobalJob,
    GlobalService, JobStatus, NetworkAttachmentConfig, PlacementPreference, Platform, PortConfig,
    ReplicatedJob, RestartPolicy, SecretReference, ServiceSpec, SpreadOver, UpdateConfig, Version,
    generic_resource::Resource as Generic, placement_preference::Preference,
    port_config::PublishMode, restart_policy::RestartCondition, service_spec::Mode as ModeSpec,
    task_spec::Runtime, update_config::UpdateOrder,
};
use skep_objects::timestamp::duration_message;
use skep_objects::{STRATEGIES, STRATEGY_LABEL};

use super::{CONFIGS, SECRETS, World, auto};
use crate::sim::service;

/// Attached to the small network.
pub fn on_back() -> Vec<NetworkAttachmentConfig> {
    vec![NetworkAttachmentConfig {
        target: "back".into(),
        ..Default::default()
    }]
}

impl World {
    pub fn random_image(&mut self) -> String {
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

    pub fn random_constraints(&mut self) -> Vec<String> {
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

    pub fn create(&mut self) {
        self.made += 1;
        let image = self.random_image();
        let replicas = self.rng.random_range(0..7);
        let mut service = service(&format!("s{}", self.made), &image, replicas);
        let spec = service.spec.as_mut().unwrap();
        self.place(spec);
        self.reserve(spec);
        self.use_files(spec);
        self.publish(spec);
        self.set_policies(spec);
        self.set_mode(spec);
        if matches!(
            spec.mode,
            Some(ModeSpec::ReplicatedJob(_) | ModeSpec::GlobalJob(_))
        ) {
            spec.update = None;
            service.job_status = Some(JobStatus {
                job_iteration: Some(Version::default()),
                ..Default::default()
            });
        }
        self.sim.write(|tx| tx.create_service(service).map(drop));
    }

    fn place(&mut self, spec: &mut ServiceSpec) {
        let constraints = self.random_constraints();
        let rng = &mut self.rng;
        let task = spec.task.get_or_insert_default();
        let placement = task.placement.get_or_insert_default();
        placement.constraints = constraints;
        if rng.random_bool(0.2) {
            placement.max_replicas = rng.random_range(1..3);
        }
        if rng.random_bool(0.2) {
            let over = SpreadOver {
                spread_descriptor: "node.labels.zone".into(),
            };
            placement.preferences = vec![PlacementPreference {
                preference: Some(Preference::Spread(over)),
            }];
        }
        if rng.random_bool(0.2) {
            let platform = [("linux", "x86_64"), ("linux", ""), ("windows", "x86_64")]
                .choose(rng)
                .unwrap();
            placement.platforms = vec![Platform {
                os: platform.0.into(),
                architecture: platform.1.into(),
            }];
        }
        if rng.random_bool(0.3) {
            task.networks = on_back();
        }
        if rng.random_bool(0.2) {
            auto(&mut spec.annotations);
        }
        if rng.random_bool(0.2) {
            let labels = &mut spec.annotations.get_or_insert_default().labels;
            let strategy = STRATEGIES.choose(rng).unwrap();
            labels.insert(STRATEGY_LABEL.into(), (*strategy).into());
        }
    }

    /// Other secrets and configs than before, or none.
    pub fn use_files(&mut self, spec: &mut ServiceSpec) {
        let rng = &mut self.rng;
        let task = spec.task.get_or_insert_default();
        let Some(Runtime::Container(container)) = &mut task.runtime else {
            return;
        };
        let count = rng.random_range(0..3);
        let secrets = SECRETS.choose_multiple(rng, count);
        container.secrets = secrets
            .map(|id| SecretReference {
                secret_id: (*id).to_owned(),
                ..Default::default()
            })
            .collect();
        let count = rng.random_range(0..2);
        let configs = CONFIGS.choose_multiple(rng, count);
        container.configs = configs
            .map(|id| ConfigReference {
                config_id: (*id).to_owned(),
                ..Default::default()
            })
            .collect();
    }

    fn reserve(&mut self, spec: &mut ServiceSpec) {
        let rng = &mut self.rng;
        let task = spec.task.get_or_insert_default();
        if rng.random_bool(0.2) {
            let resources = task.resources.get_or_insert_default();
            resources.reservations.get_or_insert_default().nano_cpus = 1_000_000_000;
        }
        if rng.random_bool(0.2) {
            let resources = task.resources.get_or_insert_default();
            resources.reservations.get_or_insert_default().memory_bytes = 3 << 30;
        }
        if rng.random_bool(0.2) {
            let kind = ["gpu", "ssd"].choose(rng).unwrap();
            let wanted = DiscreteGenericResource {
                kind: (*kind).to_owned(),
                value: rng.random_range(1..3),
            };
            let resources = task.resources.get_or_insert_default();
            resources.reservations.get_or_insert_default().generic = vec![GenericResource {
                resource: Some(Generic::DiscreteResourceSpec(wanted)),
            }];
        }
    }

    fn publish(&mut self, spec: &mut ServiceSpec) {
        let rng = &mut self.rng;
        let mut ports = Vec::new();
        if rng.random_bool(0.3) {
            ports.push(PortConfig {
                target_port: 80,
                ..Default::default()
            });
        }
        if rng.random_bool(0.2) {
            ports.push(PortConfig {
                target_port: 81,
                published_port: rng.random_range(8000..8002),
                publish_mode: PublishMode::Host.into(),
                ..Default::default()
            });
        }
        if !ports.is_empty() {
            spec.endpoint = Some(EndpointSpec {
                ports,
                ..Default::default()
            });
        }
    }

    fn set_policies(&mut self, spec: &mut ServiceSpec) {
        let rng = &mut self.rng;
        if rng.random_bool(0.5) {
            let all = [
                RestartCondition::Any,
                RestartCondition::OnFailure,
                RestartCondition::None,
            ];
            spec.task.get_or_insert_default().restart = Some(RestartPolicy {
                condition: (*all.choose(rng).unwrap()).into(),
                delay: Some(duration_message(Duration::from_millis(
                    rng.random_range(100..3000),
                ))),
                max_attempts: rng.random_range(0..4),
                window: rng
                    .random_bool(0.3)
                    .then(|| duration_message(Duration::from_secs(rng.random_range(1..30)))),
            });
        }
        for config in [&mut spec.update, &mut spec.rollback] {
            if rng.random_bool(0.5) {
                *config = Some(UpdateConfig {
                    parallelism: rng.random_range(0..4),
                    order: [UpdateOrder::StartFirst, UpdateOrder::StopFirst]
                        [rng.random_range(0..2)]
                    .into(),
                    failure_action: rng.random_range(0..3),
                    monitor: rng
                        .random_bool(0.5)
                        .then(|| duration_message(Duration::from_secs(rng.random_range(0..12)))),
                    max_failure_ratio: [0.0, 0.5][rng.random_range(0..2)],
                    delay: Some(duration_message(Duration::from_secs(
                        rng.random_range(0..4),
                    ))),
                });
            }
        }
    }

    fn set_mode(&mut self, spec: &mut ServiceSpec) {
        let rng = &mut self.rng;
        match rng.random_range(0..8) {
            0..=1 => spec.mode = Some(ModeSpec::Global(GlobalService {})),
            2 => {
                spec.mode = Some(ModeSpec::ReplicatedJob(ReplicatedJob {
                    max_concurrent: rng.random_range(0..4),
                    total_completions: rng.random_range(0..6),
                }));
            }
            3 => spec.mode = Some(ModeSpec::GlobalJob(GlobalJob {})),
            _ => {}
        }
    }
}
