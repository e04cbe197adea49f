//! `/tasks/*`.

use skep_objects::swarmkit as proto;

use super::{ask, filters, logs, lookup};
use crate::http::call::{self, Call, Response};
use crate::http::convert::task;
use crate::http::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["tasks"]) => list(&call).await,
        ("GET", ["tasks", id]) => call::ok(&task::from_task(
            &lookup::task(&call.api.manager()?, id).await?,
        )),
        ("GET", ["tasks", id, "logs"]) => logs::of_task(&call, id).await,
        _ => Err(ApiError::no_route()),
    }
}

async fn list(call: &Call) -> Result<Response> {
    let manager = call.api.manager()?;
    let wanted = call.query.filters()?;
    let mut filters = filters::tasks(&wanted)?;
    for service in wanted.get("service") {
        filters
            .service_ids
            .push(lookup::service(&manager, service).await?.id);
    }
    for node in wanted.get("node") {
        filters
            .node_ids
            .push(lookup::node(&manager, node).await?.id);
    }
    let request = proto::ListTasksRequest {
        filters: Some(filters),
    };
    let tasks = ask!(manager, list_tasks, request)?.tasks;
    call::ok(&tasks.iter().map(task::from_task).collect::<Vec<_>>())
}
