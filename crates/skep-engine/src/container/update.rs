//! Changing limits and the restart policy, live when the container runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_objects::api::container::{HostConfig, UpdateConfig, UpdateResponse};

use super::{oci, restart, validate};
use crate::core::Core;
use crate::error::{EngineError, Result};

impl Core {
    pub(crate) async fn update(
        self: &Arc<Self>,
        reference: &str,
        request: &UpdateConfig,
    ) -> Result<UpdateResponse> {
        let container = self.containers.find(reference)?;
        let refuse = |why: String| {
            EngineError::conflict(format!("Cannot update container {}: {why}", container.id))
        };
        let marked = "container is marked for removal and cannot be \"update\"";
        let _operation = container
            .operate(reference, || refuse(marked.to_owned()).to_string())
            .await?;
        let state = container.state();
        let mut host = container.record().host_config;
        let had_auto_remove = host.auto_remove;
        let outgrows_swap =
            request.memory_swap == 0 && host.memory_swap > 0 && request.memory > host.memory_swap;
        if outgrows_swap {
            return Err(refuse(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                    .to_owned(),
            ));
        }
        if let Some(text) = conflict(&host, request) {
            return Err(refuse(format!("Conflicting options: {text}")));
        }
        merge(&mut host, request);
        if had_auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
            return Err(refuse(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
                    .to_owned(),
            ));
        }
        restart::validate(&host)?;
        let warnings = validate::resources(&mut host)?;
        if state.running && !state.restarting {
            let resources = oci::resources(&host)?;
            let resources = serde_json::from_value(resources)
                .map_err(|error| EngineError::invalid(error.to_string()))?;
            let applied = self
                .with_cgroup(&container, move |cgroup| cgroup.apply(&resources))
                .await;
            if let Err(error) = applied
                && !self.has_ended(&container, state.exits).await
            {
                return Err(error);
            }
        }
        container.change_record(|record| record.host_config = host)?;
        self.publish(&container, "update", BTreeMap::new());
        Ok(UpdateResponse {
            warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
        })
    }
}

/// CPUs are limited either by their number or by quota and period, which Docker does not exchange.
fn conflict(host: &HostConfig, request: &UpdateConfig) -> Option<&'static str> {
    let cases = [
        (
            request.nano_cpus > 0 && host.cpu_period > 0,
            "Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            request.nano_cpus > 0 && host.cpu_quota > 0,
            "Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            request.cpu_period > 0 && host.nano_cpus > 0,
            "CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            request.cpu_quota > 0 && host.nano_cpus > 0,
            "CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
    ];
    let (_, text) = cases.iter().find(|(is_so, _)| *is_so)?;
    Some(text)
}

/// What is zero or absent stays.
fn merge(host: &mut HostConfig, request: &UpdateConfig) {
    let set = |field: &mut i64, value: i64| {
        if value != 0 {
            *field = value;
        }
    };
    set(&mut host.cpu_shares, request.cpu_shares);
    set(&mut host.memory, request.memory);
    set(&mut host.nano_cpus, request.nano_cpus);
    set(&mut host.cpu_period, request.cpu_period);
    set(&mut host.cpu_quota, request.cpu_quota);
    set(&mut host.cpu_realtime_period, request.cpu_realtime_period);
    set(&mut host.cpu_realtime_runtime, request.cpu_realtime_runtime);
    set(&mut host.memory_reservation, request.memory_reservation);
    set(&mut host.memory_swap, request.memory_swap);
    if request.blkio_weight != 0 {
        host.blkio_weight = request.blkio_weight;
    }
    if !request.cpuset_cpus.is_empty() {
        host.cpuset_cpus.clone_from(&request.cpuset_cpus);
    }
    if !request.cpuset_mems.is_empty() {
        host.cpuset_mems.clone_from(&request.cpuset_mems);
    }
    if let Some(limit) = request.pids_limit {
        host.pids_limit = Some(limit);
    }
    if !request.restart_policy.name.is_empty() {
        host.restart_policy.clone_from(&request.restart_policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_leave_as_it_is() {
        let mut host = HostConfig {
            memory: 5,
            cpu_shares: 7,
            ..HostConfig::default()
        };
        merge(
            &mut host,
            &UpdateConfig {
                memory: 6,
                nano_cpus: 1,
                ..UpdateConfig::default()
            },
        );
        assert_eq!((host.memory, host.cpu_shares, host.nano_cpus), (6, 7, 1));
    }

    #[test]
    fn a_number_of_cpus_is_not_exchanged_for_a_quota() {
        let host = |nano_cpus, cpu_quota| HostConfig {
            nano_cpus,
            cpu_quota,
            ..HostConfig::default()
        };
        let request = |nano_cpus, cpu_quota| UpdateConfig {
            nano_cpus,
            cpu_quota,
            ..UpdateConfig::default()
        };
        let check = |before: (i64, i64), asked: (i64, i64), expect: Option<&str>| {
            let found = conflict(&host(before.0, before.1), &request(asked.0, asked.1));
            assert_eq!(found.map(|text| &text[..9]), expect);
        };
        check((1, 0), (2, 0), None);
        check((0, 5), (0, 6), None);
        check((1, 0), (0, 6), Some("CPU Quota"));
        check((0, 5), (2, 0), Some("Nano CPUs"));
    }
}
