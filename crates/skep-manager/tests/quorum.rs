//! Managers that join, follow, lead and leave over mutual TLS on loopback.
#![allow(clippy::unwrap_used)] // A failure is a panic here.

use std::sync::Arc;

use skep_manager::control::Members;
use skep_manager::raft::{Health, JoinError, Quorum, QuorumConfig, QuorumError, RemoveError, keys};
use skep_objects::swarmkit::{Config, ConfigSpec, NodeRole, RaftConfig, RaftMember};
use skep_rpc::identity::{
    Credentials, NODE_LIFE, NodeCertificate, NodeCertificateRequest, NodeFiles, NodeIdentity,
    NodeKey, RootBundle, SigningRoot,
};
use skep_rpc::swarmkit::raft_membership_client::RaftMembershipClient;
use skep_rpc::{AuthorizeLayer, ClusterTrust, ForwardLayer, Leader, LeaderLink, Listener};
use skep_store::raft::{Health as RaftHealth, RaftNode};
use skep_store::seal::{Dek, DekSet};
use skep_store::{Store, TxError, UpdateError};
use time::OffsetDateTime;
use tokio_util::sync::{CancellationToken, DropGuard};

const CLUSTER: &str = "cluster1";

struct Trust(String);

impl ClusterTrust for Trust {
    fn cluster_id(&self) -> String {
        CLUSTER.into()
    }
    fn node_id(&self) -> String {
        self.0.clone()
    }
    fn is_blacklisted(&self, _node_id: &str) -> bool {
        false
    }
}

fn credentials(root: &SigningRoot, node_id: &str) -> Credentials {
    let key = NodeKey::generate().unwrap();
    let request = NodeCertificateRequest {
        csr: &key.csr().unwrap(),
        node_id,
        role: NodeRole::Manager,
        cluster_id: CLUSTER,
        life: NODE_LIFE,
    };
    let chain = root.sign(&request, OffsetDateTime::now_utc()).unwrap();
    let roots = RootBundle::from_pem(root.cert_pem()).unwrap();
    Credentials::new(key, NodeCertificate::from_pem(&chain).unwrap(), roots).unwrap()
}

/// A manager of which only the quorum runs.
struct Manager {
    quorum: Quorum,
    identity: NodeIdentity,
    addr: String,
    dir: tempfile::TempDir,
    _server: DropGuard,
}

impl Manager {
    async fn serve(root: &SigningRoot, node_id: &str) -> Self {
        Self::serve_in(root, node_id, tempfile::tempdir().unwrap()).await
    }

    /// One with a past.
    async fn serve_in(root: &SigningRoot, node_id: &str, dir: tempfile::TempDir) -> Self {
        let identity = NodeIdentity::new(credentials(root, node_id));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let quorum = Quorum::new(identity.clone(), Health::default());
        let stop = CancellationToken::new();
        let incoming = listener.incoming(identity.clone(), stop.clone());
        let router = tonic::transport::Server::builder()
            .layer(ForwardLayer::new(Arc::new(quorum.clone())))
            .layer(AuthorizeLayer::new(Arc::new(Trust(node_id.to_owned()))))
            .add_service(quorum.raft_service())
            .add_service(quorum.stream_service())
            .add_service(quorum.membership_service())
            .add_service(quorum.health_service());
        tokio::spawn(router.serve_with_incoming(incoming));
        Manager {
            quorum,
            identity,
            addr,
            dir,
            _server: stop.drop_guard(),
        }
    }

    fn config(&self, join: Option<&str>) -> QuorumConfig {
        QuorumConfig {
            dir: self.dir.path().join("raft"),
            advertise_addr: self.addr.clone(),
            keys: DekSet::new(Dek::new([1; 32])),
            join_addr: join.map(str::to_owned),
            force_new_cluster: false,
            spec: RaftConfig {
                snapshot_interval: 20,
                log_entries_for_slow_followers: 5,
                ..RaftConfig::default()
            },
        }
    }

    async fn begin(&self, join: Option<&str>) -> (Store, RaftNode) {
        self.quorum.begin(self.config(join)).await.unwrap()
    }
}

async fn leads(node: &RaftNode) {
    node.status()
        .wait_for(|status| status.is_leading)
        .await
        .unwrap();
}

async fn create(store: &Store, id: &str, bytes: usize) -> Result<(), UpdateError<TxError>> {
    let annotations = skep_objects::swarmkit::Annotations {
        name: id.into(),
        ..Default::default()
    };
    let spec = ConfigSpec {
        annotations: Some(annotations),
        data: vec![1; bytes],
        ..ConfigSpec::default()
    };
    let config = Config {
        id: id.into(),
        spec: Some(spec),
        ..Config::default()
    };
    store
        .update(|tx| tx.create_config(config))
        .await
        .map(|_| ())
}

