//! One member's messages on their way: on one long stream where the member is a skep manager, by a
//! call for each where it is not.
//!
//! The stream's other end says at least every tenth of a second that it has taken what came. When it
//! has not for two seconds, the stream is given up, and another one begun with the next message.

use std::time::Duration;

use skep_objects::raftpb::Message;
use skep_objects::swarmkit::{ProcessRaftMessageRequest, StreamRaftMessageRequest};
use skep_rpc::skep_v1::quorum_client::QuorumClient;
use skep_rpc::swarmkit::raft_client::RaftClient;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::joined::Joined;
use super::peers::Reports;

/// How long a message may take to be sent, or to be said taken.
const SEND_DEADLINE: Duration = Duration::from_secs(2);
/// Messages handed to the connection at once; those behind them are put together meanwhile.
const IN_FLIGHT: usize = 4;

/// Carries one member's messages, in order.
pub(super) struct Carrier {
    raft_id: u64,
    stream: QuorumClient<Channel>,
    calls: RaftClient<Channel>,
    waiting: Joined,
    reports: Reports,
    /// Not known to be a manager of another make.
    takes_streams: bool,
}

impl Carrier {
    pub(super) fn new(
        raft_id: u64,
        channel: Channel,
        waiting: mpsc::Receiver<Message>,
        reports: Reports,
    ) -> Self {
        Carrier {
            raft_id,
            stream: QuorumClient::new(channel.clone()),
            calls: RaftClient::new(channel),
            waiting: Joined::new(waiting),
            reports,
            takes_streams: true,
        }
    }

    /// Carries until the member is gone.
    pub(super) async fn run(mut self) {
        while let Some(message) = self.waiting.next().await {
            let Err(status) = self.carry(message).await else {
                continue;
            };
            self.reports.failed(self.raft_id, &status);
            // What waits behind it is stale by the time the member is back; raft sends anew.
            self.waiting.clear();
            // Another program may be there then.
            self.takes_streams = true;
        }
    }

    /// Carries a message, and all that follow for as long as there is a stream for them.
    async fn carry(&mut self, message: Message) -> Result<(), Status> {
        if self.takes_streams {
            match self.stream(message.clone()).await {
                Err(status) if status.code() == Code::Unimplemented => self.takes_streams = false,
                result => return result,
            }
        }
        call(&mut self.calls, message).await?;
        self.reports.reached(self.raft_id);
        Ok(())
    }

    /// An end with nothing on its way is none of the member's: the next message begins another.
    async fn stream(&mut self, first: Message) -> Result<(), Status> {
        let (sender, requests) = mpsc::channel(IN_FLIGHT);
        // There is room: nothing was sent yet.
        let _ = sender.try_send(request(first));
        let opened = self.stream.messages(ReceiverStream::new(requests));
        let mut taken = within(opened).await?.into_inner();
        // Since when a word is owed.
        let mut owed = Some(Instant::now());
        loop {
            let waiting = &mut self.waiting;
            let next = async {
                let room = sender.reserve().await.ok()?;
                Some((room, waiting.next().await))
            };
            tokio::select! {
                word = taken.message() => match word {
                    Ok(Some(_)) => {
                        owed = None;
                        self.reports.reached(self.raft_id);
                    }
                    Ok(None) | Err(_) if owed.is_none() => return Ok(()),
                    Ok(None) => return Err(Status::unavailable("the stream ended")),
                    Err(status) => return Err(status),
                },
                next = next => match next {
                    Some((room, Some(message))) => {
                        room.send(request(message));
                        owed.get_or_insert_with(Instant::now);
                    }
                    Some((_, None)) => return Ok(()),
                    None => return Err(Status::unavailable("the stream ended")),
                },
                () = overdue(owed) => return Err(not_in_time()),
            }
        }
    }
}

fn request(message: Message) -> StreamRaftMessageRequest {
    StreamRaftMessageRequest {
        message: Some(message),
    }
}

async fn overdue(owed: Option<Instant>) {
    match owed {
        Some(since) => tokio::time::sleep_until(since + SEND_DEADLINE).await,
        None => std::future::pending().await,
    }
}

/// A SwarmKit call for one message.
async fn call(client: &mut RaftClient<Channel>, message: Message) -> Result<(), Status> {
    let again = message.clone();
    let sent = client.stream_raft_message(tokio_stream::once(request(message)));
    match within(sent).await {
        // Managers before Docker 18.06 take whole messages only.
        Err(status) if status.code() == Code::Unimplemented => {
            let request = ProcessRaftMessageRequest {
                message: Some(again),
            };
            within(client.process_raft_message(request)).await?;
            Ok(())
        }
        result => result.map(drop),
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let result = tokio::time::timeout(SEND_DEADLINE, call).await;
    result.unwrap_or_else(|_| Err(not_in_time()))
}

fn not_in_time() -> Status {
    Status::deadline_exceeded("raft message not taken in time")
}
