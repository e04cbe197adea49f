//! What the control API asks of raft's membership.

use skep_objects::swarmkit::raft_member_status::Reachability;

/// A manager as raft knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Raft's number for it.
    pub raft_id: u64,
    /// The node it runs on.
    pub node_id: String,
    /// Where it answers managers and agents.
    pub addr: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it answers.
    pub reachability: Reachability,
}

/// Raft's list of members.
pub trait Members: Send + Sync {
    /// Every member.
    fn all(&self) -> Vec<Member>;

    /// Whether enough members would still be reachable without this one.
    fn can_remove(&self, raft_id: u64) -> bool;

    /// The member that runs on this node.
    fn by_node(&self, node_id: &str) -> Option<Member> {
        self.all()
            .into_iter()
            .find(|member| member.node_id == node_id)
    }
}

/// Whether a quorum would be left after removal of the member: the rule of SwarmKit's guard, in
/// which the member that is asked counts as reachable.
pub fn keeps_quorum(members: &[Member], raft_id: u64) -> bool {
    if members.is_empty() {
        return false;
    }
    let reachable = members
        .iter()
        .filter(|member| member.raft_id != raft_id)
        .filter(|member| member.leader || member.reachability == Reachability::Reachable)
        .count();
    let quorum = (members.len() - 1) / 2 + 1;
    reachable >= quorum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(reachable: &[bool]) -> Vec<Member> {
        let member = |(index, up): (usize, &bool)| Member {
            raft_id: index as u64 + 1,
            node_id: format!("n{}", index + 1),
            addr: String::new(),
            leader: index == 0,
            reachability: if *up {
                Reachability::Reachable
            } else {
                Reachability::Unreachable
            },
        };
        reachable.iter().enumerate().map(member).collect()
    }

    #[test]
    fn removal_leaves_a_quorum_or_is_refused() {
        let check = |reachable: &[bool], remove, expect| {
            assert_eq!(
                keeps_quorum(&members(reachable), remove),
                expect,
                "{reachable:?} -{remove}"
            );
        };
        check(&[true, true, true], 3, true);
        check(&[true, true, false], 3, true);
        check(&[true, true, false], 2, false);
        check(&[true, true], 2, true);
        check(&[true, false], 2, true);
        check(&[true], 1, false);
        check(&[true, true, true, false, false], 5, true);
        check(&[true, true, true, false, false], 2, false);
    }
}
