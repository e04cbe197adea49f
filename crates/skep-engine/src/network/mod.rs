//! Networks of one host, and this host's part of the swarm's.

use skep_objects::api::network as api;
use skep_objects::{skep_v1, swarmkit};

use crate::error::{EngineError, Result};
use crate::filters::Filters;

/// The networks of one host. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Networks {}

impl Networks {
    /// Makes a local network. Swarm networks are made through the manager.
    ///
    /// # Errors
    /// The name is taken, or the subnets are not valid.
    pub async fn create(&self, request: api::NetworkCreate) -> Result<api::NetworkCreateResponse> {
        Err(EngineError::NotSupported(request.name))
    }

    /// Networks on this host, those of the swarm that tasks here use included.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<api::Network>> {
        let _ = filters;
        Ok(Vec::new())
    }

    /// One network by id, name or unique prefix of an id.
    ///
    /// # Errors
    /// `network x not found`.
    pub async fn inspect(&self, reference: &str, verbose: bool) -> Result<api::Network> {
        let _ = verbose;
        Err(EngineError::not_found(format!(
            "network {reference} not found"
        )))
    }

    /// Removes a network.
    ///
    /// # Errors
    /// It is predefined or has endpoints.
    pub async fn remove(&self, reference: &str) -> Result<()> {
        Err(EngineError::NotSupported(reference.to_owned()))
    }

    /// Joins a container, running or not, to a network.
    ///
    /// # Errors
    /// It is joined already.
    pub async fn connect(&self, reference: &str, request: api::NetworkConnect) -> Result<()> {
        let _ = request;
        Err(EngineError::NotSupported(reference.to_owned()))
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// It is not on it.
    pub async fn disconnect(&self, reference: &str, request: api::NetworkDisconnect) -> Result<()> {
        let _ = request;
        Err(EngineError::NotSupported(reference.to_owned()))
    }

    /// Removes networks without endpoints.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<api::NetworkPrune> {
        let _ = filters;
        Err(EngineError::NotSupported("network prune".to_owned()))
    }

    /// Extends a swarm network to this node. Idempotent.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn ensure_swarm_network(&self, network: &swarmkit::Network) -> Result<()> {
        Err(EngineError::NotSupported(network.id.clone()))
    }

    /// Takes a swarm network off this node; refused while containers are on it.
    ///
    /// # Errors
    /// It has endpoints.
    pub async fn remove_swarm_network(&self, id: &str) -> Result<()> {
        Err(EngineError::NotSupported(id.to_owned()))
    }

    /// This node's own address on a network: the ingress network has one for each node.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn set_node_attachment(
        &self,
        attachment: &swarmkit::NetworkAttachment,
    ) -> Result<()> {
        let _ = attachment;
        Err(EngineError::NotSupported("node attachment".to_owned()))
    }

    /// Takes over endpoint tables; when this returns the kernel has them.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn apply_endpoints(&self, message: &skep_v1::EndpointsMessage) -> Result<()> {
        let _ = message;
        Err(EngineError::NotSupported("endpoint tables".to_owned()))
    }
}
