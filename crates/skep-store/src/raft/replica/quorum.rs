//! Changing who the members are, and who leads.

use skep_objects::ErrorKind;
use skep_objects::raftpb::ConfChange;
use tokio::sync::oneshot;

use super::Replica;
use crate::raft::core::Role;
use crate::raft::membership::{Member, MembershipError, removal};
use crate::raft::status::Health;
use crate::update::CommitError;

/// Why the members, or the leader, could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// Only the leader can, and this member does not lead.
    #[error("this manager is not the leader of the swarm")]
    NotLeader,
    /// Leadership was lost on the way: the change may or may not come about.
    #[error("leadership was lost before the change of managers was known to be committed")]
    LeadershipLost,
    /// The change makes no sense.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Nobody else can lead.
    #[error("no other manager is reachable and up to date enough to lead")]
    NoTarget,
    /// The chosen member did not take over within an election timeout.
    #[error("the chosen manager did not take over the leadership in time")]
    HandoverTimeout,
    /// The member was stopped.
    #[error("this manager's store is stopped")]
    Stopped,
}

impl ConfError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ConfError::Membership(MembershipError::NotFound(_)) => ErrorKind::NotFound,
            ConfError::Membership(MembershipError::Exists(_)) => ErrorKind::AlreadyExists,
            ConfError::Membership(MembershipError::Removed(_)) => ErrorKind::NotAllowed,
            ConfError::Membership(_) => ErrorKind::InvalidArgument,
            ConfError::NotLeader
            | ConfError::LeadershipLost
            | ConfError::NoTarget
            | ConfError::HandoverTimeout
            | ConfError::Stopped => ErrorKind::Unavailable,
        }
    }
}

/// A learner that lacks no more entries than this votes; the rest comes in one message.
const CAUGHT_UP: u64 = 100;

/// Where the answer goes.
pub(crate) type ConfReply = oneshot::Sender<Result<(), ConfError>>;

/// A wanted change of the members.
#[derive(Debug)]
pub(crate) struct ConfRequest {
    what: Wanted,
    reply: ConfReply,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Add(Member),
    /// A learner is to vote.
    Promote(Member),
    Update(Member),
    Remove(u64),
}

/// Leadership on its way to another member.
#[derive(Debug)]
pub(crate) struct Handover {
    reply: ConfReply,
    /// What to answer when it is gone.
    done: Result<(), ConfError>,
}

impl Replica {
    /// Asks for a change of the members; answered when it is applied here.
    pub(crate) fn request_conf(&mut self, what: Wanted, reply: ConfReply) {
        if !self.is_announced() {
            self.out.answers.push((reply, Err(ConfError::NotLeader)));
            return;
        }
        let me = self.me.raft_id;
        if matches!(what, Wanted::Remove(id) if id == me) && !self.membership.is_only_voter(me) {
            // The next leader does it: nobody leaves who is needed to tell the others.
            self.hand_over(None, reply, Err(ConfError::NotLeader));
            return;
        }
        self.conf_queue.push_back(ConfRequest { what, reply });
    }

    /// Proposes the next change, when no other is under way: raft turns a second one into nothing.
    pub(super) fn propose_conf(&mut self) {
        if !self.conf_waiting.is_empty() {
            return;
        }
        let Some(outbox) = self.outbox.clone() else {
            return;
        };
        while let Some(request) = self.conf_queue.pop_front() {
            let id = outbox.next_id();
            let change = self.change_of(&request.what, id);
            if let Err(error) = self.membership.check(&change) {
                self.out.answers.push((request.reply, Err(error.into())));
                continue;
            }
            if self.core.propose_conf(&change).is_ok() {
                self.conf_waiting.insert(id, request);
            } else {
                self.conf_queue.push_front(request);
            }
            return;
        }
    }

    fn change_of(&self, what: &Wanted, id: u64) -> ConfChange {
        use skep_objects::raftpb::ConfChangeType;
        match what {
            Wanted::Add(member) if self.config.learners => {
                member.change(ConfChangeType::AddLearnerNode, id)
            }
            Wanted::Add(member) | Wanted::Promote(member) => {
                member.change(ConfChangeType::AddNode, id)
            }
            Wanted::Update(member) => member.change(ConfChangeType::UpdateNode, id),
            Wanted::Remove(raft_id) => removal(*raft_id, id),
        }
    }

