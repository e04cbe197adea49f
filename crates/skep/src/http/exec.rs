//! `/exec/*`, and the making of one.

use http::StatusCode;
use skep_objects::api::exec::{ExecCreate, ExecCreateResponse, ExecStart};

use super::attach;
use super::call::{self, Call, Response};
use super::containers::size;
use super::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    let method = call.method();
    match (method.as_str(), path) {
        ("GET", ["exec", id, "json"]) => call::ok(&call.api.engine.exec_inspect(id).await?),
        ("POST", ["exec", id, "start"]) => start(call, id).await,
        ("POST", ["exec", id, "resize"]) => {
            let (height, width) = size(&call)?;
            call.api.engine.exec_resize(id, height, width).await?;
            Ok(call::empty(StatusCode::OK))
        }
        _ => Err(ApiError::no_route()),
    }
}

/// `POST /containers/{id}/exec`.
pub async fn create(mut call: Call, container: &str) -> Result<Response> {
    let request: ExecCreate = call.json().await?;
    if request.cmd.as_ref().is_none_or(Vec::is_empty) {
        return Err(ApiError::invalid("No exec command specified"));
    }
    let id = call.api.engine.exec_create(container, request).await?;
    call::json(StatusCode::CREATED, &ExecCreateResponse { id })
}

async fn start(mut call: Call, id: &str) -> Result<Response> {
    let request: ExecStart = call.json_or_default().await?;
    match call.api.engine.exec_start(id, &request).await? {
        Some(attached) => Ok(attach::respond(call, attached)),
        None => Ok(call::empty(StatusCode::OK)),
    }
}
