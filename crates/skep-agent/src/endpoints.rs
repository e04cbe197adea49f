//! The stream of endpoint tables: hands each message to the executor and acknowledges it when the
//! kernel has it. A manager without this service is a dockerd; then there is nothing to do.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use skep_objects::skep_v1::EndpointsAck;
use skep_rpc::Backoff;
use skep_rpc::skep_v1::endpoints_client::EndpointsClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, warn};

use crate::drain::Teller;
use crate::meter;
use crate::worker::Worker;

/// Follows the tables as long as the session lasts.
pub(crate) async fn follow(channel: Channel, session_id: String, worker: &Worker) {
    let drain = worker.shared().drain.clone();
    let mut backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let outcome = stream(channel.clone(), &session_id, worker, &mut backoff).await;
        drain.set_teller(Teller::Away);
        match outcome {
            Err(status) if status.code() == Code::Unimplemented => {
                drain.set_teller(Teller::Nobody);
                debug!("the manager has no endpoint tables");
                std::future::pending::<()>().await;
            }
            Err(error) => debug!(%error, "endpoint tables are asked for again"),
            Ok(()) => {}
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn stream(
    channel: Channel,
    session_id: &str,
    worker: &Worker,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let (acks, outgoing) = mpsc::channel(16);
    let first = EndpointsAck {
        session_id: session_id.to_owned(),
        ..EndpointsAck::default()
    };
    let closed = |_| Status::unavailable("endpoint stream is closed");
    acks.send(first).await.map_err(closed)?;
    let mut client = EndpointsClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut incoming = client
        .watch(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let drain = worker.shared().drain.clone();
    drain.set_teller(Teller::Here);
    let mut changes = drain.subscribe();
    changes.mark_changed();
    let (mut sequence, mut told) = (0, BTreeSet::new());
    // Beside the tables: no drain waits for a reading.
    let (readings, mut read) = mpsc::channel(1);
    let mut metering = pin!(meter::run(worker, readings));
    loop {
        let ack = tokio::select! {
            message = incoming.message() => {
                let Some(message) = message? else { return Ok(()) };
                backoff.reset();
                if let Err(error) = worker.executor().apply_endpoints(&message).await {
                    // The stream starts anew with whole tables, which mends what is half applied.
                    warn!(%error, "endpoint tables cannot be applied");
                    return Ok(());
                }
                drain.drained(&message.drained_tasks);
                sequence = message.sequence;
                ack(sequence, Vec::new())
            }
            Ok(()) = changes.changed() => {
                let withdrawn = changes.borrow_and_update().withdrawn.clone();
                let new: Vec<String> = withdrawn.difference(&told).cloned().collect();
                told = withdrawn;
                if new.is_empty() {
                    continue;
                }
                ack(sequence, new)
            }
            Some(usage) = read.recv() => EndpointsAck { usage, ..ack(sequence, Vec::new()) },
            never = &mut metering => match never {},
        };
        acks.send(ack).await.map_err(closed)?;
    }
}

fn ack(sequence: u64, withdrawn_tasks: Vec<String>) -> EndpointsAck {
    EndpointsAck {
        session_id: String::new(),
        sequence,
        withdrawn_tasks,
        usage: Vec::new(),
    }
}
