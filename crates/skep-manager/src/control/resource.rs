//! Resources: objects whose kind is an extension, and whose content only their maker understands.

use std::collections::BTreeMap;

use skep_objects::{
    ids::new_id,
    swarmkit::{
        CreateResourceRequest, CreateResourceResponse, GetResourceRequest, GetResourceResponse,
        ListResourcesRequest, ListResourcesResponse, RemoveResourceRequest, RemoveResourceResponse,
        Resource, UpdateResourceRequest, UpdateResourceResponse,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

use super::{error::ControlError, filter::name_filter};

type Answer<T> = Result<T, ControlError>;

/// Makes a resource of a kind that is known.
pub fn create(tx: &mut Tx, request: CreateResourceRequest) -> Answer<CreateResourceResponse> {
    let name = request
        .annotations
        .as_ref()
        .map_or("", |annotations| &annotations.name);
    if name.is_empty() {
        return Err(ControlError::Invalid(
            "Resource must have a name".to_owned(),
        ));
    }
    if request.kind.is_empty() {
        return Err(ControlError::Invalid(
            "Resource must belong to an Extension".to_owned(),
        ));
    }
    let kind = request.kind.clone();
    let resource = Resource {
        id: new_id(),
        annotations: request.annotations,
        kind: request.kind,
        payload: request.payload,
        ..Resource::default()
    };
    match tx.create_resource(resource) {
        Ok(resource) => Ok(CreateResourceResponse {
            resource: Some(Resource::clone(&resource)),
        }),
        Err(TxError::NameConflict { name, .. }) => Err(ControlError::Exists(format!(
            "A resource with name {name} already exists"
        ))),
        Err(TxError::UnknownResourceKind { .. }) => Err(ControlError::Invalid(format!(
            "Kind {kind} is not registered"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// One resource, by id.
pub fn get(view: &View, request: &GetResourceRequest) -> Answer<GetResourceResponse> {
    let id = &request.resource_id;
    if id.is_empty() {
        return Err(ControlError::Invalid(
            "resource ID must be present".to_owned(),
        ));
    }
    let resource = view
        .resource(id)
        .ok_or_else(|| ControlError::not_found("resource", id))?;
    Ok(GetResourceResponse {
        resource: Some(Resource::clone(resource)),
    })
}

/// The resources that pass the filters.
pub fn list(view: &View, request: ListResourcesRequest) -> Answer<ListResourcesResponse> {
    let filters = request.filters.unwrap_or_default();
    let empty = BTreeMap::new();
    let passing = view.resources().filter(|resource| {
        let labels = resource
            .annotations
            .as_ref()
            .map_or(&empty, |annotations| &annotations.labels);
        name_filter!(filters).passes(&resource.id, resource.name(), labels)
            && (filters.kind.is_empty() || filters.kind == resource.kind)
    });
    Ok(ListResourcesResponse {
        resources: passing.map(|resource| Resource::clone(resource)).collect(),
    })
}

/// Changes a resource's labels or content; what the request leaves out stays.
pub fn update(tx: &mut Tx, request: UpdateResourceRequest) -> Answer<UpdateResourceResponse> {
    let (id, Some(version)) = (&request.resource_id, request.resource_version) else {
        return Err(ControlError::missing_argument());
    };
    if id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let stored = tx
        .resource(id)
        .ok_or_else(|| ControlError::not_found("resource", id))?;
    let mut resource = Resource::clone(stored);
    if let Some(annotations) = request.annotations {
        if annotations.name != resource.name() {
            return Err(ControlError::Invalid("Name cannot be changed".to_owned()));
        }
        resource.annotations = Some(annotations);
    }
    if request.payload.is_some() {
        resource.payload = request.payload;
    }
    resource.meta.get_or_insert_default().version = Some(version);
    let resource = tx.update_resource(resource)?;
    Ok(UpdateResourceResponse {
        resource: Some(Resource::clone(&resource)),
    })
}

/// Removes a resource.
pub fn remove(tx: &mut Tx, request: &RemoveResourceRequest) -> Answer<RemoveResourceResponse> {
    let id = &request.resource_id;
    if id.is_empty() {
        return Err(ControlError::Invalid(
            "resource ID must be present".to_owned(),
        ));
    }
    if tx.resource(id).is_none() {
        return Err(ControlError::not_found("resource", id));
    }
    tx.remove_resource(id)?;
    Ok(RemoveResourceResponse {})
}
