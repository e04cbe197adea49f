//! What a node is told about itself and the managers, for as long as its session lasts.

use std::sync::Arc;

use futures::{Stream, stream};
use skep_objects::swarmkit::{Node, NodeStatus, SessionMessage, WeightedPeer};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::{ClusterInfo, Dispatcher, sessions::Session};

/// The stream of one session.
struct SessionStream {
    dispatcher: Arc<Dispatcher>,
    node_id: String,
    session: Session,
    node: watch::Receiver<Option<Arc<Node>>>,
    cluster: watch::Receiver<Arc<ClusterInfo>>,
    managers: watch::Receiver<Vec<WeightedPeer>>,
    /// The node as it was last told, without what only managers care for.
    told: Option<Node>,
    ended: bool,
}

/// Messages of a session: one at once, then one for each change.
pub fn session_stream(
    dispatcher: Arc<Dispatcher>,
    node_id: String,
    session: Session,
) -> impl Stream<Item = Result<SessionMessage, Status>> + Send + 'static {
    let state = SessionStream {
        node: dispatcher.router.follow_node(&node_id),
        cluster: dispatcher.cluster.subscribe(),
        managers: dispatcher.managers.clone(),
        told: None,
        ended: false,
        dispatcher,
        node_id,
        session,
    };
    stream::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        let message = state.next().await;
        state.ended = message.is_err();
        Some((message, state))
    })
}

impl SessionStream {
    async fn next(&mut self) -> Result<SessionMessage, Status> {
        if self.told.is_some() {
            self.changed().await?;
        }
        let node = self.node.borrow_and_update().clone();
        let Some(node) = node else {
            return Err(Status::not_found("node not found"));
        };
        self.told = Some(agent_view(&node));
        let info = self.cluster.borrow_and_update().clone();
        Ok(SessionMessage {
            session_id: self.session.id.to_string(),
            node: Some(Node::clone(&node)),
            managers: self.managers.borrow_and_update().clone(),
            network_bootstrap_keys: info.keys.clone(),
            root_ca: info.root_ca.clone(),
        })
    }

    /// Waits for a change that the node should know of.
    async fn changed(&mut self) -> Result<(), Status> {
        let stopped = || Status::aborted("dispatcher is stopped");
        loop {
            tokio::select! {
                biased;
                () = self.dispatcher.stop.cancelled() => return Err(stopped()),
                () = self.session.ended.cancelled() => {
                    return Err(Status::invalid_argument("session invalid"));
                }
                changed = self.node.changed() => {
                    changed.map_err(|_| Status::not_found("node not found"))?;
                    let node = self.node.borrow().clone();
                    if node.is_none_or(|node| self.told.as_ref() != Some(&agent_view(&node))) {
                        return Ok(());
                    }
                }
                changed = self.cluster.changed() => return changed.map_err(|_| stopped()),
                changed = self.managers.changed() => return changed.map_err(|_| stopped()),
            }
        }
    }
}

/// The connection ended, or the dispatcher did.
impl Drop for SessionStream {
    fn drop(&mut self) {
        let mut sessions = self.dispatcher.sessions();
        sessions.disconnected(&self.node_id, &self.session.id, Instant::now());
    }
}

/// The node without what it reported itself.
fn agent_view(node: &Node) -> Node {
    Node {
        meta: None,
        status: None::<NodeStatus>,
        description: None,
        ..node.clone()
    }
}