async fn has(store: &Store, id: &str) {
    let (view, mut watch) = store.watch();
    if view.config(id).is_none() {
        while watch.recv_commit().await.unwrap().view.config(id).is_none() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_join_through_any_member_and_outlive_the_leader() {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let first = Manager::serve(&root, "m1").await;
    let second = Manager::serve(&root, "m2").await;
    let third = Manager::serve(&root, "m3").await;
    let (store1, node1) = first.begin(None).await;
    leads(&node1).await;
    create(&store1, "a", 10).await.unwrap();
    let (store2, node2) = second.begin(Some(&first.addr)).await;
    has(&store2, "a").await;
    // By a follower, which hands the call on.
    let (store3, node3) = third.begin(Some(&second.addr)).await;
    create(&store1, "b", 10).await.unwrap();
    has(&store3, "b").await;
    assert!(matches!(
        third.quorum.leader(false).await.unwrap(),
        Leader::Remote { .. }
    ));
    assert!(matches!(
        first.quorum.leader(false).await.unwrap(),
        Leader::Local
    ));
    assert_eq!(first.quorum.all().len(), 3);
    assert!(
        first
            .quorum
            .all()
            .iter()
            .any(|member| member.leader && member.node_id == "m1")
    );

    // An orderly stop hands leadership over.
    first.quorum.stop().await;
    tokio::select! {
        () = leads(&node2) => create(&store2, "c", 10).await.unwrap(),
        () = leads(&node3) => create(&store3, "c", 10).await.unwrap(),
    }
    has(&store2, "c").await;
    has(&store3, "c").await;
    second.quorum.stop().await;
    third.quorum.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_was_away_finds_a_leader_that_it_never_heard_of() {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let first = Manager::serve(&root, "m1").await;
    let second = Manager::serve(&root, "m2").await;
    let third = Manager::serve(&root, "m3").await;
    let (store, node) = first.begin(None).await;
    leads(&node).await;
    second.begin(Some(&first.addr)).await;
    third.begin(Some(&first.addr)).await;
    third.quorum.stop().await;
    let Manager { dir, .. } = third;
    let fourth = Manager::serve(&root, "m4").await;
    let (_, newest) = fourth.begin(Some(&first.addr)).await;
    create(&store, "meanwhile", 10).await.unwrap();
    let id = newest.status().borrow().raft_id;
    node.transfer_leadership(Some(id)).await.unwrap();
    leads(&newest).await;
    // Back at another address, so that it is heard of by the new leader as well.
    let third = Manager::serve_in(&root, "m3", dir).await;
    let (copy, _) = third.begin(None).await;
    has(&copy, "meanwhile").await;
    for manager in [&first, &second, &third, &fourth] {
        manager.quorum.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_catches_up_by_a_snapshot_in_pieces() {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let first = Manager::serve(&root, "m1").await;
    let (store, node) = first.begin(None).await;
    leads(&node).await;
    for n in 0..60 {
        create(&store, &format!("c{n}"), 200_000).await.unwrap();
    }
    let second = Manager::serve(&root, "m2").await;
    let (copy, _) = second.begin(Some(&first.addr)).await;
    create(&store, "last", 1).await.unwrap();
    has(&copy, "last").await;
    assert_eq!(copy.view().configs().count(), 61);
    first.quorum.stop().await;
    second.quorum.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_manager_learns_of_it_and_the_guard_keeps_a_quorum() {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let first = Manager::serve(&root, "m1").await;
    let second = Manager::serve(&root, "m2").await;
    let third = Manager::serve(&root, "m3").await;
    let (_, node1) = first.begin(None).await;
    leads(&node1).await;
    let own_id = node1.status().borrow().raft_id;
    assert!(matches!(
        first.quorum.remove(own_id).await,
        Err(RemoveError::LosesQuorum)
    ));
    let (_, node2) = second.begin(Some(&first.addr)).await;
    let (_, node3) = third.begin(Some(&first.addr)).await;
    let id3 = node3.status().borrow().raft_id;

    // Leave, asked of a follower.
    let channel = skep_rpc::connect(&second.addr, &second.identity)
        .await
        .unwrap();
    let member = RaftMember {
        raft_id: id3,
        ..RaftMember::default()
    };
    let request = skep_objects::swarmkit::LeaveRequest { node: Some(member) };
    let mut active = node1.status();
    active
        .wait_for(|status| status.active.get(&id3) == Some(&true))
        .await
        .unwrap();
    RaftMembershipClient::new(channel)
        .leave(request)
        .await
        .unwrap();
    node3
        .status()
        .wait_for(|status| status.health == RaftHealth::Removed)
        .await
        .unwrap();
    assert_eq!(node1.membership().borrow().len(), 2);
    node2
        .membership()
        .wait_for(|members| members.len() == 2)
        .await
        .unwrap();
    for manager in [&first, &second, &third] {
        manager.quorum.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_cannot_be_reached_back_is_not_let_in() {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let first = Manager::serve(&root, "m1").await;
    let (_, node) = first.begin(None).await;
    leads(&node).await;
    let second = Manager::serve(&root, "m2").await;
    let mut config = second.config(Some(&first.addr));
    config.advertise_addr = "127.0.0.1:1".into();
    let refused = second.quorum.begin(config).await.unwrap_err();
    assert!(
        matches!(&refused, QuorumError::Join(JoinError::Refused { .. })),
        "{refused}"
    );
    assert_eq!(first.quorum.all().len(), 1);
    first.quorum.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_key_is_kept_in_the_nodes_key_file() {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let manager = Manager::serve(&root, "m1").await;
    let files = NodeFiles::new(manager.dir.path());
    let credentials = manager.identity.current();
    files
        .save(credentials.key(), credentials.certificate(), None)
        .unwrap();
    let first = keys::load_or_create(&files, None).unwrap();
    let again = keys::load_or_create(&files, None).unwrap();
    assert_eq!(first.current(), again.current());
    let config = QuorumConfig {
        keys: first.clone(),
        ..manager.config(None)
    };
    let (_, node) = manager.quorum.begin(config).await.unwrap();
    leads(&node).await;
    keys::rotate(&files, None, &node).await.unwrap();
    assert_ne!(
        keys::load_or_create(&files, None).unwrap().current(),
        first.current()
    );
    manager.quorum.stop().await;
}
