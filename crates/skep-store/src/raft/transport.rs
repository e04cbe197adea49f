//! What raft needs of the network.

use std::fmt;

use skep_objects::raftpb::Message;

use super::membership::Membership;

/// Carries messages to other members. Messages may be lost, doubled, late and out of order.
///
/// No method may block: each member has a queue of its own, and a full one loses messages (and
/// says so by [`RaftNode::report_unreachable`](super::RaftNode::report_unreachable)). After the
/// last piece of a snapshot it must say how it went by
/// [`RaftNode::report_snapshot`](super::RaftNode::report_snapshot): until then raft sends that
/// member nothing else.
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Sends a message to the member `message.to`.
    fn send(&self, message: Message);

    /// The members changed: some may be new, gone, or have another address.
    fn members_changed(&self, membership: &Membership);
}
