//! Brings nodes' roles to what was asked for.
//!
//! A promoted node gets the role at once: its next certificate then makes it a manager, and it joins
//! raft by itself. A demoted one leaves raft first, and only then loses the role: a member without a
//! manager's certificate would count for the quorum and never answer.

use std::{sync::Arc, time::Duration};

use skep_objects::swarmkit::{Node, NodeRole, NodeSpec};
use skep_store::{CommitError, Event, Object, Store, Tx, TxError, UpdateError, View, Watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::control::{Member, Members};
use crate::retry;

/// How often pending work is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Raft's members, with the power to remove one.
#[tonic::async_trait]
pub trait Quorum: Members {
    /// Takes a member out. A leader that is to remove itself hands leadership over first.
    async fn remove(&self, raft_id: u64) -> Result<(), String>;
}

/// One step towards the roles wanted.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The node is to have this role.
    SetRole(String, NodeRole),
    /// The member is to leave raft.
    Leave(Member),
    /// The member is to leave raft, but the quorum would go with it.
    Wait(Member),
}

/// All steps that can be taken now.
pub fn plan(view: &View, members: &dyn Members) -> Vec<Step> {
    let all = members.all();
    let mut steps = Vec::new();
    for node in view.nodes() {
        let Some(desired) = node.spec.as_ref().map(NodeSpec::desired_role) else {
            continue;
        };
        match (desired, node.role()) {
            (NodeRole::Manager, NodeRole::Worker) => {
                steps.push(Step::SetRole(node.id.clone(), NodeRole::Manager));
            }
            (NodeRole::Worker, NodeRole::Manager) => {
                match all.iter().find(|member| member.node_id == node.id) {
                    Some(member) => steps.push(leave(members, member)),
                    None => steps.push(Step::SetRole(node.id.clone(), NodeRole::Worker)),
                }
            }
            _ => {}
        }
    }
    let strangers = all
        .iter()
        .filter(|member| view.node(&member.node_id).is_none());
    steps.extend(strangers.map(|member| leave(members, member)));
    steps
}

fn leave(members: &dyn Members, member: &Member) -> Step {
    if members.can_remove(member.raft_id) {
        Step::Leave(member.clone())
    } else {
        Step::Wait(member.clone())
    }
}

/// Writes a role, if it is still what is asked for.
pub fn set_role(tx: &mut Tx, id: &str, role: NodeRole) -> Result<(), TxError> {
    let wanted = tx
        .node(id)
        .and_then(|node| node.spec.as_ref().map(NodeSpec::desired_role));
    if wanted == Some(role) {
        tx.edit_node(id, |node| node.role = role.into())?;
    }
    Ok(())
}

