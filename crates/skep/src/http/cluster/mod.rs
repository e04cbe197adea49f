//! What managers answer: swarm, nodes, services, tasks, secrets, configs. Every route asks the
//! control API of this host's manager, which forwards to the leader.

mod backup;
mod configs;
pub mod events;
mod filters;
mod logs;
pub mod lookup;
pub mod networks;
mod nodes;
mod pin;
mod rebalance;
mod secrets;
mod services;
mod swarm;
mod tasks;

use std::sync::Arc;

use skep_rpc::swarmkit::control_server::Control;

use super::call::{Call, Response};
use super::error::{ApiError, Result};

/// The control API, of this node's own manager.
pub type Manager = Arc<dyn Control>;

/// One question to the manager.
macro_rules! ask {
    ($manager:expr, $method:ident, $request:expr) => {
        $manager
            .$method(tonic::Request::new($request))
            .await
            .map(tonic::Response::into_inner)
    };
}
use ask;

/// Picks the file.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match path.first().copied().unwrap_or_default() {
        "swarm" => swarm::route(call, path).await,
        "nodes" => nodes::route(call, path).await,
        "services" => services::route(call, path).await,
        "tasks" => tasks::route(call, path).await,
        "secrets" => secrets::route(call, path).await,
        "configs" => configs::route(call, path).await,
        _ => Err(ApiError::no_route()),
    }
}
