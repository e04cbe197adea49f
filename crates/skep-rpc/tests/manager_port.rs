//! A listener, layers and channels together, on loopback.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::sync::Arc;

use skep_objects::swarmkit::{
    GetRootCaCertificateRequest, GetRootCaCertificateResponse, GetUnlockKeyRequest,
    GetUnlockKeyResponse, NodeRole,
};
use skep_rpc::identity::{
    Credentials, JoinToken, NODE_LIFE, NodeCertificate, NodeCertificateRequest, NodeIdentity,
    NodeKey, RootBundle, SigningRoot,
};
use skep_rpc::swarmkit::ca_client::CaClient;
use skep_rpc::swarmkit::ca_server::{Ca, CaServer};
use skep_rpc::{
    AuthorizeLayer, ClusterTrust, ForwardLayer, Leader, LeaderLink, Listener, bootstrap, caller_of,
    client, connect, connect_local,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

const CLUSTER: &str = "cluster1";

fn identity(root: &SigningRoot, node_id: &str, role: NodeRole) -> NodeIdentity {
    NodeIdentity::new(credentials(root, node_id, role))
}

fn credentials(root: &SigningRoot, node_id: &str, role: NodeRole) -> Credentials {
    let key = NodeKey::generate().unwrap();
    let csr = key.csr().unwrap();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id,
        role,
        cluster_id: CLUSTER,
        life: NODE_LIFE,
    };
    let chain = root.sign(&request, OffsetDateTime::now_utc()).unwrap();
    let roots = RootBundle::from_pem(root.cert_pem()).unwrap();
    Credentials::new(key, NodeCertificate::from_pem(&chain).unwrap(), roots).unwrap()
}

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

struct Link(Leader, CancellationToken);

#[tonic::async_trait]
impl LeaderLink for Link {
    async fn leader(&self, _failed: bool) -> Result<Leader, Status> {
        Ok(self.0.clone())
    }

    async fn deposed(&self, _raft_id: u64) {
        self.1.cancelled().await;
    }
}

/// Answers the root bundle, and as unlock key who it thinks is calling.
struct FakeCa(Vec<u8>);

#[tonic::async_trait]
impl Ca for FakeCa {
    async fn get_root_ca_certificate(
        &self,
        _request: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        Ok(Response::new(GetRootCaCertificateResponse {
            certificate: self.0.clone(),
        }))
    }

    async fn get_unlock_key(
        &self,
        request: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        let caller = caller_of(&request)?;
        let text = format!("{} by {:?}", caller.node_id, caller.forwarded_by);
        Ok(Response::new(GetUnlockKeyResponse {
            unlock_key: text.into_bytes(),
            version: None,
        }))
    }
}

