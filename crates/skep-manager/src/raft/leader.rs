//! The way to the leader, for calls that it must answer.

use std::time::Duration;

use skep_rpc::{Leader, LeaderLink};
use skep_store::raft::{RaftNode, RaftStatus};
use tonic::Status;
use tonic::transport::Channel;

use super::Quorum;

/// How long a call waits for there to be a leader: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Docker's words for a quorum that is lost.
const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers are \
                         online. Make sure more than half of the managers are online.";

#[tonic::async_trait]
impl LeaderLink for Quorum {
    async fn leader(&self, failed: bool) -> Result<Leader, Status> {
        if failed {
            self.forget_leader_channel();
        }
        let node = self
            .node()
            .ok_or_else(|| no_leader("this manager is still starting"))?;
        let found = tokio::time::timeout(PATIENCE, self.find_leader(node)).await;
        match found {
            Ok(Some(Found::Here)) => Ok(Leader::Local),
            Ok(Some(Found::There(raft_id, addr))) => {
                Ok(Leader::Remote(self.leader_channel(raft_id, &addr)?))
            }
            Ok(None) => Err(no_leader("this manager is stopped")),
            Err(_) => Err(no_leader(NO_LEADER)),
        }
    }
}

/// Where the leader is.
enum Found {
    Here,
    There(u64, String),
}

impl Quorum {
    /// Waits until the leader and its address are known; none when the member has ended.
    async fn find_leader(&self, node: &RaftNode) -> Option<Found> {
        let (mut status, mut membership) = (node.status(), node.membership());
        loop {
            let now = status.borrow_and_update().clone();
            membership.mark_unchanged();
            if now.is_leading {
                return Some(Found::Here);
            }
            if let Some((raft_id, addr)) = self.remote_leader(&now) {
                return Some(Found::There(raft_id, addr));
            }
            tokio::select! {
                changed = status.changed() => changed.ok()?,
                changed = membership.changed() => changed.ok()?,
            }
        }
    }

    /// Raft id and address of the leader, when it is another manager.
    pub(super) fn remote_leader(&self, status: &RaftStatus) -> Option<(u64, String)> {
        let leader = status.leader.filter(|leader| *leader != status.raft_id)?;
        let node = self.node()?;
        let addr = node.membership().borrow().get(leader)?.addr.clone();
        Some((leader, addr))
    }

    fn leader_channel(&self, raft_id: u64, addr: &str) -> Result<Channel, Status> {
        let mut kept = self.kept_channel();
        if let Some((id, at, channel)) = &*kept
            && *id == raft_id
            && at == addr
        {
            return Ok(channel.clone());
        }
        let channel = skep_rpc::connect_lazy(addr, self.identity())
            .map_err(|error| Status::unavailable(error.to_string()))?;
        *kept = Some((raft_id, addr.to_owned(), channel.clone()));
        Ok(channel)
    }
}

fn no_leader(why: &str) -> Status {
    Status::unavailable(why)
}
