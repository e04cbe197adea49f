//! How many of each service's tasks run.

use skep_objects::swarmkit::{
    ListServiceStatusesRequest, ListServiceStatusesResponse, Service, Task, TaskState,
    list_service_statuses_response::ServiceStatus, service_spec::Mode,
};
use skep_store::View;

use super::Answer;

/// The statuses of the services asked for; one that is gone has none running and none desired.
pub fn list_statuses(
    view: &View,
    request: &ListServiceStatusesRequest,
) -> Answer<ListServiceStatusesResponse> {
    let statuses = request.services.iter().map(|id| status(view, id)).collect();
    Ok(ListServiceStatusesResponse { statuses })
}

fn status(view: &View, id: &str) -> ServiceStatus {
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
        if task.observed_state() == TaskState::Running {
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

/// A service on every node wants as many as its orchestrator made to run, or to complete.
fn counts_as_desired(task: &Task, job: bool) -> bool {
    let wanted = if job {
        TaskState::Complete
    } else {
        TaskState::Running
    };
    task.wanted_state() == wanted
}

fn iteration(version: Option<&skep_objects::swarmkit::Version>) -> u64 {
    version.map_or(0, |version| version.index)
}
