//! The loop around the hub, and skep's Endpoints service.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use skep_objects::skep_v1::{EndpointsAck, EndpointsMessage};
use skep_rpc::{caller_of, skep_v1::endpoints_server::Endpoints};
use skep_store::{Store, View, Watch};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::hub::{Hub, StreamId};
use crate::{dispatcher::Dispatcher, slot::Slot, usage::UsageBook};

/// How many messages of streams are taken before the next look at the store.
const COMMANDS: usize = 256;
/// Messages that may wait for a stream to be read. No more are under way to one that acknowledges
/// what it has read; another ends.
const OUTGOING: usize = 8;

type Outgoing = mpsc::Sender<Result<EndpointsMessage, Status>>;

/// What streams tell the loop.
#[derive(Debug)]
enum Command {
    Open {
        node: String,
        out: Outgoing,
        id: oneshot::Sender<StreamId>,
    },
    Acknowledge(StreamId, EndpointsAck),
}

/// The endpoint tables of a leader.
#[derive(Debug)]
pub struct EndpointTables {
    /// Streams wait while there are too many.
    commands: mpsc::Sender<Command>,
    /// Streams that ended, which must not wait; one message for each.
    ended: mpsc::UnboundedSender<StreamId>,
    usage: UsageBook,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl EndpointTables {
    /// Builds the tables and follows the store. What nodes say of their tasks' load goes into the book.
    pub fn spawn(store: &Store, usage: UsageBook) -> Arc<Self> {
        let (view, watch) = store.watch();
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (ended, endings) = mpsc::unbounded_channel();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(run(view, watch, inbox, endings)),
        );
        tasks.close();
        Arc::new(Self {
            commands,
            ended,
            usage,
            stop,
            tasks,
        })
    }

    /// Ends every stream.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn run(
    view: View,
    mut watch: Watch,
    mut inbox: mpsc::Receiver<Command>,
    mut endings: mpsc::UnboundedReceiver<StreamId>,
) {
    let mut hub = Hub::load(view, Instant::now());
    let mut outgoing: BTreeMap<StreamId, Outgoing> = BTreeMap::new();
    let mut commands = Vec::with_capacity(COMMANDS);
    loop {
        let limit = hub.next_limit();
        tokio::select! {
            commit = watch.recv_commit() => match commit {
                Some(commit) => hub.follow(&commit, Instant::now()),
                None => return,
            },
            taken = inbox.recv_many(&mut commands, COMMANDS) => {
                if taken == 0 {
                    return;
                }
                commands.drain(..).for_each(|command| command.apply(&mut hub, &mut outgoing));
            }
            Some(id) = endings.recv() => {
                hub.close(id);
                outgoing.remove(&id);
            }
            () = sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => {
                hub.expire(Instant::now());
            }
        }
        for (id, message) in hub.messages() {
            // A stream that is gone tells so by itself.
            if let Some(out) = outgoing.get(&id)
                && let Err(TrySendError::Full(_)) = out.try_send(Ok(message))
            {
                hub.close(id);
                outgoing.remove(&id);
            }
        }
    }
}

impl Command {
    fn apply(self, hub: &mut Hub, outgoing: &mut BTreeMap<StreamId, Outgoing>) {
        match self {
            Command::Open { node, out, id } => {
                if let Some(old) = hub.stream_of(&node) {
                    outgoing.remove(&old);
                }
                let opened = hub.open(&node);
                outgoing.insert(opened, out);
                if id.send(opened).is_err() {
                    hub.close(opened);
                    outgoing.remove(&opened);
                }
            }
            Command::Acknowledge(id, ack) => {
                hub.withdraw(id, &ack.withdrawn_tasks, Instant::now());
                hub.acknowledge(id, ack.sequence);
            }
        }
    }
}

/// Serves the tables of the leader that runs here at the moment.
#[derive(Debug, Clone)]
pub struct EndpointsServer {
    tables: Slot<EndpointTables>,
    dispatcher: Slot<Dispatcher>,
}

impl EndpointsServer {
    /// A server of the tables in this slot, for nodes with a session of the dispatcher in the other.
    pub fn new(tables: Slot<EndpointTables>, dispatcher: Slot<Dispatcher>) -> Self {
        Self { tables, dispatcher }
    }
}

#[tonic::async_trait]
impl Endpoints for EndpointsServer {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<EndpointsMessage, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<EndpointsAck>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (tables, dispatcher) = (self.tables.get()?, self.dispatcher.get()?);
        let node = caller_of(&request)?.node_id;
        let mut acks = request.into_inner();
        let first = acks.message().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("session id missing"))?;
        let session = dispatcher.session(&node, &first.session_id)?;
        let (out, incoming) = mpsc::channel(OUTGOING);
        let (reply, id) = oneshot::channel();
        let stopped = || Status::aborted("endpoint tables are stopped");
        let open = Command::Open {
            node: node.clone(),
            out,
            id: reply,
        };
        tables.commands.send(open).await.map_err(|_| stopped())?;
        let id = id.await.map_err(|_| stopped())?;
        let reader = AckReader {
            usage: tables.usage.clone(),
            tables,
            dispatcher,
            node,
            session: first.session_id,
            id,
        };
        tokio::spawn(
            session
                .ended
                .clone()
                .run_until_cancelled_owned(reader.run(acks)),
        );
        let messages = ReceiverStream::new(incoming);
        Ok(Response::new(Box::pin(
            messages.take_until(session.ended.cancelled_owned()),
        )))
    }
}

/// Takes a stream's acknowledgements; its end is the stream's.
struct AckReader {
    usage: UsageBook,
    tables: Arc<EndpointTables>,
    dispatcher: Arc<Dispatcher>,
    node: String,
    session: String,
    id: StreamId,
}

impl AckReader {
    async fn run(self, mut acks: Streaming<EndpointsAck>) {
        while let Ok(Some(mut ack)) = acks.message().await {
            self.usage.hear(&self.node, std::mem::take(&mut ack.usage));
            // An acknowledgement is a sign of life; the session's own stream tells its end.
            let _ = self.dispatcher.beat(&self.node, &self.session);
            let acknowledge = Command::Acknowledge(self.id, ack);
            if self.tables.commands.send(acknowledge).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for AckReader {
    fn drop(&mut self) {
        let _ = self.tables.ended.send(self.id);
    }
}
