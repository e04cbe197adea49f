//! skep's Probes service.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use skep_objects::skep_v1::{Attendance, ExamineRequest, ExamineResponse, ProbeRequest};
use skep_rpc::{caller_of, skep_v1::probes_server};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Probes;
use crate::{dispatcher::Dispatcher, slot::Slot};

/// Serves the examinations of the leader that runs here at the moment.
#[derive(Debug, Clone)]
pub struct ProbesServer {
    probes: Slot<Probes>,
    dispatcher: Slot<Dispatcher>,
}

impl ProbesServer {
    /// For nodes with a session of the dispatcher in the other slot.
    pub fn new(probes: Slot<Probes>, dispatcher: Slot<Dispatcher>) -> Self {
        Self { probes, dispatcher }
    }
}

#[tonic::async_trait]
impl probes_server::Probes for ProbesServer {
    type AttendStream = Pin<Box<dyn Stream<Item = Result<ProbeRequest, Status>> + Send>>;

    async fn attend(
        &self,
        request: Request<Streaming<Attendance>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let (probes, dispatcher) = (self.probes.get()?, self.dispatcher.get()?);
        let node = caller_of(&request)?.node_id;
        let mut reports = request.into_inner();
        let first = reports.message().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("session id missing"))?;
        let session = dispatcher.session(&node, &first.session_id)?;
        let (number, requests) = probes.attend(&node);
        let reader = Reader {
            probes,
            node,
            number,
        };
        let ended = session.ended.clone();
        tokio::spawn(ended.run_until_cancelled_owned(reader.run(reports)));
        let requests = UnboundedReceiverStream::new(requests);
        let requests = requests.take_until(session.ended.cancelled_owned());
        Ok(Response::new(Box::pin(requests)))
    }

    async fn examine(
        &self,
        _request: Request<ExamineRequest>,
    ) -> Result<Response<ExamineResponse>, Status> {
        Ok(Response::new(self.probes.get()?.examine().await))
    }
}

/// Takes a node's reports; its end is the stream's.
struct Reader {
    probes: Arc<Probes>,
    node: String,
    number: u64,
}

impl Reader {
    async fn run(self, mut reports: Streaming<Attendance>) {
        while let Ok(Some(message)) = reports.message().await {
            if let Some(report) = message.report {
                self.probes.report(&self.node, report);
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.probes.leave(&self.node, self.number);
    }
}
