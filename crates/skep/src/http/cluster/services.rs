//! `/services/*`.

use std::collections::BTreeMap;

use http::StatusCode;
use proto::container_spec::PullOptions;
use proto::service_spec::Mode;
use proto::task_spec::Runtime;
use proto::update_service_request::Rollback;
use skep_engine::Filters;
use skep_objects::api::service as api;
use skep_objects::swarmkit as proto;

use super::{Manager, ask, filters, logs, lookup, networks, pin, rebalance};
use crate::http::call::{self, Call, Response};
use crate::http::convert::service;
use crate::http::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["services"]) => list(&call).await,
        ("POST", ["services", "create"]) => create(call).await,
        ("GET", ["services", id]) => inspect(&call, id).await,
        ("DELETE", ["services", id]) => remove(&call, id).await,
        ("POST", ["services", id, "update"]) => update(call, id).await,
        ("POST", ["services", id, "rebalance"]) => rebalance::service(&call, id).await,
        ("GET", ["services", id, "logs"]) => logs::of_service(&call, id).await,
        _ => Err(ApiError::no_route()),
    }
}

async fn list(call: &Call) -> Result<Response> {
    let manager = call.api.manager()?;
    let wanted = call.query.filters()?;
    let filters = Some(filters::services(&wanted)?);
    let services = ask!(
        manager,
        list_services,
        proto::ListServicesRequest { filters }
    )?
    .services;
    let mut rows: Vec<api::Service> = services
        .iter()
        .filter(|service| mode_matches(&wanted, service))
        .map(service::from_service)
        .collect();
    if call.query.flag("status") {
        add_statuses(&manager, &mut rows).await?;
    }
    call::ok(&rows)
}

/// Managers do not filter by mode.
fn mode_matches(filters: &Filters, service: &proto::Service) -> bool {
    let mode = service.spec.as_ref().and_then(|spec| spec.mode.as_ref());
    let word = match mode {
        Some(Mode::Global(_)) => "global",
        Some(Mode::ReplicatedJob(_)) => "replicated-job",
        Some(Mode::GlobalJob(_)) => "global-job",
        Some(Mode::Replicated(_)) | None => "replicated",
    };
    filters.exact("mode", word)
}

async fn add_statuses(manager: &Manager, rows: &mut [api::Service]) -> Result<()> {
    let services = rows.iter().map(|service| service.id.clone()).collect();
    let request = proto::ListServiceStatusesRequest { services };
    let statuses = ask!(manager, list_service_statuses, request)?.statuses;
    let statuses: BTreeMap<_, _> = statuses
        .into_iter()
        .map(|status| (status.service_id.clone(), status))
        .collect();
    for row in rows {
        let status = statuses.get(&row.id).cloned().unwrap_or_default();
        row.service_status = Some(api::ServiceStatus {
            running_tasks: status.running_tasks,
            desired_tasks: status.desired_tasks,
            completed_tasks: status.completed_tasks,
        });
    }
    Ok(())
}

async fn inspect(call: &Call, id: &str) -> Result<Response> {
    let manager = call.api.manager()?;
    let mut found = lookup::service(&manager, id).await?;
    if call.query.flag("insertDefaults") {
        let request = proto::GetServiceRequest {
            service_id: found.id.clone(),
            insert_defaults: true,
        };
        found = ask!(manager, get_service, request)?
            .service
            .unwrap_or(found);
    }
    call::ok(&service::from_service(&found))
}

async fn remove(call: &Call, id: &str) -> Result<Response> {
    let manager = call.api.manager()?;
    let service_id = lookup::service(&manager, id).await?.id;
    ask!(
        manager,
        remove_service,
        proto::RemoveServiceRequest { service_id }
    )?;
    Ok(call::empty(StatusCode::OK))
}

/// A body's spec as the managers want it: networks by id, credentials in their place.
async fn to_spec(
    call: &Call,
    manager: &Manager,
    spec: api::ServiceSpec,
) -> Result<proto::ServiceSpec> {
    let mut spec = service::to_spec(spec)?;
    if let Some(task) = &mut spec.task {
        networks::to_ids(&call.api, manager, &mut task.networks).await?;
    }
    Ok(spec)
}

fn container(spec: Option<&mut proto::ServiceSpec>) -> Option<&mut proto::ContainerSpec> {
    match spec?.task.as_mut()?.runtime.as_mut()? {
        Runtime::Container(container) => Some(container),
        Runtime::Attachment(_) | Runtime::Generic(_) => None,
    }
}

async fn create(mut call: Call) -> Result<Response> {
    let mut body: api::ServiceSpec = call.json().await?;
    let manager = call.api.manager()?;
    if body.name.is_empty() {
        body.name = crate::http::names::random();
    }
    let mut spec = to_spec(&call, &manager, body).await?;
    let auth = call.header("x-registry-auth").to_owned();
    let none = || ApiError::invalid("service does not use container tasks");
    let task = container(Some(&mut spec)).ok_or_else(none)?;
    if !auth.is_empty() {
        task.pull_options = Some(PullOptions {
            registry_auth: auth,
        });
    }
    let warnings = pin::pin(&call, &mut task.image).await;
    let request = proto::CreateServiceRequest { spec: Some(spec) };
    let created = ask!(manager, create_service, request)?
        .service
        .unwrap_or_default();
    let answer = api::ServiceCreateResponse {
        id: created.id,
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
    };
    call::json(StatusCode::CREATED, &answer)
}

async fn update(mut call: Call, id: &str) -> Result<Response> {
    let body: api::ServiceSpec = call.json().await?;
    let index = call.query.version("service")?;
    let rollback = match call.query.get("rollback") {
        "" | "none" => Rollback::None,
        "previous" => Rollback::Previous,
        other => {
            return Err(ApiError::internal(format!(
                "unrecognized rollback option {other}"
            )));
        }
    };
    let manager = call.api.manager()?;
    let mut current = lookup::service(&manager, id).await?;
    let mut spec = to_spec(&call, &manager, body).await?;
    let auth = call.header("x-registry-auth");
    let none = || ApiError::internal("service does not use container tasks");
    let pull_options = if auth.is_empty() {
        kept_credentials(call.query.get("registryAuthFrom"), &mut current)?
    } else {
        Some(PullOptions {
            registry_auth: auth.to_owned(),
        })
    };
    let task = container(Some(&mut spec)).ok_or_else(none)?;
    task.pull_options = pull_options;
    let warnings = pin::pin(&call, &mut task.image).await;
    let request = proto::UpdateServiceRequest {
        service_id: current.id,
        service_version: Some(proto::Version { index }),
        spec: Some(spec),
        rollback: rollback.into(),
    };
    ask!(manager, update_service, request)?;
    call::ok(&api::ServiceUpdateResponse {
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
    })
}

/// Credentials stay when an update brings none: those of the spec now, or of the one before.
fn kept_credentials(from: &str, current: &mut proto::Service) -> Result<Option<PullOptions>> {
    let spec = match from {
        "" | "spec" => current.spec.as_mut(),
        "previous-spec" => match current.previous_spec.as_mut() {
            Some(previous) => Some(previous),
            None => return Err(ApiError::internal("service does not have a previous spec")),
        },
        _ => return Err(ApiError::internal("unsupported registryAuthFrom value")),
    };
    let none = || ApiError::internal("service does not use container tasks");
    Ok(container(spec).ok_or_else(none)?.pull_options.take())
}
