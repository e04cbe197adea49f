//! The managers as the control API sees them.

use skep_objects::swarmkit::raft_member_status::Reachability;
use skep_store::raft::{Member as RaftMember, RaftStatus};

use super::Quorum;
use crate::control::members::{Member, Members, keeps_quorum};

impl Members for Quorum {
    fn all(&self) -> Vec<Member> {
        let Some(node) = self.node() else {
            return Vec::new();
        };
        let status = node.status().borrow().clone();
        let membership = node.membership().borrow().clone();
        membership
            .members()
            .map(|member| {
                let mut member = member_of(member, &status);
                // Without a leader nobody else says so.
                if status.leader.is_none() && self.missing_since(member.raft_id).is_some() {
                    member.reachability = Reachability::Unreachable;
                }
                member
            })
            .collect()
    }

    fn can_remove(&self, raft_id: u64) -> bool {
        let Some(node) = self.node() else {
            return false;
        };
        let membership = node.membership().borrow().clone();
        if membership.is_learner(raft_id) {
            return true; // It has no vote to lose.
        }
        let mut voters = self.all();
        voters.retain(|member| !membership.is_learner(member.raft_id));
        keeps_quorum(&voters, raft_id)
    }
}

/// Only the leader knows who answers; a follower knows of itself and the leader.
fn member_of(member: &RaftMember, status: &RaftStatus) -> Member {
    let leader = status.leader == Some(member.raft_id);
    let answers = leader
        || member.raft_id == status.raft_id
        || status.active.get(&member.raft_id).copied().unwrap_or(false);
    let reachability = match (answers, status.active.is_empty()) {
        (true, _) => Reachability::Reachable,
        (false, true) => Reachability::Unknown,
        (false, false) => Reachability::Unreachable,
    };
    Member {
        raft_id: member.raft_id,
        node_id: member.node_id.clone(),
        addr: member.addr.clone(),
        leader,
        reachability,
    }
}
