//! The leader's signing loop: each node whose certificate is asked for gets it.

use std::time::Duration;

use skep_objects::swarmkit::{
    Certificate, IssuanceStatus, Node, issuance_status::State, node_spec::Membership,
};
use skep_rpc::NodeIdentity;
use skep_store::{CommitError, Event, Object, Store, Tx, TxError, View, Watch};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::external;
use super::signer::{SignError, current_signer, sign};
use crate::retry;

/// How often requests that found no signer are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Whether the node waits for a certificate that it may have.
pub fn wants_certificate(node: &Node) -> bool {
    let state = node
        .certificate
        .as_ref()
        .and_then(|certificate| certificate.status.as_ref());
    let accepted = node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.membership() == Membership::Accepted);
    match state.map(IssuanceStatus::state) {
        Some(State::Renew) => true,
        Some(State::Pending) => accepted,
        _ => false,
    }
}

/// What became of one request.
#[derive(Debug)]
pub struct Outcome {
    node: String,
    csr: Vec<u8>,
    state: State,
    chain: Vec<u8>,
    error: String,
}

/// Signs what can be signed. Requests that may succeed later are left as they are.
pub fn plan<'a>(
    view: &View,
    nodes: impl Iterator<Item = &'a Node>,
    now: OffsetDateTime,
) -> Vec<Outcome> {
    let Some(cluster) = view.the_cluster() else {
        return Vec::new();
    };
    let mut waiting = nodes.filter(|node| wants_certificate(node)).peekable();
    if waiting.peek().is_none() {
        return Vec::new();
    }
    let signer = match current_signer(cluster) {
        Ok(signer) => signer,
        Err(error) => {
            warn!(%error, "certificates cannot be signed now");
            return Vec::new();
        }
    };
    let outcomes = waiting.filter_map(|node| {
        let certificate = node.certificate.as_ref()?;
        outcome(
            node,
            certificate,
            sign(&signer, cluster, node, certificate, now),
        )
    });
    outcomes.collect()
}

/// The same by an external CA. The first one that gets none ends the round: the next comes soon.
async fn ask_external(
    store: &Store,
    view: &View,
    urls: &[String],
    identity: &NodeIdentity,
    nodes: &[Node],
    now: OffsetDateTime,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let Some(cluster) = view.the_cluster() else {
        return outcomes;
    };
    for node in nodes.iter().filter(|node| wants_certificate(node)) {
        let Some(certificate) = &node.certificate else {
            continue;
        };
        // Asking takes a while: the request may have been answered by the round before.
        let stored = store.view();
        if !stored.node(&node.id).is_some_and(|n| wants_certificate(n)) {
            continue;
        }
        let signed = external::sign(cluster, urls, identity, node, now).await;
        if let Err(error) = &signed {
            warn!(node.id, %error, "certificate is not signed yet");
        }
        match outcome(node, certificate, signed) {
            Some(outcome) => outcomes.push(outcome),
            None => break,
        }
    }
    outcomes
}

fn outcome(
    node: &Node,
    certificate: &Certificate,
    signed: Result<Vec<u8>, SignError>,
) -> Option<Outcome> {
    let (state, chain, error) = match signed {
        Ok(chain) => (State::Issued, chain, String::new()),
        Err(error) if error.is_transient() => return None,
        Err(error) => {
            warn!(node.id, %error, "certificate refused");
            (State::Failed, Vec::new(), error.to_string())
        }
    };
    Some(Outcome {
        node: node.id.clone(),
        csr: certificate.csr.clone(),
        state,
        chain,
        error,
    })
}

impl Outcome {
    /// Writes the answer, unless the node has asked anew meanwhile or is gone.
    pub fn write(&self, tx: &mut Tx) -> Result<(), TxError> {
        let Some(node) = tx.node(&self.node) else {
            return Ok(());
        };
        let same = node
            .certificate
            .as_ref()
            .is_some_and(|certificate| certificate.csr == self.csr);
        if !same || !wants_certificate(node) {
            return Ok(());
        }
        tx.edit_node(&self.node, |node| {
            let certificate = node.certificate.get_or_insert_default();
            certificate.status = Some(IssuanceStatus {
                state: self.state.into(),
                err: self.error.clone(),
            });
            if self.state == State::Issued {
                certificate.certificate.clone_from(&self.chain);
            }
        })?;
        debug!(node.id = self.node, state = ?self.state, "certificate request answered");
        Ok(())
    }
}

/// Runs until stopped, or until the store is.
pub async fn run(store: Store, identity: NodeIdentity, stop: CancellationToken) {
    let (view, mut watch) = store.watch();
    let mut next = waiting(view);
    let mut backoff = retry::backoff();
    let mut rounds = tokio::time::interval(RETRY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let answered = tokio::select! {
            () = stop.cancelled() => return,
            answered = answer(&store, &identity, &next.0, &next.1) => answered,
        };
        if let Err(error) = answered {
            info!(%error, "certificates could not be stored yet");
            if !retry::again(&error, &mut backoff, &stop).await {
                return;
            }
            next = waiting(store.view());
            continue;
        }
        backoff.reset();
        next = tokio::select! {
            () = stop.cancelled() => return,
            next = next_requests(&mut watch) => match next {
                Some(next) => next,
                None => return,
            },
            _ = rounds.tick() => waiting(store.view()),
        };
    }
}

/// All nodes that wait.
fn waiting(view: View) -> (View, Vec<Node>) {
    let nodes = view.nodes().filter(|node| wants_certificate(node));
    let nodes = nodes.map(|node| Node::clone(node)).collect();
    (view, nodes)
}

/// The nodes that began to wait with the next transaction that made some wait.
async fn next_requests(watch: &mut Watch) -> Option<(View, Vec<Node>)> {
    loop {
        let commit = watch.recv_commit().await?;
        let waiting = commit.events.iter().filter_map(|event| match event {
            Event::Created(Object::Node(node))
            | Event::Updated {
                new: Object::Node(node),
                ..
            } => wants_certificate(node).then(|| Node::clone(node)),
            _ => None,
        });
        let waiting: Vec<Node> = waiting.collect();
        if !waiting.is_empty() {
            return Some((commit.view, waiting));
        }
    }
}

async fn answer(
    store: &Store,
    identity: &NodeIdentity,
    view: &View,
    nodes: &[Node],
) -> Result<(), CommitError> {
    let now = OffsetDateTime::now_utc();
    let urls = view.the_cluster().map(|cluster| external::urls(cluster));
    let outcomes = match urls.filter(|urls| !urls.is_empty()) {
        Some(urls) => ask_external(store, view, &urls, identity, nodes, now).await,
        None => plan(view, nodes.iter(), now),
    };
    // One that cannot be stored concerns its node alone.
    retry::write_each(store, &outcomes, |tx, outcome| outcome.write(tx)).await
}
