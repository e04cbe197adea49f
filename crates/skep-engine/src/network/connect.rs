//! Joining and leaving networks by hand: the container's side is in `container::endpoints`.

use skep_objects::api::network as api;

use super::Networks;
use crate::error::Result;

impl Networks {
    /// Joins a container, running or not, to a network.
    ///
    /// # Errors
    /// It is joined already.
    pub async fn connect(&self, reference: &str, request: api::NetworkConnect) -> Result<()> {
        let network = self.find(reference)?;
        let endpoint = request.endpoint_config.unwrap_or_default();
        self.core()?
            .connect(network, &request.container, endpoint)
            .await
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// It is not on it.
    pub async fn disconnect(&self, reference: &str, request: api::NetworkDisconnect) -> Result<()> {
        let network = self.find(reference)?;
        self.core()?
            .disconnect(network, &request.container, request.force)
            .await
    }
}
