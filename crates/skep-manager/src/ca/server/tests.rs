use std::time::SystemTime;

use skep_objects::{swarmkit::NodeRole, timestamp::timestamp};
use skep_rpc::identity::{NodeCertificate, NodeKey, RootBundle};
use skep_store::Store;
use time::OffsetDateTime;

use super::*;
use crate::ca::{expiry::date_time, reconcile, rotation, seed::new_root_ca, signing};

async fn swarm() -> Store {
    let store = Store::in_memory();
    let cluster = Cluster {
        id: "cluster1".to_owned(),
        root_ca: Some(new_root_ca(OffsetDateTime::now_utc()).unwrap()),
        vxlanudp_port: 4789,
        ..Cluster::default()
    };
    store.update(|tx| tx.create_cluster(cluster)).await.unwrap();
    store
}

fn tokens(store: &Store) -> skep_objects::swarmkit::JoinTokens {
    let view = store.view();
    view.the_cluster()
        .unwrap()
        .root_ca
        .as_ref()
        .unwrap()
        .join_tokens
        .clone()
        .unwrap()
}

fn stranger() -> Caller {
    Caller {
        node_id: String::new(),
        role: None,
        remote_addr: None,
        forwarded_by: None,
        is_local: false,
    }
}

fn known(id: &str, role: NodeRole) -> Caller {
    Caller {
        node_id: id.to_owned(),
        role: Some(role),
        ..stranger()
    }
}

