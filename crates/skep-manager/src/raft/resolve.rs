//! Where a member is that this one does not know: a manager that was away while another joined, and came
//! to lead, hears from it and cannot answer, and without its answers gets none of the entries that
//! would tell it. The members that it knows can.

use std::sync::Weak;
use std::time::Duration;

use skep_objects::swarmkit::ResolveAddressRequest;
use skep_rpc::swarmkit::raft_client::RaftClient;
use tonic::transport::Channel;
use tracing::{debug, info};

use super::peers::Peers;

/// How long each may take to answer.
const CALL_DEADLINE: Duration = Duration::from_secs(2);
/// Pause after nobody knew.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks one after the other.
pub(super) async fn resolve(peers: Weak<Peers>, raft_id: u64, others: Vec<RaftClient<Channel>>) {
    let mut found = None;
    for mut other in others {
        let call = other.resolve_address(ResolveAddressRequest { raft_id });
        match tokio::time::timeout(CALL_DEADLINE, call).await {
            Ok(Ok(answer)) => {
                found = Some(answer.into_inner().addr);
                break;
            }
            Ok(Err(status)) => debug!(raft.id = raft_id, %status, "address not known there"),
            Err(_) => debug!(raft.id = raft_id, "address not told in time"),
        }
    }
    match &found {
        Some(addr) => info!(raft.id = raft_id, addr, "others know this manager"),
        None => tokio::time::sleep(PAUSE).await,
    }
    if let Some(peers) = peers.upgrade() {
        peers.found(raft_id, found);
    }
}