    /// Lets a learner vote that has nearly everything and answers: from then on the quorum may
    /// have to wait for it.
    pub(super) fn promote_learners(&mut self) {
        if !self.is_announced() || !self.conf_waiting.is_empty() || !self.conf_queue.is_empty() {
            return;
        }
        let commit = self.core.status().commit;
        let has_caught_up = |member: &&Member| {
            let matched = self.core.matched(member.raft_id).unwrap_or_default();
            matched + CAUGHT_UP >= commit && matched > 0 && self.was_heard(member.raft_id)
        };
        if let Some(member) = self.membership.learners().find(has_caught_up).cloned() {
            // Nobody waits for the answer: when it fails, the next tick asks again.
            let (reply, _) = oneshot::channel();
            let what = Wanted::Promote(member);
            self.conf_queue.push_back(ConfRequest { what, reply });
        }
    }

    pub(super) fn answer_conf(&mut self, id: u64, result: Result<(), MembershipError>) {
        if let Some(request) = self.conf_waiting.remove(&id) {
            self.out
                .answers
                .push((request.reply, result.map_err(ConfError::from)));
        }
    }

    pub(super) fn fail_conf_requests(&mut self) {
        let waiting = std::mem::take(&mut self.conf_waiting).into_values();
        for request in waiting {
            self.out
                .answers
                .push((request.reply, Err(ConfError::LeadershipLost)));
        }
        for request in self.conf_queue.drain(..) {
            self.out
                .answers
                .push((request.reply, Err(ConfError::NotLeader)));
        }
    }

    /// Hands leadership to a member, or to the one whose log reaches furthest.
    pub(crate) fn transfer(&mut self, to: Option<u64>, reply: ConfReply) {
        self.hand_over(to, reply, Ok(()));
    }

    fn hand_over(&mut self, to: Option<u64>, reply: ConfReply, done: Result<(), ConfError>) {
        let status = self.core.status();
        if !self.is_running() || status.role != Role::Leader {
            self.out.answers.push((reply, Err(ConfError::NotLeader)));
            return;
        }
        let Some(target) = to.or_else(|| self.best_successor()) else {
            self.out.answers.push((reply, Err(ConfError::NoTarget)));
            return;
        };
        if target == self.me.raft_id {
            self.out.answers.push((reply, Ok(())));
            return;
        }
        self.core.transfer_to(target);
        if let Some(earlier) = self.handover.replace(Handover { reply, done }) {
            let answer = Err(ConfError::HandoverTimeout);
            self.out.answers.push((earlier.reply, answer));
        }
        self.advance();
    }

    fn best_successor(&self) -> Option<u64> {
        let active = self.active();
        let others = active
            .iter()
            .filter(|(id, active)| **active && **id != self.me.raft_id)
            .filter(|(id, _)| !self.membership.is_learner(**id));
        let reach = others.filter_map(|(id, _)| Some((self.core.matched(*id)?, *id)));
        reach.max().map(|(_, raft_id)| raft_id)
    }

    /// Answers a transfer that raft gave up.
    pub(super) fn watch_handover(&mut self) {
        if !self.core.status().transferring
            && let Some(Handover { reply, .. }) = self.handover.take()
        {
            self.out
                .answers
                .push((reply, Err(ConfError::HandoverTimeout)));
        }
    }

    /// A leader that the log removed stays until as many others know it as make sure that the rest
    /// can go on without its vote: half of what the quorum was. Its heartbeats tell them. When it
    /// leads no more, those who know say so to it.
    pub(super) fn watch_leaving(&mut self) {
        let Some(index) = self.leaving else { return };
        if self.core.status().role != Role::Leader {
            return;
        }
        let voters = self.membership.voters();
        let (mut others, mut know) = (0_usize, 0);
        for member in voters {
            others += 1;
            know += usize::from(self.core.told(member.raft_id) >= index);
        }
        // dockerd's managers do not say what they know.
        let patience = 2 * self.config.election_ticks as u64;
        let since = *self.leaving_since.get_or_insert(self.ticks);
        let is_over = !self.config.learners && self.ticks - since > patience;
        if know >= others.div_ceil(2) || is_over {
            self.end(Health::Removed);
        }
    }

    /// Answers a transfer when leadership is gone, for whatever reason.
    pub(super) fn end_handover(&mut self, why: &CommitError) {
        if let Some(Handover { reply, done }) = self.handover.take() {
            let gone = *why == CommitError::NotLeader;
            let answer = if gone { done } else { Err(ConfError::Stopped) };
            self.out.answers.push((reply, answer));
        }
    }
}
