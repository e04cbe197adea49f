//! Log subscriptions: somebody asks a manager for logs, the manager asks the nodes, and each node
//! sends what its tasks wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use skep_objects::swarmkit::{
    ListenSubscriptionsRequest, LogContext, LogMessage, LogSelector, PublishLogsMessage,
    SubscriptionMessage, Task,
};
use skep_rpc::Backoff;
use skep_rpc::swarmkit::log_broker_client::LogBrokerClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::debug;

use crate::executor::Controller;
use crate::worker::Worker;

/// Lines sent in one message at most.
const BATCH: usize = 256;

/// Serves subscriptions as long as the session lasts.
pub(crate) async fn serve(channel: Channel, worker: Arc<Worker>) {
    let mut backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(8));
    loop {
        match listen(channel.clone(), &worker, &mut backoff).await {
            Err(status) if status.code() == Code::Unimplemented => std::future::pending().await,
            Err(error) => debug!(%error, "log subscriptions are listened for again"),
            Ok(()) => {}
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn listen(
    channel: Channel,
    worker: &Arc<Worker>,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let mut client = LogBrokerClient::new(channel.clone());
    let mut incoming = client
        .listen_subscriptions(ListenSubscriptionsRequest {})
        .await?
        .into_inner();
    // Dropped with this function: no subscription outlives its stream.
    let mut running = JoinSet::new();
    let mut open = BTreeMap::new();
    loop {
        tokio::select! {
            message = incoming.message() => {
                let Some(message) = message? else { return Ok(()) };
                backoff.reset();
                let id = message.id.clone();
                if message.close {
                    if let Some(handle) = open.remove(&id) {
                        tokio::task::AbortHandle::abort(&handle);
                    }
                    continue;
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = open.entry(id) {
                    let publish = publish(channel.clone(), Arc::clone(worker), message);
                    entry.insert(running.spawn(publish));
                }
            }
            Some(_) = running.join_next() => {}
        }
    }
}

/// Sends the logs of the tasks selected until they end, or with `follow` until the manager closes.
async fn publish(channel: Channel, worker: Arc<Worker>, subscription: SubscriptionMessage) {
    let (lines, collected) = mpsc::channel::<LogMessage>(BATCH * 4);
    let (batches, outgoing) = mpsc::channel(4);
    let gather = gather(collected, batches, subscription.id.clone());
    let read = read_tasks(worker, subscription, lines);
    let mut client = LogBrokerClient::new(channel);
    let send = client.publish_logs(ReceiverStream::new(outgoing));
    let (sent, (), ()) = tokio::join!(send, gather, read);
    if let Err(error) = sent {
        debug!(%error, "log subscription ended early");
    }
}

async fn read_tasks(
    worker: Arc<Worker>,
    subscription: SubscriptionMessage,
    lines: mpsc::Sender<LogMessage>,
) {
    let options = subscription.options.unwrap_or_default();
    let selector = subscription.selector.unwrap_or_default();
    let mut changed = worker.watch();
    let mut known = BTreeSet::new();
    let mut readers = JoinSet::new();
    loop {
        changed.borrow_and_update();
        for (task, controller) in worker.tasks().await {
            if is_selected(&selector, &task) && known.insert(task.id.clone()) {
                readers.spawn(read_task(task, controller, options.clone(), lines.clone()));
            }
        }
        if !options.follow {
            break;
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = lines.closed() => return,
        }
    }
    while readers.join_next().await.is_some() {}
}

fn is_selected(selector: &LogSelector, task: &Task) -> bool {
    selector.task_ids.contains(&task.id)
        || selector.service_ids.iter().any(|id| *id == task.service_id)
        || selector.node_ids.iter().any(|id| *id == task.node_id)
}

async fn read_task(
    task: Arc<Task>,
    controller: Arc<dyn Controller>,
    options: skep_objects::swarmkit::LogSubscriptionOptions,
    lines: mpsc::Sender<LogMessage>,
) {
    let mut log = match controller.logs(&options).await {
        Ok(log) => log,
        Err(error) => {
            debug!(%error, task.id = %task.id, "task has no log to read");
            return;
        }
    };
    while let Some(mut line) = log.next().await {
        line.context = Some(LogContext {
            service_id: task.service_id.to_string(),
            node_id: task.node_id.to_string(),
            task_id: task.id.clone(),
        });
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// Puts lines that are there at once into one message; says at the end that no more comes.
async fn gather(
    mut lines: mpsc::Receiver<LogMessage>,
    batches: mpsc::Sender<PublishLogsMessage>,
    subscription_id: String,
) {
    let mut messages = Vec::with_capacity(BATCH);
    while lines.recv_many(&mut messages, BATCH).await > 0 {
        let messages = std::mem::take(&mut messages);
        let subscription_id = subscription_id.clone();
        let batch = PublishLogsMessage {
            subscription_id,
            messages,
            close: false,
        };
        if batches.send(batch).await.is_err() {
            return;
        }
    }
    let close = PublishLogsMessage {
        subscription_id,
        messages: Vec::new(),
        close: true,
    };
    let _ = batches.send(close).await;
}
