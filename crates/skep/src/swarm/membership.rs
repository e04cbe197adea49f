//! This node's membership as the API sees it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use skep_engine::BoxStream;
use skep_manager::metrics::Family;
use skep_objects::api::swarm::{Info, InitRequest, JoinRequest};
use skep_objects::swarmkit::{NetworkAttachment, SubscribeLogsMessage, SubscribeLogsRequest};
use skep_rpc::client;
use skep_rpc::status::{kind_of, rpc_text};
use skep_rpc::swarmkit::logs_client::LogsClient;
use skep_rpc::{LocalDialer, bootstrap::BootstrapError};

use super::{Finding, SwarmError, SwarmNode, info, objects};
use crate::http::cluster::Manager;
use crate::http::error::{ApiError, Result};
use crate::http::membership::{LogSource, Logs, Membership};

impl From<SwarmError> for ApiError {
    fn from(error: SwarmError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

#[async_trait]
impl Membership for SwarmNode {
    async fn init(&self, request: InitRequest) -> Result<String> {
        Ok(SwarmNode::init(self, request).await?)
    }

    async fn join(&self, request: JoinRequest) -> Result<()> {
        Ok(SwarmNode::join(self, request).await?)
    }

    async fn leave(&self, force: bool) -> Result<()> {
        Ok(SwarmNode::leave(self, force).await?)
    }

    async fn move_to(&self, request: InitRequest) -> Result<()> {
        Ok(SwarmNode::move_to(self, request).await?)
    }

    async fn unlock(&self, key: &str) -> Result<()> {
        Ok(SwarmNode::unlock(self, key).await?)
    }

    async fn unlock_key(&self) -> Result<String> {
        Ok(SwarmNode::unlock_key(self).await?)
    }

    fn metrics(&self) -> Vec<Family> {
        let manager = info::manager(&self.standing());
        manager.map(|manager| manager.metrics()).unwrap_or_default()
    }

    async fn doctor(&self) -> Result<Vec<Finding>> {
        Ok(SwarmNode::doctor(self).await?)
    }

    fn objects(&self) -> Option<serde_json::Value> {
        let manager = info::manager(&self.standing()).ok()?;
        Some(objects::readable(&manager.capture().0))
    }

    async fn backup(&self, key: &str) -> Result<(Vec<u8>, Option<String>)> {
        Ok(SwarmNode::backup(self, key).await?)
    }

    async fn restore(&self, file: &[u8], key: &str, request: InitRequest) -> Result<String> {
        Ok(SwarmNode::restore(self, file, key, request).await?)
    }

    async fn attach(
        &self,
        network: &str,
        holder: &str,
        addresses: Vec<String>,
    ) -> Result<(String, NetworkAttachment)> {
        let given = self.attach_network(network, holder, addresses).await?;
        Ok((given.id, given.network))
    }

    async fn detach(&self, attachment: &str, network: &str, holder: &str) -> Result<()> {
        Ok(self.detach_network(attachment, network, holder).await?)
    }

    async fn info(&self) -> Info {
        SwarmNode::info(self).await
    }

    fn header(&self) -> String {
        SwarmNode::header(self)
    }

    fn manager(&self) -> Result<Manager> {
        Ok(self.control()?)
    }

    fn logs(&self) -> Result<LogSource> {
        let dialer = info::manager(&self.standing())?.local_dialer();
        Ok(Arc::new(LocalLogs(dialer)))
    }
}

/// The log broker, by way of the manager in this process.
struct LocalLogs(LocalDialer);

#[async_trait]
impl Logs for LocalLogs {
    async fn subscribe(
        &self,
        request: SubscribeLogsRequest,
    ) -> Result<BoxStream<Result<SubscribeLogsMessage>>> {
        let refuse = |s: tonic::Status| ApiError::new(kind_of(s.code()), rpc_text(&s));
        let channel = client::connect_local(&self.0);
        let channel = channel.map_err(|e| SwarmError::from(BootstrapError::from(e)))?;
        let mut client = LogsClient::new(channel).max_decoding_message_size(usize::MAX);
        let stream = client
            .subscribe_logs(request)
            .await
            .map_err(refuse)?
            .into_inner();
        Ok(Box::pin(stream.map(move |message| message.map_err(refuse))))
    }
}
