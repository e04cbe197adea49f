//! `/nodes/*`.

use http::StatusCode;
use skep_objects::api::node::NodeSpec;
use skep_objects::swarmkit as proto;

use super::{ask, filters, lookup};
use crate::http::call::{self, Call, Response};
use crate::http::convert::node;
use crate::http::error::{ApiError, Result};

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["nodes"]) => list(&call).await,
        ("GET", ["nodes", id]) => {
            let found = lookup::node(&call.api.manager()?, id).await?;
            call::ok(&node::from_node(&found))
        }
        ("DELETE", ["nodes", id]) => remove(&call, id).await,
        ("POST", ["nodes", id, "update"]) => update(call, id).await,
        _ => Err(ApiError::no_route()),
    }
}

async fn list(call: &Call) -> Result<Response> {
    let manager = call.api.manager()?;
    let filters = Some(filters::nodes(&call.query.filters()?)?);
    let nodes = ask!(manager, list_nodes, proto::ListNodesRequest { filters })?.nodes;
    call::ok(&nodes.iter().map(node::from_node).collect::<Vec<_>>())
}

async fn remove(call: &Call, id: &str) -> Result<Response> {
    let manager = call.api.manager()?;
    let node_id = lookup::node(&manager, id).await?.id;
    let force = call.query.flag("force");
    ask!(
        manager,
        remove_node,
        proto::RemoveNodeRequest { node_id, force }
    )?;
    Ok(call::empty(StatusCode::OK))
}

async fn update(mut call: Call, id: &str) -> Result<Response> {
    let spec: NodeSpec = call.json().await?;
    let index = call.query.version("node")?;
    let spec = node::to_spec(spec)?;
    let manager = call.api.manager()?;
    let request = proto::UpdateNodeRequest {
        node_id: lookup::node(&manager, id).await?.id,
        node_version: Some(proto::Version { index }),
        spec: Some(spec),
    };
    ask!(manager, update_node, request)?;
    Ok(call::empty(StatusCode::OK))
}
