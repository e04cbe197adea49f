//! `/configs/*`.

use http::StatusCode;
use skep_objects::api::config::ConfigSpec;
use skep_objects::api::secret::IdResponse;
use skep_objects::swarmkit as proto;

use super::{ask, filters, lookup};
use crate::http::call::{self, Call, Response};
use crate::http::convert::secret;
use crate::http::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["configs"]) => list(&call).await,
        ("POST", ["configs", "create"]) => create(call).await,
        ("GET", ["configs", id]) => {
            let found = lookup::config(&call.api.manager()?, id).await?;
            call::ok(&secret::from_config(&found))
        }
        ("DELETE", ["configs", id]) => remove(&call, id).await,
        ("POST", ["configs", id, "update"]) => update(call, id).await,
        _ => Err(ApiError::no_route()),
    }
}

async fn list(call: &Call) -> Result<Response> {
    let manager = call.api.manager()?;
    let filters = Some(filters::configs(&call.query.filters()?)?);
    let configs = ask!(manager, list_configs, proto::ListConfigsRequest { filters })?.configs;
    call::ok(&configs.iter().map(secret::from_config).collect::<Vec<_>>())
}

async fn create(mut call: Call) -> Result<Response> {
    let spec: ConfigSpec = call.json().await?;
    let manager = call.api.manager()?;
    let request = proto::CreateConfigRequest {
        spec: Some(secret::to_config_spec(spec)),
    };
    let created = ask!(manager, create_config, request)?
        .config
        .unwrap_or_default();
    call::json(StatusCode::CREATED, &IdResponse { id: created.id })
}

async fn remove(call: &Call, id: &str) -> Result<Response> {
    let manager = call.api.manager()?;
    let config_id = lookup::config(&manager, id).await?.id;
    ask!(
        manager,
        remove_config,
        proto::RemoveConfigRequest { config_id }
    )?;
    Ok(call::empty(StatusCode::NO_CONTENT))
}

async fn update(mut call: Call, id: &str) -> Result<Response> {
    let spec: ConfigSpec = call.json().await?;
    let index = call.query.version("config")?;
    let manager = call.api.manager()?;
    let request = proto::UpdateConfigRequest {
        config_id: lookup::config(&manager, id).await?.id,
        config_version: Some(proto::Version { index }),
        spec: Some(secret::to_config_spec(spec)),
    };
    ask!(manager, update_config, request)?;
    Ok(call::empty(StatusCode::OK))
}
