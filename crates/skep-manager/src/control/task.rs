//! Tasks: listing and forced removal.

use std::collections::BTreeMap;

use skep_objects::swarmkit::{
    GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse, RemoveTaskRequest,
    RemoveTaskResponse, Task, list_tasks_request::Filters, task_spec::Runtime,
};
use skep_objects::template::task::task_name;
use skep_store::{Tx, View};

use super::{
    error::ControlError,
    filter::{any, name_filter},
};

use crate::orchestrator::service::is_dirty;

type Answer<T> = Result<T, ControlError>;

/// One task, by id.
pub fn get(view: &View, request: &GetTaskRequest) -> Answer<GetTaskResponse> {
    if request.task_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let task = view.task(&request.task_id);
    let task = task.ok_or_else(|| ControlError::not_found("task", &request.task_id))?;
    Ok(GetTaskResponse {
        task: Some(Task::clone(task)),
    })
}

/// The tasks that pass the filters, found by the narrowest of them.
pub fn list(view: &View, request: ListTasksRequest) -> Answer<ListTasksResponse> {
    let filters = request.filters.unwrap_or_default();
    let tasks: Vec<Task> = if !filters.service_ids.is_empty() {
        let tasks = filters
            .service_ids
            .iter()
            .flat_map(|id| view.tasks_by_service(id));
        pick(view, tasks, &filters)
    } else if !filters.node_ids.is_empty() {
        pick(
            view,
            filters
                .node_ids
                .iter()
                .flat_map(|id| view.tasks_by_node(id)),
            &filters,
        )
    } else if !filters.id_prefixes.is_empty() {
        let tasks = filters
            .id_prefixes
            .iter()
            .flat_map(|prefix| view.tasks_by_id_prefix(prefix));
        pick(view, tasks, &filters)
    } else {
        pick(view, view.tasks(), &filters)
    };
    Ok(ListTasksResponse { tasks })
}

/// Deletes the task object; its agent stops what ran.
pub fn remove(tx: &mut Tx, request: &RemoveTaskRequest) -> Answer<RemoveTaskResponse> {
    if request.task_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    if tx.task(&request.task_id).is_none() {
        return Err(ControlError::not_found("task", &request.task_id));
    }
    tx.remove_task(&request.task_id)?;
    Ok(RemoveTaskResponse {})
}

/// Each task once, though several values of one filter may name it.
fn pick<'a>(
    view: &View,
    tasks: impl Iterator<Item = &'a std::sync::Arc<Task>>,
    filters: &Filters,
) -> Vec<Task> {
    let passing = tasks.filter(|task| passes(view, task, filters));
    let by_id: BTreeMap<&str, &Task> = passing.map(|task| (task.id.as_str(), &**task)).collect();
    by_id.into_values().cloned().collect()
}

fn passes(view: &View, task: &Task, filters: &Filters) -> bool {
    let empty = BTreeMap::new();
    // Tasks have none of their own: `docker stack ps` asks for those of their service.
    let labels = task
        .service_annotations
        .as_ref()
        .map_or(&empty, |annotations| &annotations.labels);
    name_filter!(filters).passes(&task.id, &task_name(task), labels)
        && any(&filters.service_ids, |id| *id == task.service_id)
        && any(&filters.node_ids, |id| *id == task.node_id)
        && any(&filters.desired_states, |state| {
            *state == task.desired_state
        })
        && any(&filters.runtimes, |wanted| {
            wanted.eq_ignore_ascii_case(runtime_name(task))
        })
        && (!filters.up_to_date || is_up_to_date(view, task))
}

fn runtime_name(task: &Task) -> &str {
    match task.spec.as_ref().and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(_)) => "container",
        Some(Runtime::Attachment(_)) => "attachment",
        Some(Runtime::Generic(generic)) => &generic.kind,
        None => "",
    }
}

fn is_up_to_date(view: &View, task: &Task) -> bool {
    let Some(service) = view.service(&task.service_id) else {
        return true;
    };
    let node = view.node(&task.node_id).map(|node| &**node);
    !is_dirty(service, task, node)
}
