//! A snapshot on its way to a member: the same message with slices of the data, as SwarmKit's managers
//! take it.

use std::time::Duration;

use bytes::Bytes;
use skep_objects::raftpb::Message;
use skep_objects::swarmkit::StreamRaftMessageRequest;
use skep_rpc::swarmkit::raft_client::RaftClient;
use tonic::transport::Channel;
use tracing::info;

use super::peers::Reports;

/// How long one piece may take.
const SEND_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of a snapshot in one piece; receivers take 4 MiB with everything around it.
const PIECE: usize = 3 << 20;

/// Sends a snapshot, and reports how it went.
pub(super) async fn send_snapshot(
    mut client: RaftClient<Channel>,
    message: Message,
    reports: Reports,
) {
    let raft_id = message.to();
    let pieces = pieces_of(message);
    // Each piece may take its time; the whole as long as all of them.
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let deadline = SEND_DEADLINE.saturating_mul(count.saturating_add(4));
    let call = client.stream_raft_message(tokio_stream::iter(pieces));
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(_)) => reports.snapshot(raft_id, true),
        Ok(Err(status)) => {
            info!(raft.id = raft_id, %status, "snapshot not sent");
            reports.snapshot(raft_id, false);
            reports.failed(raft_id, &status);
        }
        Err(_) => {
            info!(raft.id = raft_id, "snapshot not taken in time");
            reports.snapshot(raft_id, false);
        }
    }
}

fn pieces_of(mut message: Message) -> Vec<StreamRaftMessageRequest> {
    let snapshot = message.snapshot.get_or_insert_default();
    let data = snapshot.data.take().unwrap_or_default();
    let mut slices: Vec<Bytes> = Vec::new();
    let mut at = 0;
    while at < data.len() || slices.is_empty() {
        let end = data.len().min(at + PIECE);
        slices.push(data.slice(at..end));
        at = end;
    }
    let piece = |slice| {
        let mut piece = message.clone();
        piece.snapshot.get_or_insert_default().data = Some(slice);
        StreamRaftMessageRequest {
            message: Some(piece),
        }
    };
    slices.into_iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::raftpb::Snapshot;

    fn snapshot_of(bytes: usize) -> Message {
        let data = Some(vec![7; bytes].into());
        let snapshot = Some(Snapshot {
            data,
            ..Snapshot::default()
        });
        Message {
            index: Some(9),
            snapshot,
            ..Message::default()
        }
    }

    #[test]
    fn a_snapshot_is_cut_into_pieces_that_make_it_again() {
        for bytes in [0, 1, PIECE, PIECE + 1, 3 * PIECE - 1] {
            let pieces = pieces_of(snapshot_of(bytes));
            assert_eq!(pieces.len(), bytes.div_ceil(PIECE).max(1));
            let whole: usize = pieces
                .iter()
                .map(|piece| piece.message.as_ref().unwrap())
                .inspect(|message| assert_eq!(message.index(), 9))
                .map(|message| message.snapshot.as_ref().unwrap().data().len())
                .sum();
            assert_eq!(whole, bytes);
        }
    }
}
