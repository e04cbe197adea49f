//! A dispatcher that says what the test says, on a connection inside the process.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use skep_objects::skep_v1::{EndpointsAck, EndpointsMessage};
use skep_objects::swarmkit::assignment::Item;
use skep_objects::swarmkit::assignment_change::AssignmentAction;
use skep_objects::swarmkit::assignments_message::Type;
use skep_objects::swarmkit::{
    Assignment, AssignmentChange, AssignmentsMessage, AssignmentsRequest, HeartbeatRequest,
    HeartbeatResponse, ListenSubscriptionsRequest, PublishLogsMessage, PublishLogsResponse,
    SessionMessage, SessionRequest, SubscriptionMessage, TaskState, TaskStatus, TasksMessage,
    TasksRequest, UpdateTaskStatusRequest, UpdateTaskStatusResponse, UpdateVolumeStatusRequest,
    UpdateVolumeStatusResponse,
};
use skep_objects::timestamp::duration_message;
use skep_rpc::LocalDialer;
use skep_rpc::server::ServerIo;
use skep_rpc::skep_v1::endpoints_server::{Endpoints, EndpointsServer};
use skep_rpc::swarmkit::dispatcher_server::{Dispatcher, DispatcherServer};
use skep_rpc::swarmkit::log_broker_server::{LogBroker, LogBrokerServer};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Feed<T> = mpsc::UnboundedSender<Result<T, Status>>;

/// A manager with one agent. Clones are the same one.
#[derive(Clone, Debug)]
pub struct FakeDispatcher {
    inner: Arc<Inner>,
    dialer: LocalDialer,
}

#[derive(Debug, Default)]
struct Inner {
    assigned: Mutex<Vec<Item>>,
    feeds: Mutex<Feeds>,
    statuses: watch::Sender<BTreeMap<String, Vec<TaskStatus>>>,
    sessions: watch::Sender<u64>,
    acks: watch::Sender<Vec<u64>>,
    published: watch::Sender<Vec<PublishLogsMessage>>,
}