struct Server {
    addr: String,
    local: skep_rpc::LocalDialer,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve(root: &SigningRoot, identity: &NodeIdentity, leader: Leader) -> Server {
    serve_while(root, identity, leader, CancellationToken::new()).await
}

/// As long as the leader is not deposed.
async fn serve_while(
    root: &SigningRoot,
    identity: &NodeIdentity,
    leader: Leader,
    deposed: CancellationToken,
) -> Server {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let local = listener.local_dialer();
    let stop = CancellationToken::new();
    let incoming = listener.incoming(identity.clone(), stop.clone());
    let router = tonic::transport::Server::builder()
        .layer(ForwardLayer::new(Arc::new(Link(leader, deposed))))
        .layer(AuthorizeLayer::new(Arc::new(Trust(
            identity.node_id().to_owned(),
        ))))
        .add_service(CaServer::new(FakeCa(root.cert_pem().to_vec())));
    tokio::spawn(router.serve_with_incoming(incoming));
    Server {
        addr,
        local,
        _stop: stop.drop_guard(),
    }
}

async fn who_am_i(channel: tonic::transport::Channel) -> Result<String, Status> {
    let answer = CaClient::new(channel)
        .get_unlock_key(GetUnlockKeyRequest {})
        .await?;
    Ok(String::from_utf8(answer.into_inner().unlock_key).unwrap())
}

fn new_root() -> SigningRoot {
    SigningRoot::create(OffsetDateTime::now_utc()).unwrap()
}

#[tokio::test]
async fn a_manager_may_what_a_worker_may_not() {
    let root = new_root();
    let server = serve(
        &root,
        &identity(&root, "leader", NodeRole::Manager),
        Leader::Local,
    )
    .await;
    let manager = identity(&root, "m1", NodeRole::Manager);
    let channel = connect(&server.addr, &manager).await.unwrap();
    assert_eq!(who_am_i(channel).await.unwrap(), "m1 by None");
    let worker = identity(&root, "w1", NodeRole::Worker);
    let channel = connect(&server.addr, &worker).await.unwrap();
    assert_eq!(
        who_am_i(channel).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    assert_eq!(
        who_am_i(connect_local(&server.local).unwrap())
            .await
            .unwrap(),
        "leader by None"
    );
}

#[tokio::test]
async fn a_follower_hands_calls_to_the_leader_with_their_origin() {
    let root = new_root();
    let leader = serve(
        &root,
        &identity(&root, "leader", NodeRole::Manager),
        Leader::Local,
    )
    .await;
    let follower = identity(&root, "follower", NodeRole::Manager);
    let link = Leader::Remote {
        raft_id: 1,
        channel: connect(&leader.addr, &follower).await.unwrap(),
    };
    let follower = serve(&root, &follower, link).await;
    let manager = identity(&root, "m1", NodeRole::Manager);
    let channel = connect(&follower.addr, &manager).await.unwrap();
    assert_eq!(who_am_i(channel).await.unwrap(), "m1 by Some(\"follower\")");
    let worker = identity(&root, "w1", NodeRole::Worker);
    let channel = connect(&follower.addr, &worker).await.unwrap();
    assert_eq!(
        who_am_i(channel).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    // From inside the follower it is the follower's own call.
    assert_eq!(
        who_am_i(connect_local(&follower.local).unwrap())
            .await
            .unwrap(),
        "follower by None"
    );
}

#[tokio::test]
async fn a_call_does_not_wait_for_a_leader_that_was_deposed() {
    let root = new_root();
    // It takes connections, and stands still.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = frozen.local_addr().unwrap().to_string();
    let follower = identity(&root, "follower", NodeRole::Manager);
    let link = Leader::Remote {
        raft_id: 1,
        channel: client::connect_lazy(&addr, &follower).unwrap(),
    };
    let deposed = CancellationToken::new();
    let follower = serve_while(&root, &follower, link, deposed.clone()).await;
    let manager = identity(&root, "m1", NodeRole::Manager);
    let channel = connect(&follower.addr, &manager).await.unwrap();
    let asked = tokio::spawn(who_am_i(channel));
    let (_held, _) = frozen.accept().await.unwrap();
    assert!(!asked.is_finished());
    deposed.cancel();
    let refused = asked.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(
        refused.message().contains("leadership was lost"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_node_of_another_swarm_is_told_apart_from_a_dead_link() {
    let (root, other) = (new_root(), new_root());
    let server = serve(
        &root,
        &identity(&root, "leader", NodeRole::Manager),
        Leader::Local,
    )
    .await;
    let stranger = identity(&other, "m1", NodeRole::Manager);
    assert!(
        connect(&server.addr, &stranger)
            .await
            .unwrap_err()
            .is_certificate()
    );
    let member = identity(&root, "m1", NodeRole::Manager);
    assert!(
        !connect("127.0.0.1:1", &member)
            .await
            .unwrap_err()
            .is_certificate()
    );
}

#[tokio::test]
async fn the_root_is_taken_only_with_the_tokens_digest() {
    let root = new_root();
    let server = serve(
        &root,
        &identity(&root, "leader", NodeRole::Manager),
        Leader::Local,
    )
    .await;
    let token = JoinToken::generate(root.cert_pem());
    let roots = bootstrap::fetch_root(&server.addr, &token).await.unwrap();
    assert_eq!(roots.pem(), root.cert_pem());
    let wrong = JoinToken::generate(b"another root");
    let error = bootstrap::fetch_root(&server.addr, &wrong)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("remote CA does not match fingerprint. Expected: ")
    );
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_connections_at_once() {
    let root = new_root();
    let leader = identity(&root, "leader", NodeRole::Manager);
    let server = serve(&root, &leader, Leader::Local).await;
    let node = identity(&root, "n1", NodeRole::Worker);
    let channel = client::connect_lazy(&server.addr, &node).unwrap();
    node.replace(credentials(&root, "n1", NodeRole::Manager));
    assert_eq!(who_am_i(channel).await.unwrap(), "n1 by None");
}
