//! Raft messages from the other skep managers, each of which has one stream for all of them.

use std::time::Duration;

use skep_objects::swarmkit::{StreamRaftMessageRequest, StreamRaftMessageResponse};
use skep_rpc::skep_v1::quorum_server::Quorum as QuorumApi;
use skep_rpc::{Caller, caller_of};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::service::RaftService;

/// How long after a message it is said that it was taken. Not at once: a word for each would cost as
/// much as the messages do.
const WORD: Duration = Duration::from_millis(100);

type Word = Result<StreamRaftMessageResponse, Status>;

#[tonic::async_trait]
impl QuorumApi for RaftService {
    type MessagesStream = ReceiverStream<Word>;

    async fn messages(
        &self,
        request: Request<Streaming<StreamRaftMessageRequest>>,
    ) -> Result<Response<Self::MessagesStream>, Status> {
        let (words, stream) = mpsc::channel(4);
        let stop = self.0.stopping();
        let caller = caller_of(&request)?;
        let messages = request.into_inner();
        tokio::spawn(take(self.clone(), caller, messages, words, stop));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Takes messages until either end stops.
async fn take(
    service: RaftService,
    caller: Caller,
    mut messages: Streaming<StreamRaftMessageRequest>,
    words: mpsc::Sender<Word>,
    stop: CancellationToken,
) {
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            message = messages.message() => {
                let Ok(Some(message)) = message else { return };
                if let Err(status) = service.take(message.message, &caller) {
                    // Who sent it may be gone.
                    let _ = words.send(Err(status)).await;
                    return;
                }
                due.get_or_insert_with(|| Instant::now() + WORD);
            }
            () = until(due) => {
                due = None;
                if words.send(Ok(StreamRaftMessageResponse {})).await.is_err() {
                    return;
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
