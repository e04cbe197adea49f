//! Configs.

use std::{collections::BTreeMap, sync::Arc};

use skep_objects::{
    ids::new_id,
    swarmkit::{
        Config, ConfigSpec, CreateConfigRequest, CreateConfigResponse, GetConfigRequest,
        GetConfigResponse, ListConfigsRequest, ListConfigsResponse, RemoveConfigRequest,
        RemoveConfigResponse, UpdateConfigRequest, UpdateConfigResponse,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

use super::{
    error::ControlError, filter::name_filter, in_use::refuse_used, validate::validate_object_name,
};

/// Content must be smaller than this many bytes.
const MAX_CONFIG_BYTES: usize = 1000 * 1024;

type Answer<T> = Result<T, ControlError>;

/// Makes a config.
pub fn create(tx: &mut Tx, request: CreateConfigRequest) -> Answer<CreateConfigResponse> {
    let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
    validate_object_name(spec.annotations.as_ref())?;
    if spec.data.is_empty() || spec.data.len() >= MAX_CONFIG_BYTES {
        return Err(ControlError::Invalid(format!(
            "config data must be larger than 0 and less than {MAX_CONFIG_BYTES} bytes"
        )));
    }
    match tx.create_config(Config {
        id: new_id(),
        spec: Some(spec),
        ..Config::default()
    }) {
        Ok(config) => Ok(CreateConfigResponse {
            config: Some(Config::clone(&config)),
        }),
        Err(TxError::NameConflict { name, .. }) => Err(ControlError::Exists(format!(
            "config {name} already exists"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// One config, by id.
pub fn get(view: &View, request: &GetConfigRequest) -> Answer<GetConfigResponse> {
    let config = find(view, &request.config_id)?;
    Ok(GetConfigResponse {
        config: Some(Config::clone(config)),
    })
}

/// The configs that pass the filters.
pub fn list(view: &View, request: ListConfigsRequest) -> Answer<ListConfigsResponse> {
    let filters = request.filters.unwrap_or_default();
    let empty = BTreeMap::new();
    let passing = view.configs().filter(|config| {
        let annotations = config
            .spec
            .as_ref()
            .and_then(|spec| spec.annotations.as_ref());
        let labels = annotations.map_or(&empty, |annotations| &annotations.labels);
        name_filter!(filters).passes(&config.id, config.name(), labels)
    });
    Ok(ListConfigsResponse {
        configs: passing.map(|config| Config::clone(config)).collect(),
    })
}

/// Changes a config's labels: tasks that have the content would not notice another.
pub fn update(tx: &mut Tx, request: UpdateConfigRequest) -> Answer<UpdateConfigResponse> {
    let (Some(version), Some(spec)) = (request.config_version, request.spec) else {
        return Err(ControlError::missing_argument());
    };
    if request.config_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    let config = find(tx, &request.config_id)?.clone();
    let stored = config.spec.clone().unwrap_or_default();
    let name = |spec: &ConfigSpec| {
        spec.annotations
            .as_ref()
            .map(|annotations| annotations.name.clone())
    };
    let other_data = !spec.data.is_empty() && spec.data != stored.data;
    if name(&spec) != name(&stored) || other_data {
        return Err(ControlError::Invalid(
            "only updates to Labels are allowed".to_owned(),
        ));
    }
    let mut changed = Config::clone(&config);
    changed.meta.get_or_insert_default().version = Some(version);
    changed.spec = Some(ConfigSpec {
        annotations: spec.annotations,
        ..stored
    });
    let config = tx.update_config(changed)?;
    Ok(UpdateConfigResponse {
        config: Some(Config::clone(&config)),
    })
}

/// Removes a config that no service refers to.
pub fn remove(tx: &mut Tx, request: &RemoveConfigRequest) -> Answer<RemoveConfigResponse> {
    let config = find(tx, &request.config_id)?.clone();
    refuse_used("config", config.name(), tx.services_by_config(&config.id))?;
    tx.remove_config(&config.id)?;
    Ok(RemoveConfigResponse {})
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Arc<Config>> {
    if id.is_empty() {
        return Err(ControlError::Invalid(
            "config ID must be provided".to_owned(),
        ));
    }
    view.config(id)
        .ok_or_else(|| ControlError::not_found("config", id))
}