/// Works until stopped, or until the store is.
pub async fn run(store: Store, quorum: Arc<dyn Quorum>, stop: CancellationToken) {
    let (view, mut watch) = store.watch();
    let mut pending = true;
    let mut view = view;
    let mut backoff = retry::backoff();
    loop {
        if pending {
            match work(&store, &view, &*quorum).await {
                Ok(left) => {
                    pending = left;
                    backoff.reset();
                }
                Err(error) => {
                    info!(%error, "roles could not be written yet");
                    if !retry::again(&error, &mut backoff, &stop).await {
                        return;
                    }
                    view = store.view();
                    continue;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = roles_changed(&mut watch) => match changed {
                Some(()) => pending = true,
                None => return,
            },
            () = tokio::time::sleep(RETRY), if pending => {}
        }
        view = store.view();
    }
}

/// Whether something is left to be tried again.
async fn work(store: &Store, view: &View, quorum: &dyn Quorum) -> Result<bool, CommitError> {
    let mut left = false;
    for step in plan(view, quorum) {
        match step {
            Step::SetRole(id, role) => match store.update(|tx| set_role(tx, &id, role)).await {
                Ok(()) => info!(node.id = id, ?role, "role changed"),
                Err(
                    error @ (UpdateError::Refused(_)
                    | UpdateError::Commit(CommitError::TooLarge { .. })),
                ) => {
                    left = true;
                    warn!(node.id = id, %error, "role could not be written");
                }
                Err(UpdateError::Commit(error)) => return Err(error),
            },
            Step::Leave(member) => {
                left = true;
                if let Err(error) = quorum.remove(member.raft_id).await {
                    warn!(
                        node.id = member.node_id,
                        error, "manager could not be taken out of raft"
                    );
                }
            }
            Step::Wait(member) => {
                left = true;
                warn!(
                    node.id = member.node_id,
                    "manager stays in raft: the quorum needs it"
                );
            }
        }
    }
    // A member that has left is given its role in the next round, at once.
    if left
        && plan(&store.view(), quorum)
            .iter()
            .any(|step| matches!(step, Step::SetRole(..)))
    {
        return Box::pin(work(store, &store.view(), quorum)).await;
    }
    Ok(left)
}

/// Waits for a node that was added, removed, or asked to have another role.
async fn roles_changed(watch: &mut Watch) -> Option<()> {
    let differs = |node: &Node| {
        node.spec
            .as_ref()
            .is_some_and(|spec| spec.desired_role != node.role)
    };
    loop {
        match watch.recv().await? {
            Event::Created(Object::Node(node))
            | Event::Updated {
                new: Object::Node(node),
                ..
            } if differs(&node) => return Some(()),
            Event::Removed(Object::Node(_)) => return Some(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use skep_objects::swarmkit::raft_member_status::Reachability;

    use super::*;
    use crate::control::members::keeps_quorum;

    struct FakeQuorum(Mutex<Vec<Member>>);

    impl Members for FakeQuorum {
        fn all(&self) -> Vec<Member> {
            self.0.lock().unwrap().clone()
        }

        fn can_remove(&self, raft_id: u64) -> bool {
            keeps_quorum(&self.all(), raft_id)
        }
    }

    #[tonic::async_trait]
    impl Quorum for FakeQuorum {
        async fn remove(&self, raft_id: u64) -> Result<(), String> {
            self.0
                .lock()
                .unwrap()
                .retain(|member| member.raft_id != raft_id);
            Ok(())
        }
    }

    fn quorum(members: &[(u64, bool)]) -> Arc<FakeQuorum> {
        let member = |(raft_id, up): &(u64, bool)| Member {
            raft_id: *raft_id,
            node_id: format!("n{raft_id}"),
            addr: String::new(),
            leader: *raft_id == 1,
            reachability: if *up {
                Reachability::Reachable
            } else {
                Reachability::Unreachable
            },
        };
        Arc::new(FakeQuorum(Mutex::new(members.iter().map(member).collect())))
    }

    async fn store(nodes: &[(&str, NodeRole, NodeRole)]) -> Store {
        let store = Store::in_memory();
        for (id, desired, role) in nodes {
            let spec = NodeSpec {
                desired_role: (*desired).into(),
                ..Default::default()
            };
            let node = Node {
                id: (*id).to_owned(),
                role: (*role).into(),
                spec: Some(spec),
                ..Default::default()
            };
            store.update(|tx| tx.create_node(node)).await.unwrap();
        }
        store
    }

    use NodeRole::{Manager, Worker};

    #[tokio::test]
    async fn a_promoted_node_gets_its_role_at_once() {
        let store = store(&[("n1", Manager, Manager), ("n2", Manager, Worker)]).await;
        let steps = plan(&store.view(), &*quorum(&[(1, true)]));
        assert_eq!(steps, [Step::SetRole("n2".to_owned(), Manager)]);
    }

    #[tokio::test]
    async fn a_demoted_node_leaves_raft_before_it_loses_its_role() {
        let store = store(&[
            ("n1", Manager, Manager),
            ("n2", Manager, Manager),
            ("n3", Worker, Manager),
        ])
        .await;
        let quorum = quorum(&[(1, true), (2, true), (3, true)]);
        assert!(
            matches!(&plan(&store.view(), &*quorum)[..], [Step::Leave(member)] if member.raft_id == 3)
        );
        work(&store, &store.view(), &*quorum).await.unwrap();
        assert_eq!(quorum.all().len(), 2);
        assert_eq!(store.view().node("n3").unwrap().role(), Worker);
        assert_eq!(plan(&store.view(), &*quorum), []);
    }

    #[tokio::test(start_paused = true)]
    async fn roles_are_managed_again_after_a_handover_that_failed() {
        let store = store(&[("n2", Manager, Worker)]).await;
        store.refuse(CommitError::Transferring);
        let stop = CancellationToken::new();
        let roles = tokio::spawn(run(store.clone(), quorum(&[]), stop.clone()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (_, mut watch) = store.watch();
        store.accept_up_to(usize::MAX);
        watch.recv_commit().await.unwrap();
        assert_eq!(store.view().node("n2").unwrap().role(), Manager);
        stop.cancel();
        roles.await.unwrap();
    }

    #[tokio::test]
    async fn a_member_without_a_node_leaves_and_one_that_the_quorum_needs_stays() {
        let store = store(&[("n1", Manager, Manager), ("n2", Manager, Manager)]).await;
        let three = quorum(&[(1, true), (2, true), (9, false)]);
        assert!(
            matches!(&plan(&store.view(), &*three)[..], [Step::Leave(member)] if member.raft_id == 9)
        );
        let weak = quorum(&[(1, true), (2, false), (9, true)]);
        assert!(
            matches!(&plan(&store.view(), &*weak)[..], [Step::Wait(member)] if member.raft_id == 9)
        );
    }
}
