//! The way to the leader, for calls that it must answer.

use std::time::Duration;

use skep_rpc::{Leader, LeaderLink};
use skep_store::raft::RaftStatus;
use tonic::Status;
use tonic::transport::Channel;

use super::Quorum;

/// How long a call waits for there to be a leader: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(5);

#[tonic::async_trait]
impl LeaderLink for Quorum {
    async fn leader(&self, failed: bool) -> Result<Leader, Status> {
        if failed {
            self.forget_leader_channel();
        }
        let node = self
            .node()
            .ok_or_else(|| no_leader("this manager is still starting"))?;
        let mut status = node.status();
        let known =
            status.wait_for(|status| status.is_leading || self.remote_leader(status).is_some());
        let known = tokio::time::timeout(PATIENCE, known).await;
        let status = match known {
            Ok(Ok(status)) => status.clone(),
            Ok(Err(_)) => return Err(no_leader("this manager is stopped")),
            Err(_) => return Err(no_leader(&self.quorum_lost_text())),
        };
        if status.is_leading {
            return Ok(Leader::Local);
        }
        let (raft_id, addr) = self
            .remote_leader(&status)
            .ok_or_else(|| no_leader(&self.quorum_lost_text()))?;
        Ok(Leader::Remote(self.leader_channel(raft_id, &addr)?))
    }
}

impl Quorum {
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

    /// What to say when there is no leader: Docker's words.
    fn quorum_lost_text(&self) -> String {
        "The swarm does not have a leader. It's possible that too few managers are online. Make \
         sure more than half of the managers are online."
            .to_owned()
    }
}

fn no_leader(why: &str) -> Status {
    Status::unavailable(why)
}
