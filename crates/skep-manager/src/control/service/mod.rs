//! Services.

mod check;
mod defaults;
mod status;
mod update;

use std::{collections::BTreeMap, sync::Arc};

use prost_types::Timestamp;
use skep_objects::{
    ids::new_id,
    swarmkit::{
        Annotations, CreateServiceRequest, CreateServiceResponse, GetServiceRequest,
        GetServiceResponse, JobStatus, ListServicesRequest, ListServicesResponse,
        RemoveServiceRequest, RemoveServiceResponse, Service, ServiceSpec, Version,
        list_services_request::Filters, service_spec::Mode, task_spec::Runtime,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

pub use check::needs_ingress;
pub use defaults::{default_restart_policy, default_update_config, insert_defaults};
pub use status::list_statuses;
pub use update::update;

use super::{
    error::ControlError,
    filter::{any, name_filter},
    validate::validate_service_spec,
};

type Answer<T> = Result<T, ControlError>;

/// Makes a service; the orchestrators make its tasks.
pub fn create(tx: &mut Tx, request: CreateServiceRequest) -> Answer<CreateServiceResponse> {
    let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
    validate_service_spec(&spec)?;
    check::all(tx, &spec, None)?;
    let service = Service {
        id: new_id(),
        job_status: is_job(&spec).then(|| first_execution(tx.now())),
        spec_version: Some(Version::default()),
        spec: Some(spec),
        ..Service::default()
    };
    match tx.create_service(service) {
        Ok(service) => Ok(CreateServiceResponse {
            service: Some(Service::clone(&service)),
        }),
        Err(TxError::NameConflict { name, .. }) => Err(ControlError::Exists(format!(
            "name conflicts with an existing object: service {name} already exists"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// One service, by id; with every unset part filled in when asked.
pub fn get(view: &View, request: &GetServiceRequest) -> Answer<GetServiceResponse> {
    let mut service = Service::clone(find(view, &request.service_id)?);
    if request.insert_defaults {
        insert_defaults(service.spec.get_or_insert_default());
    }
    Ok(GetServiceResponse {
        service: Some(service),
    })
}

/// The services that pass the filters.
pub fn list(view: &View, request: ListServicesRequest) -> Answer<ListServicesResponse> {
    let filters = request.filters.unwrap_or_default();
    let passing = view.services().filter(|service| passes(service, &filters));
    Ok(ListServicesResponse {
        services: passing.map(|service| Service::clone(service)).collect(),
    })
}

/// Removes a service; the orchestrators shut its tasks down.
pub fn remove(tx: &mut Tx, request: &RemoveServiceRequest) -> Answer<RemoveServiceResponse> {
    find(tx, &request.service_id)?;
    tx.remove_service(&request.service_id)?;
    Ok(RemoveServiceResponse {})
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Arc<Service>> {
    if id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    view.service(id)
        .ok_or_else(|| ControlError::not_found("service", id))
}

/// Whether its tasks run to completion.
fn is_job(spec: &ServiceSpec) -> bool {
    matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)))
}

fn first_execution(now: Timestamp) -> JobStatus {
    JobStatus {
        job_iteration: Some(Version::default()),
        last_execution: Some(now),
    }
}

fn annotations(service: &Service) -> Option<&Annotations> {
    service.spec.as_ref()?.annotations.as_ref()
}

fn runtime_name(service: &Service) -> &str {
    let task = service.spec.as_ref().and_then(|spec| spec.task.as_ref());
    match task.and_then(|task| task.runtime.as_ref()) {
        Some(Runtime::Container(_)) => "container",
        Some(Runtime::Attachment(_)) => "attachment",
        Some(Runtime::Generic(generic)) => &generic.kind,
        None => "",
    }
}

fn passes(service: &Service, filters: &Filters) -> bool {
    let empty = BTreeMap::new();
    let labels = annotations(service).map_or(&empty, |annotations| &annotations.labels);
    name_filter!(filters).passes(&service.id, service.name(), labels)
        && any(&filters.runtimes, |wanted| {
            wanted.eq_ignore_ascii_case(runtime_name(service))
        })
}
