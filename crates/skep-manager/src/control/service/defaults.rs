//! What an unset part of a service's spec means, filled in for those who ask to see it.

use prost_types::Duration;
use skep_objects::swarmkit::{
    ContainerSpec, EndpointSpec, Placement, ResourceRequirements, RestartPolicy, ServiceSpec,
    TaskSpec, UpdateConfig, container_spec, restart_policy::RestartCondition, service_spec::Mode,
    task_spec::Runtime,
};

const STOP_GRACE_SECONDS: i64 = 10;
const RESTART_DELAY_SECONDS: i64 = 5;
const MONITOR_SECONDS: i64 = 5;

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// The restart policy of a service that names none.
pub fn default_restart_policy() -> RestartPolicy {
    RestartPolicy {
        condition: RestartCondition::Any.into(),
        delay: Some(seconds(RESTART_DELAY_SECONDS)),
        ..RestartPolicy::default()
    }
}

/// The update or rollback policy of a service that names none.
pub fn default_update_config() -> UpdateConfig {
    UpdateConfig {
        parallelism: 1,
        monitor: Some(seconds(MONITOR_SECONDS)),
        ..UpdateConfig::default()
    }
}

/// Fills in every unset part.
pub fn insert_defaults(spec: &mut ServiceSpec) {
    let job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
    task_defaults(spec.task.get_or_insert_default());
    if !job {
        update_defaults(&mut spec.update);
        update_defaults(&mut spec.rollback);
    }
    spec.endpoint.get_or_insert_with(EndpointSpec::default);
}

fn task_defaults(task: &mut TaskSpec) {
    if let Some(Runtime::Container(container)) = &mut task.runtime {
        container_defaults(container);
    }
    task.resources
        .get_or_insert_with(ResourceRequirements::default);
    task.placement.get_or_insert_with(Placement::default);
    match &mut task.restart {
        None => task.restart = Some(default_restart_policy()),
        Some(policy) => {
            policy.delay.get_or_insert(seconds(RESTART_DELAY_SECONDS));
        }
    }
}

fn container_defaults(container: &mut ContainerSpec) {
    container
        .stop_grace_period
        .get_or_insert(seconds(STOP_GRACE_SECONDS));
    container
        .pull_options
        .get_or_insert_with(container_spec::PullOptions::default);
    container
        .dns_config
        .get_or_insert_with(container_spec::DnsConfig::default);
}

fn update_defaults(config: &mut Option<UpdateConfig>) {
    match config {
        None => *config = Some(default_update_config()),
        Some(config) => {
            config.monitor.get_or_insert(seconds(MONITOR_SECONDS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_spec_gets_dockers_defaults() {
        let mut spec = ServiceSpec {
            task: Some(
                TaskSpec {
                    runtime: Some(Runtime::Container(ContainerSpec::default())),
                    ..TaskSpec::default()
                }
                .into(),
            ),
            ..ServiceSpec::default()
        };
        insert_defaults(&mut spec);
        let task = spec.task.unwrap().into_inner();
        assert_eq!(task.restart, Some(default_restart_policy()));
        assert_eq!(spec.update, Some(default_update_config()));
        assert_eq!(spec.rollback, Some(default_update_config()));
        let Some(Runtime::Container(container)) = task.runtime else {
            panic!("no container")
        };
        assert_eq!(container.stop_grace_period, Some(seconds(10)));
    }

    #[test]
    fn what_is_set_stays() {
        let update = UpdateConfig {
            parallelism: 0,
            monitor: Some(seconds(1)),
            ..Default::default()
        };
        let mut spec = ServiceSpec {
            update: Some(update),
            ..ServiceSpec::default()
        };
        insert_defaults(&mut spec);
        assert_eq!(spec.update, Some(update));
    }

    #[test]
    fn a_job_gets_no_update_config() {
        let mut spec = ServiceSpec {
            mode: Some(Mode::GlobalJob(Default::default())),
            ..Default::default()
        };
        insert_defaults(&mut spec);
        assert_eq!(spec.update, None);
    }
}
