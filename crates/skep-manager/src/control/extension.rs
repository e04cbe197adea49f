//! Extensions, names under which others keep objects of their own in the store, and those objects:
//! resources, whose content only their maker understands.

use std::collections::BTreeMap;

use skep_objects::{
    ids::new_id,
    swarmkit::{
        Annotations, CreateExtensionRequest, CreateExtensionResponse, CreateResourceRequest,
        CreateResourceResponse, Extension, GetExtensionRequest, GetExtensionResponse,
        GetResourceRequest, GetResourceResponse, ListResourcesRequest, ListResourcesResponse,
        RemoveExtensionRequest, RemoveExtensionResponse, RemoveResourceRequest,
        RemoveResourceResponse, Resource, UpdateResourceRequest, UpdateResourceResponse,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

use super::{error::ControlError, filter::name_filter};

type Answer<T> = Result<T, ControlError>;

/// Makes an extension.
pub fn create(tx: &mut Tx, request: CreateExtensionRequest) -> Answer<CreateExtensionResponse> {
    require(
        name(request.annotations.as_ref()),
        "extension name must be provided",
    )?;
    let extension = Extension {
        id: new_id(),
        annotations: request.annotations,
        description: request.description,
        ..Extension::default()
    };
    let extension = tx.create_extension(extension).map_err(|error| {
        taken(error, |name| {
            ControlError::Exists(format!("extension {name} already exists"))
        })
    })?;
    Ok(CreateExtensionResponse {
        extension: Some(Extension::clone(&extension)),
    })
}

/// One extension, by id.
pub fn get(view: &View, request: &GetExtensionRequest) -> Answer<GetExtensionResponse> {
    let extension = find(view, &request.extension_id)?;
    Ok(GetExtensionResponse {
        extension: Some(extension.clone()),
    })
}

/// Removes an extension of which no resource is left.
pub fn remove(tx: &mut Tx, request: &RemoveExtensionRequest) -> Answer<RemoveExtensionResponse> {
    let extension = find(tx, &request.extension_id)?;
    let users: Vec<&str> = tx
        .resources_by_kind(extension.name())
        .map(|resource| resource.name())
        .collect();
    if !users.is_empty() {
        let (name, users) = (extension.name(), users.join(", "));
        let text = format!("extension {name} is in use by the following resources: {users}");
        return Err(ControlError::Invalid(text));
    }
    tx.remove_extension(&request.extension_id)?;
    Ok(RemoveExtensionResponse {})
}

/// Makes a resource of a kind that is known.
pub fn create_resource(
    tx: &mut Tx,
    request: CreateResourceRequest,
) -> Answer<CreateResourceResponse> {
    require(
        name(request.annotations.as_ref()),
        "Resource must have a name",
    )?;
    require(&request.kind, "Resource must belong to an Extension")?;
    let kind = request.kind.clone();
    let resource = Resource {
        id: new_id(),
        annotations: request.annotations,
        kind: request.kind,
        payload: request.payload,
        ..Resource::default()
    };
    let resource = tx.create_resource(resource).map_err(|error| match error {
        TxError::UnknownResourceKind { .. } => {
            ControlError::Invalid(format!("Kind {kind} is not registered"))
        }
        error => taken(error, |name| {
            ControlError::Exists(format!("A resource with name {name} already exists"))
        }),
    })?;
    Ok(CreateResourceResponse {
        resource: Some(Resource::clone(&resource)),
    })
}

/// One resource, by id.
pub fn get_resource(view: &View, request: &GetResourceRequest) -> Answer<GetResourceResponse> {
    let resource = find_resource(view, &request.resource_id)?;
    Ok(GetResourceResponse {
        resource: Some(resource.clone()),
    })
}

/// The resources that pass the filters.
pub fn list_resources(view: &View, request: ListResourcesRequest) -> Answer<ListResourcesResponse> {
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
pub fn update_resource(
    tx: &mut Tx,
    request: UpdateResourceRequest,
) -> Answer<UpdateResourceResponse> {
    let (id, Some(version)) = (&request.resource_id, request.resource_version) else {
        return Err(ControlError::missing_argument());
    };
    if id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let mut resource = find_resource(tx, id)?.clone();
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
pub fn remove_resource(
    tx: &mut Tx,
    request: &RemoveResourceRequest,
) -> Answer<RemoveResourceResponse> {
    find_resource(tx, &request.resource_id)?;
    tx.remove_resource(&request.resource_id)?;
    Ok(RemoveResourceResponse {})
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Extension> {
    require(id, "extension ID must be provided")?;
    let found = view.extension(id);
    found
        .map(AsRef::as_ref)
        .ok_or_else(|| ControlError::not_found("extension", id))
}

fn find_resource<'a>(view: &'a View, id: &str) -> Answer<&'a Resource> {
    require(id, "resource ID must be present")?;
    let found = view.resource(id);
    found
        .map(AsRef::as_ref)
        .ok_or_else(|| ControlError::not_found("resource", id))
}

fn name(annotations: Option<&Annotations>) -> &str {
    annotations.map_or("", |annotations| &annotations.name)
}

fn require(text: &str, refusal: &str) -> Answer<()> {
    if text.is_empty() {
        return Err(ControlError::Invalid(refusal.to_owned()));
    }
    Ok(())
}

/// A name that is taken, in the words of its kind; other errors as they are.
fn taken(error: TxError, refusal: impl FnOnce(&str) -> ControlError) -> ControlError {
    match error {
        TxError::NameConflict { name, .. } => refusal(&name),
        error => error.into(),
    }
}
