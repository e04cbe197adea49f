//! A manager whose address changed, because its host moved, tells the others.
//!
//! They send to the address they know, so this one may hear of no leader: it asks whomever of the
//! members it reaches, who hands the call on. The leader dials the new address before it believes it.

use std::time::Duration;

use skep_objects::swarmkit::JoinRequest;
use skep_rpc::swarmkit::raft_membership_client::RaftMembershipClient;
use skep_store::raft::{Member, Membership, RaftNode};
use tracing::{debug, info};

use super::Quorum;

/// Pause between rounds of asking, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long one manager may take to answer: the leader commits the change first.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Asks until the members know this one by its address; ends with the member.
pub(super) async fn announce(quorum: Quorum, own_addr: String) {
    let Some(node) = quorum.node().cloned() else {
        return;
    };
    let own_id = node.status().borrow().raft_id;
    let mut pause = PAUSE.0;
    let mut membership = node.membership();
    let is_known = |members: &Membership| {
        let own = members.get(own_id);
        own.is_some_and(|member| member.addr == own_addr)
    };
    loop {
        // A joiner's log tells nothing of it at first: the leader has the address from its call.
        let named = membership.wait_for(|members| members.get(own_id).is_some());
        let members = match named.await {
            Ok(members) => members.clone(),
            Err(_) => return,
        };
        if is_known(&members) {
            return;
        }
        info!(
            addr = own_addr,
            "this manager has another address: telling the others"
        );
        tell(&quorum, &node, &members, &own_addr).await;
        let told = tokio::time::timeout(pause, membership.wait_for(|members| is_known(members)));
        if told.await.is_ok() {
            return;
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// One round: this member itself, if it leads; else the others, one after the other.
async fn tell(quorum: &Quorum, node: &RaftNode, members: &Membership, own_addr: &str) {
    let own_id = node.status().borrow().raft_id;
    let Some(own) = members.get(own_id) else {
        return;
    };
    if node.status().borrow().is_leading {
        let moved = Member {
            addr: own_addr.to_owned(),
            ..own.clone()
        };
        if let Err(error) = node.update_member(moved).await {
            debug!(%error, "own address not changed");
        }
        return;
    }
    for other in members.members().filter(|member| member.raft_id != own_id) {
        let call = async {
            let channel = skep_rpc::connect(&other.addr, quorum.identity())
                .await
                .map_err(|error| error.to_string())?;
            let request = JoinRequest {
                addr: own_addr.to_owned(),
            };
            let joined = RaftMembershipClient::new(channel).join(request).await;
            joined.map_err(|status| status.message().to_owned())
        };
        match tokio::time::timeout(CALL_DEADLINE, call).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => debug!(addr = other.addr, error, "own address not taken"),
            Err(_) => debug!(addr = other.addr, "own address not taken in time"),
        }
    }
}
