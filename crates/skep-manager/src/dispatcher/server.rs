//! SwarmKit's Dispatcher service.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use skep_objects::{
    swarmkit::{
        AssignmentsMessage, AssignmentsRequest, HeartbeatRequest, HeartbeatResponse,
        NodeDescription, SessionMessage, SessionRequest, TasksMessage, TasksRequest,
        UpdateTaskStatusRequest, UpdateTaskStatusResponse, UpdateVolumeStatusRequest,
        UpdateVolumeStatusResponse, node_status::State,
    },
    timestamp::duration_message,
};
use skep_rpc::{Caller, caller_of, swarmkit::dispatcher_server};
use skep_store::{Tx, TxError, UpdateError};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{
    Dispatcher,
    assignments::assignment_stream,
    limits::check_description,
    session_stream::session_stream,
    sessions::{Session, SessionError},
    statuses,
};
use crate::slot::Slot;

/// Serves whatever dispatcher runs here at the moment.
#[derive(Debug, Clone)]
pub struct DispatcherServer {
    dispatcher: Slot<Dispatcher>,
}

impl DispatcherServer {
    /// A server of the dispatcher in this slot.
    pub fn new(dispatcher: Slot<Dispatcher>) -> Self {
        Self { dispatcher }
    }
}

impl From<SessionError> for Status {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::NotRegistered => Status::not_found(text),
            SessionError::Invalid => Status::invalid_argument(text),
            SessionError::TooMany => Status::unavailable(text),
        }
    }
}

impl Dispatcher {
    /// Gives a node a session and writes down that it is there.
    pub async fn register(
        &self,
        caller: &Caller,
        description: Option<NodeDescription>,
        offered: &str,
    ) -> Result<Session, Status> {
        let node = &caller.node_id;
        let view = self.store.view();
        let Some(stored) = view.node(node) else {
            return Err(Status::not_found("node not found"));
        };
        if let Some(description) = &description {
            check_description(description)?;
            if stored.description.as_ref() != Some(description) {
                self.sessions().admit_description(node, Instant::now())?;
            }
        }
        let session = self.sessions().register(node, offered, Instant::now())?;
        self.rearm.notify_one();
        let address = caller
            .remote_addr
            .as_deref()
            .map(host_of)
            .unwrap_or_default();
        let result = self
            .store
            .update(|tx| mark_ready(tx, node, address, description))
            .await;
        match result {
            Ok(()) => {}
            Err(UpdateError::Refused(error)) => return Err(Status::not_found(error.to_string())),
            Err(UpdateError::Commit(error)) => return Err(Status::aborted(error.to_string())),
        }
        info!(node.id = node, session.id = %session.id, "node is in touch");
        Ok(session)
    }

    /// Notes a sign of life of a session.
    pub fn beat(&self, node: &str, session: &str) -> Result<std::time::Duration, Status> {
        Ok(self.sessions().beat(node, session, Instant::now())?)
    }

    /// The session of a node, if it is the one named.
    pub fn session(&self, node: &str, session: &str) -> Result<Session, Status> {
        Ok(self.sessions().find(node, session)?)
    }
}

impl Dispatcher {
    /// The session of a node, whichever it is.
    pub fn current_session(&self, node: &str) -> Result<Session, Status> {
        Ok(self.sessions().current(node)?)
    }
}

/// Nothing is written when the store says all of it already, as after a change of leader.
pub fn mark_ready(
    tx: &mut Tx,
    node: &str,
    address: &str,
    description: Option<NodeDescription>,
) -> Result<(), TxError> {
    tx.edit_node(node, |node| {
        let status = node.status.get_or_insert_default();
        status.state = State::Ready.into();
        status.message.clear();
        if !address.is_empty() {
            address.clone_into(&mut status.addr);
        }
        if description.is_some() {
            node.description = description;
        }
    })?;
    Ok(())
}

/// `10.0.0.1:1234` or `[fd00::1]:1234` without the port.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl dispatcher_server::Dispatcher for DispatcherServer {
    type SessionStream = Messages<SessionMessage>;
    type TasksStream = Messages<TasksMessage>;
    type AssignmentsStream = Messages<AssignmentsMessage>;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let dispatcher = self.dispatcher.get()?;
        let caller = caller_of(&request)?;
        let request = request.into_inner();
        let session = dispatcher
            .register(&caller, request.description, &request.session_id)
            .await?;
        Ok(Response::new(Box::pin(session_stream(
            dispatcher,
            caller.node_id,
            session,
        ))))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let dispatcher = self.dispatcher.get()?;
        let caller = caller_of(&request)?;
        let period = dispatcher.beat(&caller.node_id, &request.into_inner().session_id)?;
        Ok(Response::new(HeartbeatResponse {
            period: Some(duration_message(period)),
        }))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        let dispatcher = self.dispatcher.get()?;
        let caller = caller_of(&request)?;
        let request = request.into_inner();
        dispatcher.beat(&caller.node_id, &request.session_id)?;
        let view = dispatcher.store.view();
        let updates = statuses::check(&view, &caller.node_id, request.updates)?;
        dispatcher.statuses.push(updates);
        Ok(Response::new(UpdateTaskStatusResponse {}))
    }

    /// No CSI plugin runs here, so no volume can have been unpublished.
    async fn update_volume_status(
        &self,
        request: Request<UpdateVolumeStatusRequest>,
    ) -> Result<Response<UpdateVolumeStatusResponse>, Status> {
        let dispatcher = self.dispatcher.get()?;
        let caller = caller_of(&request)?;
        dispatcher.beat(&caller.node_id, &request.into_inner().session_id)?;
        Ok(Response::new(UpdateVolumeStatusResponse {}))
    }

    async fn tasks(
        &self,
        _request: Request<TasksRequest>,
    ) -> Result<Response<Self::TasksStream>, Status> {
        Err(Status::unimplemented(
            "agents of Docker 1.12 are not served: use Assignments",
        ))
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let dispatcher: Arc<Dispatcher> = self.dispatcher.get()?;
        let caller = caller_of(&request)?;
        let session = dispatcher.session(&caller.node_id, &request.into_inner().session_id)?;
        Ok(Response::new(Box::pin(assignment_stream(
            dispatcher,
            &caller.node_id,
            session,
        ))))
    }
}
