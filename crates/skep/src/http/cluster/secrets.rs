//! `/secrets/*`.

use http::StatusCode;
use skep_objects::api::secret::{IdResponse, SecretSpec};
use skep_objects::swarmkit as proto;

use super::{ask, filters, lookup};
use crate::http::call::{self, Call, Response};
use crate::http::convert::secret;
use crate::http::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["secrets"]) => list(&call).await,
        ("POST", ["secrets", "create"]) => create(call).await,
        ("GET", ["secrets", id]) => {
            let found = lookup::secret(&call.api.manager()?, id).await?;
            call::ok(&secret::from_secret(&found))
        }
        ("DELETE", ["secrets", id]) => remove(&call, id).await,
        ("POST", ["secrets", id, "update"]) => update(call, id).await,
        _ => Err(ApiError::no_route()),
    }
}

async fn list(call: &Call) -> Result<Response> {
    let manager = call.api.manager()?;
    let filters = Some(filters::secrets(&call.query.filters()?)?);
    let secrets = ask!(manager, list_secrets, proto::ListSecretsRequest { filters })?.secrets;
    call::ok(&secrets.iter().map(secret::from_secret).collect::<Vec<_>>())
}

async fn create(mut call: Call) -> Result<Response> {
    let spec: SecretSpec = call.json().await?;
    let manager = call.api.manager()?;
    let request = proto::CreateSecretRequest {
        spec: Some(secret::to_secret_spec(spec)),
    };
    let created = ask!(manager, create_secret, request)?
        .secret
        .unwrap_or_default();
    call::json(StatusCode::CREATED, &IdResponse { id: created.id })
}

async fn remove(call: &Call, id: &str) -> Result<Response> {
    let manager = call.api.manager()?;
    let secret_id = lookup::secret(&manager, id).await?.id;
    ask!(
        manager,
        remove_secret,
        proto::RemoveSecretRequest { secret_id }
    )?;
    Ok(call::empty(StatusCode::NO_CONTENT))
}

async fn update(mut call: Call, id: &str) -> Result<Response> {
    let spec: SecretSpec = call.json().await?;
    let index = call.query.version("secret")?;
    let manager = call.api.manager()?;
    let request = proto::UpdateSecretRequest {
        secret_id: lookup::secret(&manager, id).await?.id,
        secret_version: Some(proto::Version { index }),
        spec: Some(secret::to_secret_spec(spec)),
    };
    ask!(manager, update_secret, request)?;
    Ok(call::empty(StatusCode::OK))
}
