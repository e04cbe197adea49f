//! Examinations: tries the ways to other nodes when the managers ask, and reports what came of it. A
//! manager without this service is a dockerd; then nobody asks.

use std::time::Duration;

use async_trait::async_trait;
use skep_objects::skep_v1::{Attendance, ProbeReport, ProbeRequest};
use skep_rpc::Backoff;
use skep_rpc::skep_v1::probes_client::ProbesClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::debug;

use crate::session::SessionError;

/// What this host can try.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Tries what is asked; answers soon after the request's window.
    async fn probe(&self, request: ProbeRequest) -> ProbeReport;
}

/// Attends as long as the session lasts.
pub(crate) async fn attend(
    channel: Channel,
    session_id: String,
    prober: &dyn Prober,
) -> SessionError {
    let mut backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        match stream(channel.clone(), &session_id, prober, &mut backoff).await {
            Err(status) if status.code() == Code::Unimplemented => {
                debug!("the manager examines no nodes");
                return std::future::pending().await;
            }
            Err(error) => debug!(%error, "examinations are attended again"),
            Ok(()) => {}
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn stream(
    channel: Channel,
    session_id: &str,
    prober: &dyn Prober,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let closed = |_| Status::unavailable("stream of examinations is closed");
    let (reports, outgoing) = mpsc::channel(1);
    let first = Attendance {
        session_id: session_id.to_owned(),
        report: None,
    };
    reports.send(first).await.map_err(closed)?;
    let mut client = ProbesClient::new(channel);
    let answer = client.attend(ReceiverStream::new(outgoing)).await?;
    let mut requests = answer.into_inner();
    while let Some(request) = requests.message().await? {
        backoff.reset();
        let message = Attendance {
            session_id: String::new(),
            report: Some(prober.probe(request).await),
        };
        reports.send(message).await.map_err(closed)?;
    }
    Ok(())
}
