//! Follows leadership: starts the leader's parts when this manager is elected, stops them when it
//! is not the leader any more.

use std::{sync::Arc, time::Duration};

use skep_objects::swarmkit::{Peer, WeightedPeer, node_spec::Availability};
use skep_rpc::NodeIdentity;
use skep_store::{
    Store,
    raft::{Membership, RaftNode},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    leader::{
        Leader, Quorum as LeaderQuorum, Slots,
        seed::{Founder, NewCluster, seed},
    },
    raft::Quorum,
};

/// The weight of every manager in the list that agents get.
const WEIGHT: i64 = 10;
/// Pause before seeding is tried again.
const RETRY: Duration = Duration::from_millis(200);

#[tonic::async_trait]
impl LeaderQuorum for Quorum {
    async fn remove(&self, raft_id: u64) -> Result<(), String> {
        Quorum::remove(self, raft_id)
            .await
            .map_err(|error| error.to_string())
    }
}

/// What becoming the leader takes.
pub struct Leadership {
    pub store: Store,
    pub node: RaftNode,
    pub quorum: Quorum,
    pub identity: NodeIdentity,
    pub availability: Availability,
    pub new_cluster: Option<NewCluster>,
    pub slots: Slots,
    pub leads: watch::Sender<bool>,
}

impl Leadership {
    /// Follows until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut status = self.node.status();
        loop {
            let elected = status.wait_for(|status| status.is_leading);
            let term = tokio::select! {
                () = stop.cancelled() => return,
                elected = elected => match elected {
                    Ok(status) => status.term,
                    Err(_) => return,
                },
            };
            info!(term, "this manager leads");
            let deposed = stop.child_token();
            let watcher = until_deposed(self.node.status(), term, deposed.clone());
            let lead = self.lead(&deposed);
            tokio::join!(watcher, lead);
            info!(term, "this manager leads no more");
        }
    }

    async fn lead(&self, deposed: &CancellationToken) {
        if !self.seed(deposed).await {
            return;
        }
        let managers = watch::Sender::new(peers(&self.node.membership().borrow()));
        let leader = Leader::start(
            &self.store,
            &self.identity,
            Arc::new(self.quorum.clone()),
            managers.subscribe(),
            self.slots.clone(),
        );
        self.leads.send_replace(true);
        let mut membership = self.node.membership();
        loop {
            tokio::select! {
                () = deposed.cancelled() => break,
                changed = membership.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let peers = peers(&membership.borrow_and_update());
                    managers.send_if_modified(|known| {
                        let differs = *known != peers;
                        *known = peers;
                        differs
                    });
                }
            }
        }
        self.leads.send_replace(false);
        leader.stop().await;
    }

    /// Puts into the store what must be there; false when leadership was lost before.
    async fn seed(&self, deposed: &CancellationToken) -> bool {
        let credentials = self.identity.current();
        let founder = Founder {
            node_id: self.identity.node_id(),
            cluster_id: self.identity.cluster_id(),
            certificate: credentials.certificate().pem(),
            availability: self.availability,
        };
        let restoration = self
            .new_cluster
            .as_ref()
            .and_then(|new| new.restore.as_ref());
        if let Some(restoration) = restoration.filter(|_| self.store.view().the_cluster().is_none())
        {
            let written = tokio::select! {
                () = deposed.cancelled() => return false,
                written = restoration.write(&self.store) => written,
            };
            // What is there of the swarm has no cluster object: nobody takes it for a whole one.
            if let Err(error) = written {
                error!(%error, "the swarm could not be restored");
                return false;
            }
        }
        loop {
            let seeded = self
                .store
                .update(|tx| seed(tx, &founder, self.new_cluster.as_ref()));
            let error = tokio::select! {
                () = deposed.cancelled() => return false,
                seeded = seeded => match seeded {
                    Ok(()) => return true,
                    Err(error) => error,
                },
            };
            error!(%error, "the swarm's first objects could not be written");
            tokio::select! {
                () = deposed.cancelled() => return false,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

/// Cancels `deposed` when the member leads this term no more.
async fn until_deposed(
    mut status: watch::Receiver<skep_store::raft::RaftStatus>,
    term: u64,
    deposed: CancellationToken,
) {
    let over = status.wait_for(|status| !status.is_leading || status.term != term);
    tokio::select! {
        () = deposed.cancelled() => {}
        _ = over => deposed.cancel(),
    }
}

fn peers(membership: &Membership) -> Vec<WeightedPeer> {
    let peer = |member: &skep_store::raft::Member| WeightedPeer {
        peer: Some(Peer {
            node_id: member.node_id.clone(),
            addr: member.addr.clone(),
        }),
        weight: WEIGHT,
    };
    membership.members().map(peer).collect()
}
