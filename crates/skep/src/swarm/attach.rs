//! Containers outside services on attachable overlay networks.

use std::time::Duration;

use skep_objects::swarmkit::{
    AttachNetworkRequest, AttachNetworkResponse, DetachNetworkRequest, NetworkAttachment,
    NetworkAttachmentConfig,
};
use skep_rpc::Backoff;
use skep_rpc::bootstrap::BootstrapError;
use skep_rpc::client;
use skep_rpc::swarmkit::resource_allocator_client::ResourceAllocatorClient;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::error::SwarmError;
use super::{Standing, SwarmNode};

/// A container's place on a swarm network.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// To be given back with [`SwarmNode::detach_network`].
    pub id: String,
    /// The network with the addresses that the manager chose.
    pub network: NetworkAttachment,
}

impl SwarmNode {
    /// Asks for addresses on a network, by id, for a container.
    pub async fn attach_network(
        &self,
        network_id: &str,
        container_id: &str,
        addresses: Vec<String>,
    ) -> Result<Attachment, SwarmError> {
        let mut client = ResourceAllocatorClient::new(self.channel().await?);
        let mut seen = self
            .inner
            .config
            .attachments
            .watch(container_id, network_id);
        let config = NetworkAttachmentConfig {
            target: network_id.to_owned(),
            addresses,
            ..Default::default()
        };
        let request = AttachNetworkRequest {
            config: Some(config),
            container_id: container_id.to_owned(),
        };
        let wait = self.inner.config.connect_timeout;
        let answer = ask(&mut client, &request, wait).await;
        let id = answer.map_err(BootstrapError::Rpc)?.attachment_id;
        let given = seen.wait_for(|a| a.task_id == id && a.network.is_some());
        // Taken out of the guard: giving the address back waits for the manager.
        let network = {
            let given = tokio::time::timeout(wait, given).await;
            let given = given.ok().and_then(Result::ok);
            given.map(|attached| attached.network.clone().unwrap_or_default())
        };
        match network {
            Some(network) => Ok(Attachment { id, network }),
            None => {
                self.detach_network(&id, network_id, container_id).await?;
                Err(SwarmError::Ended(format!(
                    "attaching to network {network_id} took too long"
                )))
            }
        }
    }

    /// Gives the addresses back.
    pub async fn detach_network(
        &self,
        attachment_id: &str,
        network_id: &str,
        container_id: &str,
    ) -> Result<(), SwarmError> {
        self.inner
            .config
            .attachments
            .forget(container_id, network_id);
        let mut client = ResourceAllocatorClient::new(self.channel().await?);
        let request = DetachNetworkRequest {
            attachment_id: attachment_id.to_owned(),
        };
        client
            .detach_network(request)
            .await
            .map_err(BootstrapError::Rpc)?;
        Ok(())
    }

    /// To a manager, acting as this node.
    async fn channel(&self) -> Result<Channel, SwarmError> {
        let (identity, manager, remote) = {
            let standing = self.standing();
            let Standing::Member(member) = &*standing else {
                return Err(SwarmError::NotMember);
            };
            let manager = member.manager.borrow().clone();
            let status = member.status.borrow();
            let identity = status.identity.clone().ok_or(SwarmError::NotMember)?;
            (identity, manager, status.remotes.first().cloned())
        };
        let channel = match (manager, remote) {
            (Some(manager), _) => client::connect_local(&manager.local_dialer()),
            (None, Some(peer)) => client::connect(&peer.addr, &identity).await,
            (None, None) => return Err(SwarmError::ManagerNotReady),
        };
        Ok(channel.map_err(BootstrapError::from)?)
    }
}

/// Asks until there is an answer other than that the leader does not know this node yet, as after a
/// change of leader.
async fn ask(
    client: &mut ResourceAllocatorClient<Channel>,
    request: &AttachNetworkRequest,
    patience: Duration,
) -> Result<AttachNetworkResponse, Status> {
    let deadline = Instant::now() + patience;
    let mut backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match client.attach_network(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => {
                let again = Instant::now() + backoff.next_delay();
                if status.code() != Code::Unavailable || again > deadline {
                    return Err(status);
                }
                sleep_until(again).await;
            }
        }
    }
}
