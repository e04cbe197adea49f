//! Extensions: names under which others keep objects of their own in the store.

use skep_objects::{
    ids::new_id,
    swarmkit::{
        CreateExtensionRequest, CreateExtensionResponse, Extension, GetExtensionRequest,
        GetExtensionResponse, RemoveExtensionRequest, RemoveExtensionResponse,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

use super::error::ControlError;

type Answer<T> = Result<T, ControlError>;

/// Makes an extension.
pub fn create(tx: &mut Tx, request: CreateExtensionRequest) -> Answer<CreateExtensionResponse> {
    let name = request
        .annotations
        .as_ref()
        .map_or("", |annotations| &annotations.name);
    if name.is_empty() {
        return Err(ControlError::Invalid(
            "extension name must be provided".to_owned(),
        ));
    }
    let extension = Extension {
        id: new_id(),
        annotations: request.annotations,
        description: request.description,
        ..Extension::default()
    };
    match tx.create_extension(extension) {
        Ok(extension) => Ok(CreateExtensionResponse {
            extension: Some(Extension::clone(&extension)),
        }),
        Err(TxError::NameConflict { name, .. }) => Err(ControlError::Exists(format!(
            "extension {name} already exists"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// One extension, by id.
pub fn get(view: &View, request: &GetExtensionRequest) -> Answer<GetExtensionResponse> {
    let id = &request.extension_id;
    if id.is_empty() {
        return Err(ControlError::Invalid(
            "extension ID must be provided".to_owned(),
        ));
    }
    let extension = view
        .extension(id)
        .ok_or_else(|| ControlError::not_found("extension", id))?;
    Ok(GetExtensionResponse {
        extension: Some(Extension::clone(extension)),
    })
}

/// Removes an extension of which no resource is left.
pub fn remove(tx: &mut Tx, request: &RemoveExtensionRequest) -> Answer<RemoveExtensionResponse> {
    let id = &request.extension_id;
    if id.is_empty() {
        return Err(ControlError::Invalid(
            "extension ID must be provided".to_owned(),
        ));
    }
    let extension = tx
        .extension(id)
        .cloned()
        .ok_or_else(|| ControlError::not_found("extension", id))?;
    let users: Vec<&str> = tx
        .resources_by_kind(extension.name())
        .map(|resource| resource.name())
        .collect();
    if !users.is_empty() {
        let (name, users) = (extension.name(), users.join(", "));
        let text = format!("extension {name} is in use by the following resources: {users}");
        return Err(ControlError::Invalid(text));
    }
    tx.remove_extension(id)?;
    Ok(RemoveExtensionResponse {})
}
