//! SwarmKit's Logs and LogBroker services.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use skep_objects::swarmkit::{
    ListenSubscriptionsRequest, PublishLogsMessage, PublishLogsResponse, SubscribeLogsMessage,
    SubscribeLogsRequest, SubscriptionMessage,
};
use skep_rpc::{
    caller_of,
    swarmkit::{log_broker_server, logs_server::Logs},
};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{broker::LogBroker, subscription::Subscription};
use crate::{dispatcher::Dispatcher, slot::Slot};

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves those who want to read logs.
#[derive(Debug, Clone)]
pub struct LogsServer(Slot<LogBroker>);

/// Serves the nodes that have them.
#[derive(Debug, Clone)]
pub struct LogBrokerServer {
    broker: Slot<LogBroker>,
    dispatcher: Slot<Dispatcher>,
}

impl LogsServer {
    /// A server of the broker in this slot.
    pub fn new(broker: Slot<LogBroker>) -> Self {
        Self(broker)
    }
}

impl LogBrokerServer {
    /// A server of the broker in this slot, for nodes with a session of the dispatcher in the other.
    pub fn new(broker: Slot<LogBroker>, dispatcher: Slot<Dispatcher>) -> Self {
        Self { broker, dispatcher }
    }
}

#[tonic::async_trait]
impl Logs for LogsServer {
    type SubscribeLogsStream = Messages<SubscribeLogsMessage>;

    async fn subscribe_logs(
        &self,
        request: Request<SubscribeLogsRequest>,
    ) -> Result<Response<Self::SubscribeLogsStream>, Status> {
        let request = request.into_inner();
        let selector = request.selector.unwrap_or_default();
        let logs = self
            .0
            .get()?
            .subscribe(selector, request.options.unwrap_or_default())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(logs))))
    }
}

/// A node's stream of subscriptions; the broker forgets the node with it.
struct Listening {
    broker: Arc<LogBroker>,
    node: String,
    number: u64,
    messages: UnboundedReceiverStream<SubscriptionMessage>,
}

impl Stream for Listening {
    type Item = Result<SubscriptionMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages
            .poll_next_unpin(context)
            .map(|message| message.map(Ok))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.broker.unlisten(&self.node, self.number);
    }
}

#[tonic::async_trait]
impl log_broker_server::LogBroker for LogBrokerServer {
    type ListenSubscriptionsStream = Messages<SubscriptionMessage>;

    async fn listen_subscriptions(
        &self,
        request: Request<ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let broker = self.broker.get()?;
        let node = caller_of(&request)?.node_id;
        let session = self.dispatcher.get()?.current_session(&node)?;
        let (number, messages) = broker.listen(&node)?;
        let messages = UnboundedReceiverStream::new(messages);
        let listening = Listening {
            broker,
            node,
            number,
            messages,
        };
        let ended = session.ended.cancelled_owned();
        Ok(Response::new(Box::pin(listening.take_until(ended))))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<PublishLogsMessage>>,
    ) -> Result<Response<PublishLogsResponse>, Status> {
        let broker = self.broker.get()?;
        let node = caller_of(&request)?.node_id;
        let mut messages = request.into_inner();
        let mut subscription: Option<Arc<Subscription>> = None;
        let result = loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    match publish(&broker, &node, &mut subscription, message).await {
                        Ok(false) => {}
                        Ok(true) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(subscription) = subscription {
            let problem = result.as_ref().err();
            let problem = problem.map(|_| format!("node {node} disconnected unexpectedly"));
            subscription.done(&node, problem);
        }
        result.map(|()| Response::new(PublishLogsResponse {}))
    }
}

/// Hands on one message of a node; answers whether it was the last.
async fn publish(
    broker: &LogBroker,
    node: &str,
    subscription: &mut Option<Arc<Subscription>>,
    message: PublishLogsMessage,
) -> Result<bool, Status> {
    let subscription = match subscription {
        Some(subscription) => subscription,
        None => subscription.insert(broker.find(&message.subscription_id, node)?),
    };
    let mut messages = Vec::with_capacity(message.messages.len());
    for line in message.messages {
        let context = line.context.as_ref();
        let is_own = context.map(|context| broker.is_own(node, subscription, context));
        match is_own.unwrap_or(Ok(false)) {
            Ok(true) => messages.push(line),
            Ok(false) => {}
            Err(refused) => return Err(refused),
        }
    }
    if !messages.is_empty() {
        let message = SubscribeLogsMessage { messages };
        subscription.deliver(node, message).await?;
    }
    Ok(message.close)
}
