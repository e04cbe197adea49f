//! What the API asks of this node as a member of a swarm.

use async_trait::async_trait;
use skep_manager::metrics::Family;
use skep_objects::ErrorKind;
use skep_objects::api::swarm::{Info, InitRequest, JoinRequest};
use skep_objects::swarmkit::NetworkAttachment;

use super::cluster::Manager;
use super::error::{ApiError, Result};
use super::system;
use crate::swarm::Finding;

/// This node's membership; the node itself, or a stand-in for a host outside any swarm.
#[async_trait]
pub trait Membership: std::fmt::Debug + Send + Sync + 'static {
    /// Makes a swarm of this node; its node id.
    async fn init(&self, request: InitRequest) -> Result<String>;
    /// Joins the swarm of another node.
    async fn join(&self, request: JoinRequest) -> Result<()>;
    /// Leaves the swarm; a manager only by `force`.
    async fn leave(&self, force: bool) -> Result<()>;
    /// Gives this node other addresses: those of the request that are not empty.
    async fn move_to(&self, request: InitRequest) -> Result<()> {
        let _ = request;
        Err(not_a_member())
    }
    /// Unlocks a manager that was started with autolock on.
    async fn unlock(&self, key: &str) -> Result<()>;
    /// What unlocks the managers of this swarm; empty without autolock.
    async fn unlock_key(&self) -> Result<String>;
    /// Everything of the swarm, sealed with the key given, or with the unlock key, or with a new
    /// one, which is answered.
    async fn backup(&self, key: &str) -> Result<(Vec<u8>, Option<String>)> {
        let _ = key;
        Err(no_swarm())
    }
    /// Makes a swarm of this node out of a backup; its node id.
    async fn restore(&self, file: &[u8], key: &str, request: InitRequest) -> Result<String> {
        let _ = (file, key, request);
        Err(closed())
    }
    /// What the manager in this node counts.
    fn metrics(&self) -> Vec<Family> {
        Vec::new()
    }
    /// Everything that can be looked at from here, and what is wrong.
    async fn doctor(&self) -> Result<Vec<Finding>> {
        Err(not_a_member())
    }
    /// Every object of the swarm, for people to read; none on a node that is no manager.
    fn objects(&self) -> Option<serde_json::Value> {
        None
    }
    /// The block `Swarm` of `info`.
    async fn info(&self) -> Info;
    /// The header `Swarm` of `_ping`: `inactive`, `active/manager`, ...
    fn header(&self) -> String;
    /// Asks for an address on a network for a container outside services: the attachment's id and
    /// what it gives.
    async fn attach(
        &self,
        network: &str,
        holder: &str,
        addresses: Vec<String>,
    ) -> Result<(String, NetworkAttachment)> {
        let _ = (network, holder, addresses);
        Err(no_swarm())
    }
    /// Gives an address back.
    async fn detach(&self, attachment: &str, network: &str, holder: &str) -> Result<()> {
        let _ = (attachment, network, holder);
        Err(not_a_member())
    }
    /// The control API, or why this node has none.
    fn manager(&self) -> Result<Manager>;
    /// Docker's way of asking for logs of tasks on all nodes, or why this node cannot.
    fn logs(&self) -> Result<LogSource>;
}

/// Subscribes to logs through the managers.
pub type LogSource = std::sync::Arc<dyn Logs>;

/// The managers' log broker.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Logs of the tasks selected, as their nodes send them.
    async fn subscribe(
        &self,
        request: skep_objects::swarmkit::SubscribeLogsRequest,
    ) -> Result<skep_engine::BoxStream<Result<skep_objects::swarmkit::SubscribeLogsMessage>>>;
}

/// A host that belongs to no swarm and cannot enter one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outsider;

fn no_swarm() -> ApiError {
    let text = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" \
                to connect this node to swarm and try again.";
    ApiError::new(ErrorKind::Unavailable, text)
}

fn not_a_member() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "This node is not part of a swarm")
}

fn closed() -> ApiError {
    ApiError::not_implemented("this daemon was built without a swarm")
}

#[async_trait]
impl Membership for Outsider {
    async fn init(&self, _: InitRequest) -> Result<String> {
        Err(closed())
    }

    async fn join(&self, _: JoinRequest) -> Result<()> {
        Err(closed())
    }

    async fn leave(&self, _: bool) -> Result<()> {
        Err(not_a_member())
    }

    async fn unlock(&self, _: &str) -> Result<()> {
        Err(not_a_member())
    }

    async fn unlock_key(&self) -> Result<String> {
        Err(no_swarm())
    }

    async fn info(&self) -> Info {
        system::inactive()
    }

    fn header(&self) -> String {
        "inactive".to_owned()
    }

    fn manager(&self) -> Result<Manager> {
        Err(no_swarm())
    }

    fn logs(&self) -> Result<LogSource> {
        Err(no_swarm())
    }
}