async fn ask(
    store: &Store,
    caller: &Caller,
    csr: &[u8],
    token: &str,
) -> Result<String, IssueError> {
    let request = IssueNodeCertificateRequest {
        csr: csr.to_vec(),
        token: token.to_owned(),
        ..Default::default()
    };
    match store.update(|tx| issue(tx, caller, &request)).await {
        Ok(answer) => Ok(answer.node_id),
        Err(UpdateError::Refused(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// One round of the signing loop.
async fn sign(store: &Store) {
    let view = store.view();
    let nodes = view.nodes().map(|node| &**node);
    for outcome in signing::plan(&view, nodes, OffsetDateTime::now_utc()) {
        store.update(|tx| outcome.write(tx)).await.unwrap();
    }
}

fn certificate(store: &Store, id: &str) -> NodeCertificate {
    let view = store.view();
    let answer = settled(view.node(id).unwrap()).unwrap();
    assert_eq!(answer.status.unwrap().state(), State::Issued);
    NodeCertificate::from_pem(&answer.certificate.unwrap().certificate).unwrap()
}

fn roots(store: &Store) -> RootBundle {
    let view = store.view();
    RootBundle::from_pem(
        &view
            .the_cluster()
            .unwrap()
            .root_ca
            .as_ref()
            .unwrap()
            .ca_cert,
    )
    .unwrap()
}

#[tokio::test]
async fn a_token_gives_a_certificate_of_its_role() {
    let store = swarm().await;
    let tokens = tokens(&store);
    for (token, role) in [
        (tokens.worker, NodeRole::Worker),
        (tokens.manager, NodeRole::Manager),
    ] {
        let csr = NodeKey::generate().unwrap().csr().unwrap();
        let id = ask(&store, &stranger(), csr.pem(), &token).await.unwrap();
        assert!(settled(store.view().node(&id).unwrap()).is_none());
        sign(&store).await;
        let certificate = certificate(&store, &id);
        assert_eq!(certificate.node_id(), id);
        assert_eq!(certificate.role(), role);
        assert_eq!(certificate.cluster_id(), "cluster1");
        roots(&store)
            .validate(&certificate, OffsetDateTime::now_utc())
            .unwrap();
        assert_eq!(store.view().node(&id).unwrap().vxlanudp_port, 4789);
    }
}

#[tokio::test]
async fn without_a_valid_token_nobody_joins() {
    let store = swarm().await;
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    for token in ["", "SWMTKN-1-x-y"] {
        let error = ask(&store, &stranger(), csr.pem(), token)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "A valid join token is necessary to join this cluster"
        );
        assert_eq!(Status::from(error).code(), tonic::Code::InvalidArgument);
    }
    let error = ask(&store, &stranger(), b"x", &tokens(&store).worker)
        .await
        .unwrap_err();
    assert!(matches!(error, IssueError::Csr(_)));
    assert_eq!(store.view().nodes().count(), 0);
}

#[tokio::test]
async fn a_renewal_takes_the_node_s_role_of_the_moment_and_needs_no_token() {
    let store = swarm().await;
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let id = ask(&store, &stranger(), csr.pem(), &tokens(&store).worker)
        .await
        .unwrap();
    sign(&store).await;
    let promote = |node: &mut Node| node.role = NodeRole::Manager.into();
    store.update(|tx| tx.edit_node(&id, promote)).await.unwrap();
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let caller = known(&id, NodeRole::Worker);
    assert_eq!(ask(&store, &caller, csr.pem(), "").await.unwrap(), id);
    sign(&store).await;
    assert_eq!(certificate(&store, &id).role(), NodeRole::Manager);
}

#[tokio::test]
async fn a_removed_node_cannot_renew() {
    let store = swarm().await;
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let error = ask(&store, &known("gone", NodeRole::Worker), csr.pem(), "")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "node gone not found when attempting to renew certificate"
    );
}

#[tokio::test]
async fn a_broken_request_fails_for_good() {
    let store = swarm().await;
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let id = ask(&store, &stranger(), csr.pem(), &tokens(&store).worker)
        .await
        .unwrap();
    sign(&store).await;
    let caller = known(&id, NodeRole::Worker);
    let version = store.view().version();
    for broken in [b"broken".to_vec(), vec![b'x'; 1 << 20]] {
        let error = ask(&store, &caller, &broken, "").await.unwrap_err();
        assert_eq!(Status::from(error).code(), tonic::Code::InvalidArgument);
    }
    assert_eq!(store.view().version(), version, "nothing of it is stored");
    break_request(&store, &id).await;
    sign(&store).await;
    let view = store.view();
    let answer = settled(view.node(&id).unwrap()).unwrap();
    assert_eq!(answer.status.unwrap().state(), State::Failed);
}

/// A request of an earlier version of this program, which did not look at renewals.
async fn break_request(store: &Store, id: &str) {
    let broken = |node: &mut Node| {
        let certificate = node.certificate.get_or_insert_default();
        certificate.csr = b"broken".to_vec();
        certificate.status.get_or_insert_default().state = State::Renew.into();
    };
    store.update(|tx| tx.edit_node(id, broken)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn signing_goes_on_after_a_handover_that_failed() {
    let store = swarm().await;
    let token = tokens(&store).worker;
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let id = ask(&store, &stranger(), csr.pem(), &token).await.unwrap();
    store.refuse(skep_store::CommitError::Transferring);
    let now = OffsetDateTime::now_utc();
    let founding = crate::founding::found(None, skep_rpc::identity::NODE_LIFE, now).unwrap();
    let identity = skep_rpc::NodeIdentity::new(founding.credentials);
    let stop = tokio_util::sync::CancellationToken::new();
    let signing = tokio::spawn(signing::run(store.clone(), identity, stop.clone()));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(!signing.is_finished());
    let (_, mut watch) = store.watch();
    store.accept_up_to(usize::MAX);
    while signing::wants_certificate(store.view().node(&id).unwrap()) {
        watch.recv().await.unwrap();
    }
    assert_eq!(certificate(&store, &id).node_id(), id);
    stop.cancel();
    signing.await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_stored_holds_up_no_other() {
    let store = swarm().await;
    let token = tokens(&store).worker;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let csr = NodeKey::generate().unwrap().csr().unwrap();
        ids.push(ask(&store, &stranger(), csr.pem(), &token).await.unwrap());
    }
    ids.sort();
    let grow = |node: &mut Node| {
        let description = node.description.get_or_insert_default();
        description.hostname = "h".repeat(skep_store::MAX_ENTRY_BYTES);
    };
    store
        .update(|tx| tx.edit_node(&ids[1], grow))
        .await
        .unwrap();
    store.accept_up_to(skep_store::MAX_ENTRY_BYTES);
    let view = store.view();
    let nodes = view.nodes().map(|node| &**node);
    let outcomes = signing::plan(&view, nodes, OffsetDateTime::now_utc());
    crate::retry::write_each(&store, &outcomes, |tx, outcome| outcome.write(tx))
        .await
        .unwrap();
    let view = store.view();
    let waits = |id: &String| signing::wants_certificate(view.node(id).unwrap());
    assert_eq!(
        ids.iter().map(waits).collect::<Vec<_>>(),
        [false, true, false]
    );
}

#[tokio::test]
async fn a_missing_key_leaves_requests_waiting() {
    let store = swarm().await;
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let id = ask(&store, &stranger(), csr.pem(), &tokens(&store).worker)
        .await
        .unwrap();
    let clear = |cluster: &mut Cluster| cluster.root_ca.as_mut().unwrap().ca_key.clear();
    store
        .update(|tx| tx.edit_cluster("cluster1", clear))
        .await
        .unwrap();
    sign(&store).await;
    assert!(signing::wants_certificate(store.view().node(&id).unwrap()));
}

/// What a node reports of the certificate it has.
async fn report(store: &Store, id: &str, roots: &RootBundle) {
    let issuer = roots.issuer_of(&certificate(store, id)).unwrap();
    let report = |node: &mut Node| {
        let info = node
            .description
            .get_or_insert_default()
            .tls_info
            .get_or_insert_default();
        info.cert_issuer_subject = issuer.subject;
        info.cert_issuer_public_key = issuer.public_key;
    };
    store.update(|tx| tx.edit_node(id, report)).await.unwrap();
}

#[tokio::test]
async fn a_root_rotation_renews_every_node_and_then_changes_root_and_tokens() {
    let store = swarm().await;
    let old = roots(&store);
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let id = ask(&store, &stranger(), csr.pem(), &tokens(&store).worker)
        .await
        .unwrap();
    sign(&store).await;
    report(&store, &id, &old).await;
    assert_eq!(reconcile::plan(&store.view()), reconcile::Round::Idle);

    let before = tokens(&store);
    store
        .update(|tx| {
            tx.edit_cluster("cluster1", |cluster| {
                let spec = cluster.spec.get_or_insert_default();
                spec.ca_config.get_or_insert_default().force_rotate = 1;
                rotation::plan_root(cluster, timestamp(SystemTime::now())).unwrap();
            })
        })
        .await
        .unwrap();
    let round = reconcile::plan(&store.view());
    assert_eq!(round, reconcile::Round::Renew(vec![id.clone()]));
    store.update(|tx| reconcile::tell(tx, &id)).await.unwrap();
    assert_eq!(
        reconcile::plan(&store.view()),
        reconcile::Round::Renew(vec![])
    );

    let csr = NodeKey::generate().unwrap().csr().unwrap();
    ask(&store, &known(&id, NodeRole::Worker), csr.pem(), "")
        .await
        .unwrap();
    sign(&store).await;
    let renewed = certificate(&store, &id);
    let now = date_time(&timestamp(SystemTime::now()));
    old.validate(&renewed, now).unwrap();
    let view = store.view();
    let target = view
        .the_cluster()
        .unwrap()
        .root_ca
        .as_ref()
        .unwrap()
        .root_rotation
        .clone()
        .unwrap();
    let new = RootBundle::from_pem(&target.ca_cert).unwrap();
    new.validate(&renewed, now).unwrap();

    report(&store, &id, &new).await;
    let reconcile::Round::Finish(rotation) = reconcile::plan(&store.view()) else {
        panic!("not finished");
    };
    store
        .update(|tx| reconcile::finish(tx, &rotation))
        .await
        .unwrap();
    assert_eq!(roots(&store).pem(), new.pem());
    assert_ne!(tokens(&store).worker, before.worker);
    assert_eq!(reconcile::plan(&store.view()), reconcile::Round::Idle);
}
