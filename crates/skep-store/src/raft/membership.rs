//! Who the members are, as the log's configuration changes say.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use skep_objects::raftpb::{ConfChange, ConfChangeType};
use skep_objects::swarmkit::{ClusterSnapshot, RaftMember};

/// One manager in the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its raft id: drawn at random when it joined, never used again after its removal.
    pub raft_id: u64,
    /// Its node id.
    pub node_id: String,
    /// Where the others reach it, `host:port`.
    pub addr: String,
}

/// The members, and those that must never come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<u64, Member>,
    /// Those of the members that follow and do not vote yet: they are still catching up.
    learners: BTreeSet<u64>,
    removed: BTreeSet<u64>,
}

/// What a configuration change does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add(Member),
    AddLearner(Member),
    /// A learner votes from now on.
    Promote(Member),
    Update(Member),
    Remove(u64),
}

/// Why a configuration change is not carried out, the same on every member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The id was removed once.
    #[error("raft member {0:x} was removed from the cluster and cannot return")]
    Removed(u64),
    /// The id is in use.
    #[error("raft member {0:x} already exists")]
    Exists(u64),
    /// No such member.
    #[error("raft member {0:x} is not in the cluster")]
    NotFound(u64),
    /// Nobody would be left to agree on anything.
    #[error("raft member {0:x} is the last that votes and cannot be removed")]
    LastVoter(u64),
    /// The change is not one that SwarmKit's managers make.
    #[error("configuration change of type {0} is not known")]
    Unknown(i32),
    /// It is not decodable.
    #[error("decode configuration change: {0}")]
    Malformed(#[from] prost::DecodeError),
}

impl Membership {
    /// The members by raft id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether a member does not vote yet.
    pub fn is_learner(&self, raft_id: u64) -> bool {
        self.learners.contains(&raft_id)
    }

    /// The members that do not vote yet.
    pub(crate) fn learners(&self) -> impl Iterator<Item = &Member> {
        self.learners.iter().filter_map(|id| self.members.get(id))
    }

    /// The members that vote.
    pub(crate) fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members()
            .filter(|member| !self.is_learner(member.raft_id))
    }

    /// Whether this member alone is a quorum.
    pub(crate) fn is_only_voter(&self, raft_id: u64) -> bool {
        let voters = self.members.len() - self.learners.len();
        voters == 1 && self.members.contains_key(&raft_id) && !self.is_learner(raft_id)
    }

    /// Takes from a snapshot's metadata who does not vote; its data does not tell.
    pub(crate) fn set_learners(&mut self, learners: &[u64]) {
        let known = learners.iter().filter(|id| self.members.contains_key(*id));
        self.learners = known.copied().collect();
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member: a joiner that has heard nothing yet.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member of this raft id.
    pub fn get(&self, raft_id: u64) -> Option<&Member> {
        self.members.get(&raft_id)
    }

    /// The member that a node is.
    pub fn by_node(&self, node_id: &str) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.node_id == node_id)
    }

    /// Whether a member of this id was removed.
    pub fn is_removed(&self, raft_id: u64) -> bool {
        self.removed.contains(&raft_id)
    }

    /// Ids of removed members.
    pub fn removed(&self) -> impl Iterator<Item = u64> {
        self.removed.iter().copied()
    }

    /// Reads a configuration change and checks that it makes sense here.
    pub(crate) fn check(&self, change: &ConfChange) -> Result<Change, MembershipError> {
        let id = change.node_id();
        if self.is_removed(id) {
            return Err(MembershipError::Removed(id));
        }
        let kind = change.r#type.unwrap_or_default();
        let exists = self.members.contains_key(&id);
        match ConfChangeType::try_from(kind) {
            Ok(ConfChangeType::AddNode) if self.is_learner(id) => {
                Ok(Change::Promote(member_of(change)?))
            }
            Ok(ConfChangeType::AddNode | ConfChangeType::AddLearnerNode) if exists => {
                Err(MembershipError::Exists(id))
            }
            Ok(ConfChangeType::AddLearnerNode) => Ok(Change::AddLearner(member_of(change)?)),
            Ok(ConfChangeType::AddNode) => Ok(Change::Add(member_of(change)?)),
            Ok(ConfChangeType::RemoveNode | ConfChangeType::UpdateNode) if !exists => {
                Err(MembershipError::NotFound(id))
            }
            Ok(ConfChangeType::RemoveNode) if self.is_only_voter(id) => {
                Err(MembershipError::LastVoter(id))
            }
            Ok(ConfChangeType::RemoveNode) => Ok(Change::Remove(id)),
            Ok(ConfChangeType::UpdateNode) => Ok(Change::Update(member_of(change)?)),
            Err(_) => Err(MembershipError::Unknown(kind)),
        }
    }

    /// Carries out a checked change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Add(member) | Change::Update(member) => {
                self.members.insert(member.raft_id, member.clone());
            }
            Change::AddLearner(member) => {
                self.members.insert(member.raft_id, member.clone());
                self.learners.insert(member.raft_id);
            }
            Change::Promote(member) => {
                self.members.insert(member.raft_id, member.clone());
                self.learners.remove(&member.raft_id);
            }
            Change::Remove(id) => {
                self.members.remove(id);
                self.learners.remove(id);
                self.removed.insert(*id);
            }
        }
    }

    /// As a snapshot carries it.
    pub(crate) fn to_message(&self) -> ClusterSnapshot {
        ClusterSnapshot {
            members: self.members().map(Member::to_message).collect(),
            removed: self.removed().collect(),
        }
    }

    pub(crate) fn from_message(message: ClusterSnapshot) -> Self {
        let members = message.members.into_iter().map(Member::from_message);
        Membership {
            members: members.map(|member| (member.raft_id, member)).collect(),
            learners: BTreeSet::new(),
            removed: message.removed.into_iter().collect(),
        }
    }
}

impl Member {
    /// As the protocol carries it.
    pub fn to_message(&self) -> RaftMember {
        RaftMember {
            raft_id: self.raft_id,
            node_id: self.node_id.clone(),
            addr: self.addr.clone(),
            status: None,
        }
    }

    /// From the protocol's form.
    pub fn from_message(message: RaftMember) -> Self {
        Member {
            raft_id: message.raft_id,
            node_id: message.node_id,
            addr: message.addr,
        }
    }

    /// The change that adds or updates it.
    pub(crate) fn change(&self, kind: ConfChangeType, id: u64) -> ConfChange {
        ConfChange {
            id: Some(id),
            r#type: Some(kind as i32),
            node_id: Some(self.raft_id),
            context: Some(self.to_message().encode_to_vec()),
        }
    }
}

/// The change that removes a member.
pub(crate) fn removal(raft_id: u64, id: u64) -> ConfChange {
    ConfChange {
        id: Some(id),
        r#type: Some(ConfChangeType::RemoveNode as i32),
        node_id: Some(raft_id),
        context: None,
    }
}

fn member_of(change: &ConfChange) -> Result<Member, MembershipError> {
    let message = RaftMember::decode(change.context())?;
    Ok(Member {
        raft_id: change.node_id(),
        ..Member::from_message(message)
    })
}
