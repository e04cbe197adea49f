//! One session with a dispatcher: registers this node, then runs heartbeats, assignments, statuses,
//! endpoint tables and log subscriptions until one of the first three fails.

use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::assignments_message::Type;
use skep_objects::swarmkit::update_task_status_request::TaskStatusUpdate;
use skep_objects::swarmkit::{
    AssignmentsRequest, HeartbeatRequest, NodeDescription, SessionMessage, SessionRequest,
    UpdateTaskStatusRequest,
};
use skep_objects::timestamp;
use skep_rpc::client::CALL_DEADLINE;
use skep_rpc::swarmkit::dispatcher_client::DispatcherClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tracing::{debug, warn};

use crate::drain::Teller;
use crate::worker::Worker;
use crate::{endpoints, logs};

const START_DEADLINE: Duration = Duration::from_secs(5);
const DESCRIPTION_CHECK: Duration = Duration::from_secs(20);
const STATUS_BATCH: usize = 1000;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{0}")]
    Connect(#[from] skep_rpc::ConnectError),
    #[error("{}", skep_rpc::status::rpc_text(.0))]
    Rpc(#[from] Status),
    #[error("session initiation timed out")]
    StartTimeout,
    #[error("dispatcher closed the session")]
    Closed,
    /// Not a failure: the node is described anew by a new session.
    #[error("node description changed")]
    DescriptionChanged,
}

/// An open session.
pub(crate) struct Session {
    channel: Channel,
    id: String,
    stream: Streaming<SessionMessage>,
    description: NodeDescription,
}

impl Session {
    /// Registers, offering the last session id; answers the session and its first message.
    pub(crate) async fn open(
        channel: Channel,
        description: NodeDescription,
        last_id: &str,
    ) -> Result<(Self, SessionMessage), SessionError> {
        let start = async {
            let request = SessionRequest {
                description: Some(description.clone()),
                session_id: last_id.to_owned(),
            };
            let mut client =
                DispatcherClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
            let mut stream = client.session(request).await?.into_inner();
            let first = stream.message().await?.ok_or(SessionError::Closed)?;
            Ok::<_, SessionError>((stream, first))
        };
        let started = tokio::time::timeout(START_DEADLINE, start).await;
        let (stream, first) = started.map_err(|_| SessionError::StartTimeout)??;
        let id = first.session_id.clone();
        Ok((
            Self {
                channel,
                id,
                stream,
                description,
            },
            first,
        ))
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Runs until something fails; `on_message` hears every later session message, `describe` is
    /// asked for changes of this node.
    pub(crate) async fn run(
        mut self,
        worker: &Arc<Worker>,
        mut on_message: impl FnMut(SessionMessage),
        describe: impl Fn() -> NodeDescription,
        mut credentials_changed: tokio::sync::watch::Receiver<Arc<skep_rpc::identity::Credentials>>,
    ) -> SessionError {
        worker.shared().reporter.repeat_all();
        let client =
            DispatcherClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let heartbeats = heartbeats(client.clone(), &self.id);
        let assignments = assignments(client.clone(), &self.id, worker);
        let statuses = statuses(client, &self.id, worker);
        let endpoints = endpoints::follow(self.channel.clone(), self.id.clone(), worker);
        let logs = logs::serve(self.channel.clone(), Arc::clone(worker));
        let messages = async {
            loop {
                match self.stream.message().await {
                    Ok(Some(message)) => on_message(message),
                    Ok(None) => return SessionError::Closed,
                    Err(status) => return SessionError::Rpc(status),
                }
            }
        };
        let changes = async {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(DESCRIPTION_CHECK) => {}
                    changed = credentials_changed.changed() => {
                        if changed.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                }
                if describe() != self.description {
                    return SessionError::DescriptionChanged;
                }
            }
        };
        let error = tokio::select! {
            error = messages => error,
            error = heartbeats => error,
            error = assignments => error,
            error = statuses => error,
            error = changes => error,
            () = endpoints => SessionError::Closed,
            () = logs => SessionError::Closed,
        };
        worker.shared().drain.set_teller(Teller::Away);
        error
    }
}

/// The first at once, then each after the period that the last answer gave.
async fn heartbeats(mut client: DispatcherClient<Channel>, session_id: &str) -> SessionError {
    loop {
        let mut request = Request::new(HeartbeatRequest {
            session_id: session_id.to_owned(),
        });
        request.set_timeout(CALL_DEADLINE);
        let period = match bounded(client.heartbeat(request)).await {
            Ok(answer) => answer.period,
            Err(status) => return status.into(),
        };
        let period = period.as_ref().map(timestamp::duration).unwrap_or_default();
        tokio::time::sleep(period.max(Duration::from_millis(100))).await;
    }
}

async fn bounded<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("dispatcher does not answer")),
    }
}

/// Takes assignments over; a gap in their sequence opens the stream anew.
async fn assignments(
    mut client: DispatcherClient<Channel>,
    session_id: &str,
    worker: &Worker,
) -> SessionError {
    loop {
        let request = AssignmentsRequest {
            session_id: session_id.to_owned(),
        };
        let mut stream = match client.assignments(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return status.into(),
        };
        let mut applied = String::new();
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return SessionError::Closed,
                Err(status) => return status.into(),
            };
            if message.r#type() == Type::Incremental && message.applies_to != applied {
                warn!(expected = %applied, got = %message.applies_to,
                    "assignments are out of sequence, asking for all");
                break;
            }
            applied.clone_from(&message.results_in);
            worker.apply(message).await;
        }
    }
}

/// Sends statuses as they come, as many as there are in one call.
async fn statuses(
    mut client: DispatcherClient<Channel>,
    session_id: &str,
    worker: &Worker,
) -> SessionError {
    let reporter = &worker.shared().reporter;
    loop {
        let batch = reporter.take(STATUS_BATCH).await;
        match send(&mut client, session_id, batch.clone()).await {
            Ok(()) => {}
            // One task that is no longer ours spoils the whole call: then each on its own.
            Err(status) if status.code() == Code::PermissionDenied && batch.len() > 1 => {
                for update in batch {
                    match send(&mut client, session_id, vec![update.clone()]).await {
                        Ok(()) => {}
                        Err(status) if status.code() == Code::PermissionDenied => {
                            debug!(task.id = %update.task_id, "status of a task of another node");
                        }
                        Err(status) => {
                            reporter.put_back(vec![update]);
                            return status.into();
                        }
                    }
                }
            }
            Err(status) if status.code() == Code::PermissionDenied => {}
            Err(status) => {
                reporter.put_back(batch);
                return status.into();
            }
        }
    }
}

async fn send(
    client: &mut DispatcherClient<Channel>,
    session_id: &str,
    updates: Vec<TaskStatusUpdate>,
) -> Result<(), Status> {
    let request = UpdateTaskStatusRequest {
        session_id: session_id.to_owned(),
        updates,
    };
    let mut request = Request::new(request);
    request.set_timeout(CALL_DEADLINE);
    match bounded(client.update_task_status(request)).await {
        Err(status) if status.code() == Code::NotFound => Ok(()),
        other => other.map(|_| ()),
    }
}
