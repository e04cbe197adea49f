//! The way to the leader, for calls that it must answer.

use std::time::Duration;

use skep_rpc::{Leader, LeaderLink};
use skep_store::CommitError;
use skep_store::raft::{Health, RaftNode, RaftStatus};
use tonic::Status;
use tonic::transport::Channel;

use super::Quorum;
use super::missing::{Manager, diagnosis};

/// How long a call waits for there to be a leader: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same once a call has waited in vain: the quorum is lost, and users want to hear so.
const NO_PATIENCE: Duration = Duration::from_millis(200);
/// How long answers of a leader that leads no more are waited for.
const LAST_ANSWER: Duration = Duration::from_secs(1);

#[tonic::async_trait]
impl LeaderLink for Quorum {
    async fn leader(&self, failed: bool) -> Result<Leader, Status> {
        if failed {
            self.forget_leader_channel();
        }
        let node = self
            .node()
            .ok_or_else(|| no_leader("this manager is still starting"))?;
        if node.is_leading() {
            self.set_leaderless(false);
            return Ok(Leader::Local);
        }
        let patience = if self.is_leaderless() {
            NO_PATIENCE
        } else {
            PATIENCE
        };
        let found = tokio::time::timeout(patience, self.find_leader(node)).await;
        self.set_leaderless(found.is_err());
        match found {
            Ok(Some(Found::Here)) => Ok(Leader::Local),
            Ok(Some(Found::There(raft_id, addr))) => {
                let channel = self.leader_channel(raft_id, &addr)?;
                Ok(Leader::Remote { raft_id, channel })
            }
            Ok(Some(Found::ReadOnly(why))) => {
                Err(no_leader(&CommitError::ReadOnly(why).to_string()))
            }
            Ok(None) => Err(no_leader("this manager is stopped")),
            Err(_) => Err(no_leader(&self.diagnosis(node))),
        }
    }

    async fn deposed(&self, raft_id: u64) {
        let Some(node) = self.node() else { return };
        let mut status = node.status();
        let changed = status.wait_for(|status| status.leader != Some(raft_id));
        // An end of the member deposes too.
        let _ = changed.await;
        tokio::time::sleep(LAST_ANSWER).await;
    }
}

/// Where the leader is.
enum Found {
    Here,
    There(u64, String),
    /// It would be here, but for the disk.
    ReadOnly(String),
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
            if let Health::ReadOnly(why) = now.health {
                return Some(Found::ReadOnly(why));
            }
            tokio::select! {
                changed = status.changed() => changed.ok()?,
                changed = membership.changed() => changed.ok()?,
            }
        }
    }

    /// Why nothing can be written, while what is known can be read: this manager's disk is full.
    pub fn trouble(&self) -> Option<String> {
        match &self.node()?.status().borrow().health {
            Health::ReadOnly(why) => Some(CommitError::ReadOnly(why.clone()).to_string()),
            Health::Running | Health::Removed | Health::Failed(_) | Health::Stopped => None,
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

impl Quorum {
    /// What is to be said to a user while there is no leader.
    fn diagnosis(&self, node: &RaftNode) -> String {
        let own = node.status().borrow().raft_id;
        let membership = node.membership().borrow().clone();
        let view = self.store().map(|store| store.view());
        let name = |node_id: &str| {
            let node = view.as_ref()?.node(node_id)?;
            let description = node.description.as_ref()?;
            Some(description.hostname.clone()).filter(|name| !name.is_empty())
        };
        let managers: Vec<Manager> = membership
            .members()
            .map(|member| Manager {
                name: name(&member.node_id).unwrap_or_else(|| member.node_id.clone()),
                addr: member.addr.clone(),
                missing_since: self.missing_since(member.raft_id),
            })
            .collect();
        let addr = membership.get(own).map(|member| member.addr.clone());
        diagnosis(&managers, &addr.unwrap_or_default())
    }
}

fn no_leader(why: &str) -> Status {
    Status::unavailable(why)
}