#[derive(Debug, Default)]
struct Feeds {
    session: Option<Feed<SessionMessage>>,
    assignments: Option<(Feed<AssignmentsMessage>, u64)>,
    endpoints: Option<Feed<EndpointsMessage>>,
    subscriptions: Option<Feed<SubscriptionMessage>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeDispatcher {
    /// Starts serving.
    pub fn spawn() -> Self {
        let (dialer, incoming) = LocalDialer::pair();
        let inner = Arc::<Inner>::default();
        let incoming =
            ReceiverStream::new(incoming).map(|s| Ok::<_, std::io::Error>(ServerIo::Local(s)));
        let router = tonic::transport::Server::builder()
            .add_service(DispatcherServer::from_arc(Arc::clone(&inner)))
            .add_service(EndpointsServer::from_arc(Arc::clone(&inner)))
            .add_service(LogBrokerServer::from_arc(Arc::clone(&inner)));
        tokio::spawn(router.serve_with_incoming(incoming));
        Self { inner, dialer }
    }

    /// The way in for an agent.
    pub fn dialer(&self) -> LocalDialer {
        self.dialer.clone()
    }

    /// Assigns objects beyond those already assigned.
    pub fn assign(&self, items: Vec<Item>) {
        lock(&self.inner.assigned).extend(items.clone());
        self.send(items, AssignmentAction::Update);
    }

    /// Sends assigned objects again, changed.
    pub fn update(&self, items: Vec<Item>) {
        self.send(items, AssignmentAction::Update);
    }

    /// Takes objects off the node.
    pub fn unassign(&self, items: Vec<Item>) {
        lock(&self.inner.assigned).retain(|i| !items.iter().any(|j| id_of(i) == id_of(j)));
        self.send(items, AssignmentAction::Remove);
    }

    fn send(&self, items: Vec<Item>, action: AssignmentAction) {
        let mut feeds = lock(&self.inner.feeds);
        let Some((feed, sequence)) = &mut feeds.assignments else {
            return;
        };
        let message = AssignmentsMessage {
            r#type: Type::Incremental.into(),
            applies_to: sequence.to_string(),
            results_in: (*sequence + 1).to_string(),
            changes: changes(items, action),
        };
        *sequence += 1;
        let _ = feed.send(Ok(message));
    }

    /// Loses an incremental message: the next one leaves a gap.
    pub fn skip_assignment(&self) {
        if let Some((_, sequence)) = &mut lock(&self.inner.feeds).assignments {
            *sequence += 1;
        }
    }

    /// Ends the session as a leader that stops.
    pub fn drop_session(&self) {
        *lock(&self.inner.feeds) = Feeds::default();
    }

    /// Sends endpoint tables.
    pub fn send_endpoints(&self, message: EndpointsMessage) {
        if let Some(feed) = &lock(&self.inner.feeds).endpoints {
            let _ = feed.send(Ok(message));
        }
    }

    /// Asks for logs.
    pub fn subscribe(&self, message: SubscriptionMessage) {
        if let Some(feed) = &lock(&self.inner.feeds).subscriptions {
            let _ = feed.send(Ok(message));
        }
    }

    /// Waits until a task has reported at least this state; answers its reported states in order.
    pub async fn reached(&self, task_id: &str, state: TaskState) -> Vec<TaskState> {
        let mut statuses = self.inner.statuses.subscribe();
        let reached = |all: &BTreeMap<String, Vec<TaskStatus>>| {
            all.get(task_id)
                .is_some_and(|s| s.iter().any(|s| s.task_state() >= state))
        };
        match statuses.wait_for(reached).await {
            Ok(all) => all[task_id].iter().map(TaskStatus::task_state).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// The last status that a task reported.
    pub fn last_status(&self, task_id: &str) -> Option<TaskStatus> {
        self.inner.statuses.borrow().get(task_id)?.last().cloned()
    }

    /// Counts sessions opened.
    pub fn sessions(&self) -> watch::Receiver<u64> {
        self.inner.sessions.subscribe()
    }

    /// Sequence numbers acknowledged.
    pub fn acks(&self) -> watch::Receiver<Vec<u64>> {
        self.inner.acks.subscribe()
    }

    /// Log messages that arrived.
    pub fn published(&self) -> watch::Receiver<Vec<PublishLogsMessage>> {
        self.inner.published.subscribe()
    }

    /// Whether all streams of a session are open.
    pub async fn connected(&self) {
        let mut sessions = self.sessions();
        loop {
            {
                let feeds = lock(&self.inner.feeds);
                if feeds.assignments.is_some()
                    && feeds.endpoints.is_some()
                    && feeds.subscriptions.is_some()
                {
                    return;
                }
            }
            let _ = sessions.changed().await;
        }
    }
}

fn id_of(item: &Item) -> &str {
    match item {
        Item::Task(task) => &task.id,
        Item::Secret(secret) => &secret.id,
        Item::Config(config) => &config.id,
        Item::Volume(volume) => &volume.id,
    }
}

fn changes(items: Vec<Item>, action: AssignmentAction) -> Vec<AssignmentChange> {
    let change = |item| AssignmentChange {
        assignment: Some(Assignment { item: Some(item) }),
        action: action.into(),
    };
    items.into_iter().map(change).collect()
}

fn answers<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<Result<T, Status>>) -> Answers<T> {
    Box::pin(UnboundedReceiverStream::new(receiver))
}

#[tonic::async_trait]
impl Dispatcher for Inner {
    type SessionStream = Answers<SessionMessage>;
    type TasksStream = Answers<TasksMessage>;
    type AssignmentsStream = Answers<AssignmentsMessage>;

    async fn session(
        &self,
        _request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (feed, receiver) = mpsc::unbounded_channel();
        self.sessions.send_modify(|n| *n += 1);
        let session_id = format!("session{}", *self.sessions.borrow());
        let _ = feed.send(Ok(SessionMessage {
            session_id,
            ..Default::default()
        }));
        lock(&self.feeds).session = Some(feed);
        Ok(Response::new(answers(receiver)))
    }

    async fn heartbeat(
        &self,
        _request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let period = Some(duration_message(std::time::Duration::from_secs(5)));
        Ok(Response::new(HeartbeatResponse { period }))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        self.statuses.send_modify(|all| {
            for update in request.into_inner().updates {
                if let Some(status) = update.status {
                    all.entry(update.task_id).or_default().push(status);
                }
            }
        });
        Ok(Response::new(UpdateTaskStatusResponse {}))
    }

    async fn update_volume_status(
        &self,
        _request: Request<UpdateVolumeStatusRequest>,
    ) -> Result<Response<UpdateVolumeStatusResponse>, Status> {
        Ok(Response::new(UpdateVolumeStatusResponse {}))
    }

    async fn tasks(
        &self,
        _request: Request<TasksRequest>,
    ) -> Result<Response<Self::TasksStream>, Status> {
        Err(Status::unimplemented("use assignments"))
    }

    async fn assignments(
        &self,
        _request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (feed, receiver) = mpsc::unbounded_channel();
        let all = AssignmentsMessage {
            r#type: Type::Complete.into(),
            applies_to: String::new(),
            results_in: "1".into(),
            changes: changes(lock(&self.assigned).clone(), AssignmentAction::Update),
        };
        let _ = feed.send(Ok(all));
        lock(&self.feeds).assignments = Some((feed, 1));
        self.sessions.send_modify(|_| ());
        Ok(Response::new(answers(receiver)))
    }
}

#[tonic::async_trait]
impl Endpoints for Inner {
    type WatchStream = Answers<EndpointsMessage>;

    async fn watch(
        &self,
        request: Request<Streaming<EndpointsAck>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (feed, receiver) = mpsc::unbounded_channel();
        lock(&self.feeds).endpoints = Some(feed);
        self.sessions.send_modify(|_| ());
        let mut acks = request.into_inner();
        let heard = self.acks.clone();
        tokio::spawn(async move {
            while let Ok(Some(ack)) = acks.message().await {
                heard.send_modify(|all| all.push(ack.sequence));
            }
        });
        Ok(Response::new(answers(receiver)))
    }
}

#[tonic::async_trait]
impl LogBroker for Inner {
    type ListenSubscriptionsStream = Answers<SubscriptionMessage>;

    async fn listen_subscriptions(
        &self,
        _request: Request<ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let (feed, receiver) = mpsc::unbounded_channel();
        lock(&self.feeds).subscriptions = Some(feed);
        self.sessions.send_modify(|_| ());
        Ok(Response::new(answers(receiver)))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<PublishLogsMessage>>,
    ) -> Result<Response<PublishLogsResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            self.published.send_modify(|all| all.push(message));
        }
        Ok(Response::new(PublishLogsResponse {}))
    }
}
