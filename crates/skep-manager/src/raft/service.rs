//! Raft messages from the other members.

use skep_objects::raftpb::{Message, MessageType};
use skep_objects::swarmkit::{
    ProcessRaftMessageRequest, ProcessRaftMessageResponse, ResolveAddressRequest,
    ResolveAddressResponse, StreamRaftMessageRequest, StreamRaftMessageResponse,
};
use skep_rpc::swarmkit::raft_server::Raft;
use skep_rpc::{Caller, caller_of};
use tonic::{Request, Response, Status, Streaming};

use super::{Quorum, REMOVED};

/// The most that a snapshot in pieces may come to.
const MAX_SNAPSHOT_BYTES: usize = 2 << 30;

/// The service, on a quorum that may not have begun yet.
#[derive(Debug, Clone)]
pub(super) struct RaftService(pub(super) Quorum);

impl RaftService {
    /// Takes a whole message.
    pub(super) fn take(&self, message: Option<Message>, caller: &Caller) -> Result<(), Status> {
        let message = message.ok_or_else(no_message)?;
        self.0.note_sender(message.from(), caller);
        let node = self
            .0
            .node()
            .ok_or_else(|| Status::unavailable("raft has not begun"))?;
        let membership = node.membership();
        let membership = membership.borrow();
        let from = message.from();
        if membership.is_removed(from) {
            return Err(Status::not_found(REMOVED));
        }
        let is_vote = matches!(message.r#type(), MessageType::Vote | MessageType::PreVote);
        let is_known = membership.is_empty() || membership.get(from).is_some();
        let is_ours = message.to() == node.status().borrow().raft_id;
        let is_proposal = message.r#type() == MessageType::Prop;
        if is_ours && !is_proposal && (is_known || !is_vote) {
            node.step(message);
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn process_raft_message(
        &self,
        request: Request<ProcessRaftMessageRequest>,
    ) -> Result<Response<ProcessRaftMessageResponse>, Status> {
        let caller = caller_of(&request)?;
        self.take(request.into_inner().message, &caller)?;
        Ok(Response::new(ProcessRaftMessageResponse {}))
    }

    async fn stream_raft_message(
        &self,
        request: Request<Streaming<StreamRaftMessageRequest>>,
    ) -> Result<Response<StreamRaftMessageResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.and_then(|piece| piece.message);
        let mut whole = Assembly::new(first.ok_or_else(no_message)?);
        while let Some(piece) = pieces.message().await? {
            whole.add(piece.message.ok_or_else(no_message)?)?;
        }
        self.take(Some(whole.finish()), &caller)?;
        Ok(Response::new(StreamRaftMessageResponse {}))
    }

    async fn resolve_address(
        &self,
        request: Request<ResolveAddressRequest>,
    ) -> Result<Response<ResolveAddressResponse>, Status> {
        let raft_id = request.into_inner().raft_id;
        let node = self
            .0
            .node()
            .ok_or_else(|| Status::unavailable("raft has not begun"))?;
        let addr = node
            .membership()
            .borrow()
            .get(raft_id)
            .map(|member| member.addr.clone());
        let addr = addr.ok_or_else(|| Status::not_found("raft: member unknown"))?;
        Ok(Response::new(ResolveAddressResponse { addr }))
    }
}

/// A message whose snapshot comes in pieces.
struct Assembly {
    message: Message,
    data: Vec<u8>,
}

impl Assembly {
    fn new(mut message: Message) -> Self {
        let data = message
            .snapshot
            .as_mut()
            .and_then(|snapshot| snapshot.data.take());
        Assembly {
            message,
            data: data.map(Vec::from).unwrap_or_default(),
        }
    }

    fn add(&mut self, piece: Message) -> Result<(), Status> {
        let is_same = piece.r#type() == MessageType::Snap
            && self.message.r#type() == MessageType::Snap
            && piece.index() == self.message.index();
        if !is_same {
            return Err(Status::invalid_argument(
                "pieces of different raft messages",
            ));
        }
        let slice = piece
            .snapshot
            .and_then(|snapshot| snapshot.data)
            .unwrap_or_default();
        if self.data.len() + slice.len() > MAX_SNAPSHOT_BYTES {
            return Err(Status::resource_exhausted("the snapshot is too large"));
        }
        self.data.extend_from_slice(&slice);
        Ok(())
    }

    fn finish(mut self) -> Message {
        if let Some(snapshot) = &mut self.message.snapshot {
            snapshot.data = Some(self.data.into());
        }
        self.message
    }
}

fn no_message() -> Status {
    Status::invalid_argument("no raft message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::raftpb::Snapshot;

    fn piece(kind: MessageType, index: u64, data: &[u8]) -> Message {
        let data = Some(data.to_vec().into());
        let snapshot = Some(Snapshot {
            data,
            ..Snapshot::default()
        });
        Message {
            r#type: Some(kind as i32),
            index: Some(index),
            snapshot,
            ..Message::default()
        }
    }

    #[test]
    fn pieces_are_put_together_in_their_order() {
        let mut whole = Assembly::new(piece(MessageType::Snap, 5, b"ab"));
        whole.add(piece(MessageType::Snap, 5, b"cd")).unwrap();
        whole.add(piece(MessageType::Snap, 5, b"")).unwrap();
        assert_eq!(whole.finish().snapshot.unwrap().data(), b"abcd");
    }

    #[test]
    fn pieces_of_other_messages_are_refused() {
        let mut whole = Assembly::new(piece(MessageType::Snap, 5, b"ab"));
        assert!(whole.add(piece(MessageType::Snap, 6, b"cd")).is_err());
        assert!(whole.add(piece(MessageType::App, 5, b"cd")).is_err());
        let mut append = Assembly::new(piece(MessageType::App, 5, b""));
        assert!(append.add(piece(MessageType::Snap, 5, b"")).is_err());
    }
}
