//! How many of each service's tasks run.

use std::collections::BTreeSet;

use skep_objects::swarmkit::{
    ListServiceStatusesRequest, ListServiceStatusesResponse, Service, Task, TaskState,
    list_service_statuses_response::ServiceStatus, service_spec::Mode,
};
use skep_store::View;

use super::Answer;
use crate::orchestrator::service::is_down;

/// The statuses of the services asked for; one that is gone has none running and none desired.
pub fn list_statuses(
    view: &View,
    request: &ListServiceStatusesRequest,
) -> Answer<ListServiceStatusesResponse> {
    let down = view.nodes().filter(|node| is_down(node));
    let down: BTreeSet<&str> = down.map(|node| node.id.as_str()).collect();
    let statuses = request.services.iter();
    let statuses = statuses.map(|id| status(view, id, &down)).collect();
    Ok(ListServiceStatusesResponse { statuses })
}

/// What a node that is down last said of its tasks says nothing of now.
fn status(view: &View, id: &str, down: &BTreeSet<&str>) -> ServiceStatus {
    let mut status = ServiceStatus {
        service_id: id.to_owned(),
        ..ServiceStatus::default()
    };
    let Some(service) = view.service(id) else {
        return status;
    };
    let iteration = iteration(
        service
            .job_status
            .as_ref()
            .and_then(|status| status.job_iteration.as_ref()),
    );
    let job = is_job(service);
    let mut wanted_global = 0;
    for task in view.tasks_by_service(id) {
        let current = !job || iteration == self::iteration(task.job_iteration.as_ref());
        if task.observed_state() == TaskState::Running && !down.contains(task.node_id.as_str()) {
            status.running_tasks += 1;
        }
        if job && current && task.observed_state() == TaskState::Complete {
            status.completed_tasks += 1;
        }
        if counts_as_desired(task, job) && current {
            wanted_global += 1;
        }
    }
    status.desired_tasks = match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Replicated(mode)) => mode.replicas,
        Some(Mode::ReplicatedJob(mode)) => mode.max_concurrent,
        Some(Mode::Global(_) | Mode::GlobalJob(_)) => wanted_global,
        None => 0,
    };
    status
}

fn is_job(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(super::is_job)
}

/// A service on every node wants as many as its orchestrator made to run, or to complete and have not
/// done so: clients add those that have.
fn counts_as_desired(task: &Task, job: bool) -> bool {
    if job {
        task.wanted_state() == TaskState::Complete && task.observed_state() != TaskState::Complete
    } else {
        task.wanted_state() == TaskState::Running
    }
}

fn iteration(version: Option<&skep_objects::swarmkit::Version>) -> u64 {
    version.map_or(0, |version| version.index)
}
