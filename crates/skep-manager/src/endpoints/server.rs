//! The loop around the hub, and skep's Endpoints service.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use skep_objects::skep_v1::{EndpointsAck, EndpointsMessage};
use skep_rpc::{caller_of, skep_v1::endpoints_server::Endpoints};
use skep_store::{Store, View, Watch};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::hub::{Hub, StreamId};
use crate::{dispatcher::Dispatcher, slot::Slot, usage::UsageBook};

/// How many messages of streams are taken before the next look at the store.
const COMMANDS: usize = 256;

type Outgoing = mpsc::UnboundedSender<Result<EndpointsMessage, Status>>;

/// What streams tell the loop.
#[derive(Debug)]
enum Command {
    Open {
        node: String,
        out: Outgoing,
        id: oneshot::Sender<StreamId>,
    },
    Acknowledge(StreamId, EndpointsAck),
    Close(StreamId),
}

/// The endpoint tables of a leader.
#[derive(Debug)]
pub struct EndpointTables {
    commands: mpsc::UnboundedSender<Command>,
    usage: UsageBook,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl EndpointTables {
    /// Builds the tables and follows the store. What nodes say of their tasks' load goes into the book.
    pub fn spawn(store: &Store, usage: UsageBook) -> Arc<Self> {
        let (view, watch) = store.watch();
        let (commands, inbox) = mpsc::unbounded_channel();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(run(view, watch, inbox)),
        );
        tasks.close();
        Arc::new(Self {
            commands,
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

async fn run(view: View, mut watch: Watch, mut inbox: mpsc::UnboundedReceiver<Command>) {
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
            () = sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => {
                hub.expire(Instant::now());
            }
        }
        for (id, message) in hub.messages() {
            // A stream that is gone tells so by itself.
            if let Some(out) = outgoing.get(&id) {
                let _ = out.send(Ok(message));
            }
        }
    }
}

impl Command {
    fn apply(self, hub: &mut Hub, outgoing: &mut BTreeMap<StreamId, Outgoing>) {
        match self {
            Command::Open { node, out, id } => {
                let opened = hub.open(&node);
                outgoing.insert(opened, out);
                if id.send(opened).is_err() {
                    Command::Close(opened).apply(hub, outgoing);
                }
            }
            Command::Acknowledge(id, ack) => {
                hub.withdraw(id, &ack.withdrawn_tasks, Instant::now());
                hub.acknowledge(id, ack.sequence);
            }
            Command::Close(id) => {
                hub.close(id);
                outgoing.remove(&id);
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
        let (out, incoming) = mpsc::unbounded_channel();
        let (reply, id) = oneshot::channel();
        let stopped = || Status::aborted("endpoint tables are stopped");
        let open = Command::Open {
            node: node.clone(),
            out,
            id: reply,
        };
        tables.commands.send(open).map_err(|_| stopped())?;
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
        let messages = UnboundedReceiverStream::new(incoming);
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
            let _ = self
                .tables
                .commands
                .send(Command::Acknowledge(self.id, ack));
        }
    }
}

impl Drop for AckReader {
    fn drop(&mut self) {
        let _ = self.tables.commands.send(Command::Close(self.id));
    }
}
