//! Secrets. Their content goes in and never comes out of the API.

use std::{collections::BTreeMap, sync::Arc};

use skep_objects::{
    ids::new_id,
    swarmkit::{
        CreateSecretRequest, CreateSecretResponse, GetSecretRequest, GetSecretResponse,
        ListSecretsRequest, ListSecretsResponse, RemoveSecretRequest, RemoveSecretResponse, Secret,
        SecretSpec, UpdateSecretRequest, UpdateSecretResponse,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

use super::{
    error::ControlError, filter::name_filter, in_use::refuse_used, validate::validate_object_name,
};

/// Content must be smaller than this many bytes.
const MAX_SECRET_BYTES: usize = 500 * 1024;

type Answer<T> = Result<T, ControlError>;

/// Makes a secret.
pub fn create(tx: &mut Tx, request: CreateSecretRequest) -> Answer<CreateSecretResponse> {
    let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
    validate(&spec)?;
    let secret = Secret {
        id: new_id(),
        spec: Some(spec),
        ..Secret::default()
    };
    match tx.create_secret(secret) {
        Ok(secret) => Ok(CreateSecretResponse {
            secret: Some(without_data(&secret)),
        }),
        Err(TxError::NameConflict { name, .. }) => Err(ControlError::Exists(format!(
            "secret {name} already exists"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// One secret, by id.
pub fn get(view: &View, request: &GetSecretRequest) -> Answer<GetSecretResponse> {
    let secret = find(view, &request.secret_id)?;
    Ok(GetSecretResponse {
        secret: Some(without_data(secret)),
    })
}

/// The secrets that pass the filters, without those that the swarm itself made.
pub fn list(view: &View, request: ListSecretsRequest) -> Answer<ListSecretsResponse> {
    let filters = request.filters.unwrap_or_default();
    let empty = BTreeMap::new();
    let passing = view.secrets().filter(|secret| {
        let annotations = secret
            .spec
            .as_ref()
            .and_then(|spec| spec.annotations.as_ref());
        let labels = annotations.map_or(&empty, |annotations| &annotations.labels);
        !secret.internal && name_filter!(filters).passes(&secret.id, secret.name(), labels)
    });
    Ok(ListSecretsResponse {
        secrets: passing.map(|secret| without_data(secret)).collect(),
    })
}

/// Changes a secret's labels: tasks that have the content would not notice another.
pub fn update(tx: &mut Tx, request: UpdateSecretRequest) -> Answer<UpdateSecretResponse> {
    let (Some(version), Some(spec)) = (request.secret_version, request.spec) else {
        return Err(ControlError::missing_argument());
    };
    if request.secret_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let secret = find(tx, &request.secret_id)?.clone();
    let stored = secret.spec.clone().unwrap_or_default();
    let name = |spec: &SecretSpec| {
        spec.annotations
            .as_ref()
            .map(|annotations| annotations.name.clone())
    };
    let other_data = !spec.data.is_empty() && spec.data != stored.data;
    if name(&spec) != name(&stored) || other_data || spec.driver != stored.driver {
        return Err(ControlError::Invalid(
            "only updates to Labels are allowed".to_owned(),
        ));
    }
    let mut changed = Secret::clone(&secret);
    changed.meta.get_or_insert_default().version = Some(version);
    changed.spec = Some(SecretSpec {
        annotations: spec.annotations,
        ..stored
    });
    let secret = tx.update_secret(changed)?;
    Ok(UpdateSecretResponse {
        secret: Some(without_data(&secret)),
    })
}

/// Removes a secret that no service refers to.
pub fn remove(tx: &mut Tx, request: &RemoveSecretRequest) -> Answer<RemoveSecretResponse> {
    let secret = find(tx, &request.secret_id)?.clone();
    refuse_used("secret", secret.name(), tx.services_by_secret(&secret.id))?;
    tx.remove_secret(&secret.id)?;
    Ok(RemoveSecretResponse {})
}

fn validate(spec: &SecretSpec) -> Answer<()> {
    validate_object_name(spec.annotations.as_ref())?;
    let refuse = |text: String| Err(ControlError::Invalid(text));
    if let Some(driver) = &spec.driver {
        if driver.name.is_empty() {
            return refuse("secret driver must have a name".to_owned());
        }
        if !spec.data.is_empty() {
            return refuse("secret driver and data cannot both be set".to_owned());
        }
        // Taken, it would leave every task that uses it without its content.
        return Err(ControlError::Unimplemented(format!(
            "secret driver {}: drivers are plugins, and skep does not run plugins",
            driver.name
        )));
    }
    if spec.data.is_empty() || spec.data.len() >= MAX_SECRET_BYTES {
        return refuse(format!(
            "secret data must be larger than 0 and less than {MAX_SECRET_BYTES} bytes"
        ));
    }
    Ok(())
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Arc<Secret>> {
    if id.is_empty() {
        return Err(ControlError::Invalid(
            "secret ID must be provided".to_owned(),
        ));
    }
    view.secret(id)
        .ok_or_else(|| ControlError::not_found("secret", id))
}

fn without_data(secret: &Secret) -> Secret {
    let mut secret = secret.clone();
    if let Some(spec) = &mut secret.spec {
        spec.data.clear();
    }
    secret
}
