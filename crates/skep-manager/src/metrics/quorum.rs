//! The quorum and the store below it.

use skep_store::{BUCKETS, Histogram, RaftMetrics, StoreMetrics};

use super::{Family, counter, gauge, histogram};

/// What raft says at the moment, and what it and the store have counted.
#[derive(Debug, Clone, Default)]
pub struct Raft {
    /// This manager leads.
    pub leads: bool,
    /// There is a leader.
    pub has_leader: bool,
    /// Members that took no message lately.
    pub unreachable: usize,
    /// The disk is full.
    pub read_only: bool,
    /// What the member of the quorum counted.
    pub member: RaftMetrics,
    /// What the store counted.
    pub store: StoreMetrics,
}

fn taken(name: &'static str, help: &'static str, from: &Histogram) -> Family {
    let buckets = BUCKETS.into_iter().zip(from.buckets);
    histogram(name, help, buckets, from.count, from.sum)
}

#[allow(clippy::cast_precision_loss)] // Prometheus counts in floats.
impl Raft {
    pub(super) fn families(&self) -> Vec<Family> {
        let mut all = self.standing();
        all.extend(self.log());
        all.extend(self.transactions());
        all
    }

    /// Who is in the quorum, and how it stands.
    fn standing(&self) -> Vec<Family> {
        let flag = |is: bool| f64::from(u8::from(is));
        vec![
            gauge(
                "swarm_manager_leader",
                "Whether this manager leads",
                flag(self.leads),
            ),
            gauge(
                "skep_raft_has_leader",
                "Whether the quorum has a leader, as far as this manager knows",
                flag(self.has_leader),
            ),
            gauge("skep_raft_term", "Raft's term", self.member.term as f64),
            gauge(
                "skep_raft_members",
                "The members of the quorum",
                self.member.members as f64,
            ),
            gauge(
                "skep_raft_learners",
                "The members that do not vote yet",
                self.member.learners as f64,
            ),
            gauge(
                "skep_raft_unreachable_members",
                "The members that did not take this manager's last message",
                self.unreachable as f64,
            ),
            gauge(
                "skep_raft_reachable_members",
                "The members that answered lately, as far as a leader knows",
                self.member.members_reachable as f64,
            ),
            gauge(
                "skep_raft_read_only",
                "Whether this manager's disk is full, so that it takes no part",
                flag(self.read_only),
            ),
            counter(
                "skep_raft_leader_changes_total",
                "How often this manager saw another leader than before",
                self.member.leader_changes,
            ),
        ]
    }

    /// Raft's log and messages.
    fn log(&self) -> Vec<Family> {
        let member = &self.member;
        vec![
            gauge(
                "skep_raft_commit_index",
                "The last entry that is known to be committed",
                member.commit_index as f64,
            ),
            gauge(
                "skep_raft_applied_index",
                "The last entry that is in the store",
                member.applied_index as f64,
            ),
            gauge(
                "skep_raft_last_index",
                "The last entry of the log",
                member.last_index as f64,
            ),
            counter(
                "skep_raft_proposals_total",
                "Entries that this manager proposed as leader",
                member.proposals,
            ),
            counter(
                "skep_raft_messages_sent_total",
                "Raft messages given to the network",
                member.messages_sent,
            ),
            counter(
                "skep_raft_messages_received_total",
                "Raft messages taken from the network",
                member.messages_received,
            ),
            counter(
                "skep_raft_snapshots_received_total",
                "Snapshots taken from a leader",
                member.snapshots_received,
            ),
            taken(
                "skep_raft_sync_seconds",
                "How long each wait for the disk of the log took",
                &member.sync_seconds,
            ),
            taken(
                "swarm_raft_snapshot_latency_seconds",
                "How long each snapshot took, from its beginning to its being on the disk",
                &member.snapshot_seconds,
            ),
        ]
    }

    /// Transactions of the store.
    fn transactions(&self) -> Vec<Family> {
        let store = &self.store;
        vec![
            taken(
                "swarm_raft_transaction_latency_seconds",
                "From a transaction's proposal to its commit",
                &store.commit_seconds,
            ),
            taken(
                "swarm_store_write_tx_latency_seconds",
                "From a transaction's proposal to its commit",
                &store.commit_seconds,
            ),
            counter(
                "skep_store_transactions_total",
                "Transactions of this manager that were committed",
                store.committed,
            ),
            counter(
                "skep_store_failed_transactions_total",
                "Transactions of this manager that failed on their way",
                store.failed,
            ),
            gauge(
                "skep_store_pending_transactions",
                "Transactions on their way",
                store.pending as f64,
            ),
            gauge(
                "skep_store_watchers",
                "Parts of this manager that follow the store",
                store.watchers as f64,
            ),
        ]
    }
}
