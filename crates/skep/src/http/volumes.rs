//! `/volumes/*`: volumes of this host.

use http::StatusCode;
use skep_objects::api::volume::VolumeCreate;

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(mut call: Call, path: &[&str]) -> Result<Response> {
    let engine = call.api.engine.clone();
    let volumes = engine.volumes();
    let method = call.method();
    match (method.as_str(), path) {
        ("GET", ["volumes"]) => call::ok(&volumes.list(&call.query.filters()?).await?),
        ("POST", ["volumes", "create"]) => {
            let request: VolumeCreate = call.json_or_default().await?;
            if request.cluster_volume_spec.is_some() {
                return Err(ApiError::not_implemented(
                    "cluster volumes are not supported by skep",
                ));
            }
            call::json(StatusCode::CREATED, &volumes.create(request).await?)
        }
        ("POST", ["volumes", "prune"]) => {
            let mut filters = call.query.filters()?;
            // Clients below 1.42 mean every unused volume, not only anonymous ones.
            if call.version < super::version::ApiVersion(1, 42) && !filters.contains("all") {
                filters = filters.with("all", "true");
            }
            call::ok(&volumes.prune(&filters).await?)
        }
        ("GET", ["volumes", name]) => call::ok(&volumes.inspect(name).await?),
        ("PUT", ["volumes", _]) => Err(ApiError::not_implemented(
            "cluster volumes are not supported by skep",
        )),
        ("DELETE", ["volumes", name]) => {
            volumes.remove(name, call.query.flag("force")).await?;
            Ok(call::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(ApiError::no_route()),
    }
}
