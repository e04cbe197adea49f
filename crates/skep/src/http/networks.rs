//! `/networks/*`: local networks from the engine, swarm networks from the managers.

use http::StatusCode;
use skep_objects::api::network::{NetworkConnect, NetworkCreate, NetworkDisconnect};

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(mut call: Call, path: &[&str]) -> Result<Response> {
    let engine = call.api.engine.clone();
    let networks = engine.networks();
    let method = call.method();
    match (method.as_str(), path) {
        ("GET", ["networks"]) => call::ok(&networks.list(&call.query.filters()?).await?),
        ("POST", ["networks", "create"]) => {
            let request: NetworkCreate = call.json().await?;
            call::json(StatusCode::CREATED, &networks.create(request).await?)
        }
        ("POST", ["networks", "prune"]) => call::ok(&networks.prune(&call.query.filters()?).await?),
        ("GET", ["networks", id]) => {
            call::ok(&networks.inspect(id, call.query.flag("verbose")).await?)
        }
        ("DELETE", ["networks", id]) => {
            networks.remove(id).await?;
            Ok(call::empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["networks", id, "connect"]) => {
            let request: NetworkConnect = call.json().await?;
            networks.connect(id, request).await?;
            Ok(call::empty(StatusCode::OK))
        }
        ("POST", ["networks", id, "disconnect"]) => {
            let request: NetworkDisconnect = call.json().await?;
            networks.disconnect(id, request).await?;
            Ok(call::empty(StatusCode::OK))
        }
        _ => Err(ApiError::no_route()),
    }
}
