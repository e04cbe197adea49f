//! `/swarm/*`: the swarm itself, and this node's membership.

use http::StatusCode;
use skep_objects::api::swarm::{InitRequest, JoinRequest, SwarmSpec, UnlockKey};
use skep_objects::swarmkit as proto;

use super::{ask, backup, lookup};
use crate::http::call::{self, Call, Response};
use crate::http::convert::swarm;
use crate::http::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(mut call: Call, path: &[&str]) -> Result<Response> {
    let node = call.api.swarm.clone();
    match (call.method().as_str(), path) {
        ("GET", ["swarm"]) => {
            let cluster = lookup::cluster(&call.api.manager()?).await?;
            call::ok(&swarm::from_cluster(&cluster))
        }
        ("POST", ["swarm", "init"]) => {
            let request: InitRequest = call.json().await?;
            call::ok(&node.init(request).await?)
        }
        ("POST", ["swarm", "join"]) => {
            let request: JoinRequest = call.json().await?;
            node.join(request).await?;
            Ok(call::empty(StatusCode::OK))
        }
        ("POST", ["swarm", "leave"]) => {
            node.leave(call.query.flag("force")).await?;
            Ok(call::empty(StatusCode::OK))
        }
        ("POST", ["swarm", "move"]) => {
            let request: InitRequest = call.json().await?;
            node.move_to(request).await?;
            Ok(call::empty(StatusCode::OK))
        }
        ("POST", ["swarm", "update"]) => update(call).await,
        ("GET", ["swarm", "doctor"]) => call::ok(&node.doctor().await?),
        ("POST", ["swarm", "backup"]) => backup::make(call).await,
        ("POST", ["swarm", "restore"]) => backup::restore(call).await,
        ("GET", ["swarm", "unlockkey"]) => call::ok(&UnlockKey {
            unlock_key: node.unlock_key().await?,
        }),
        ("POST", ["swarm", "unlock"]) => {
            let key: UnlockKey = call.json().await?;
            node.unlock(&key.unlock_key).await?;
            Ok(call::empty(StatusCode::OK))
        }
        _ => Err(ApiError::no_route()),
    }
}

async fn update(mut call: Call) -> Result<Response> {
    let spec: SwarmSpec = call.json().await?;
    let index = call.query.version("swarm")?;
    let rotation = proto::KeyRotation {
        worker_join_token: rotates(&call, "rotateWorkerToken")?,
        manager_join_token: rotates(&call, "rotateManagerToken")?,
        manager_unlock_key: rotates(&call, "rotateManagerUnlockKey")?,
    };
    let manager = call.api.manager()?;
    let cluster = lookup::cluster(&manager).await?;
    // The body is the whole spec: what it leaves out goes back to its default.
    let spec = swarm::to_spec(spec, swarm::default_spec())?;
    let request = proto::UpdateClusterRequest {
        cluster_id: cluster.id,
        cluster_version: Some(proto::Version { index }),
        spec: Some(spec),
        rotation: Some(rotation),
    };
    ask!(manager, update_cluster, request)?;
    Ok(call::empty(StatusCode::OK))
}

/// A boolean as Go parses it; anything else is refused.
fn rotates(call: &Call, name: &str) -> Result<bool> {
    match call.query.get(name) {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        other => Err(ApiError::invalid(format!(
            "invalid value for {name}: strconv.ParseBool: parsing {other:?}: invalid syntax"
        ))),
    }
}
