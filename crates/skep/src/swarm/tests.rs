//! Life of a membership with a manager that only dispatches.

use std::path::Path;
use std::sync::Mutex as StdMutex;

use async_trait::async_trait;
use skep_agent::testing::{FakeDispatcher, FakeExecutor};
use skep_engine::{EngineError, SwarmInfo};
use skep_objects::ErrorKind;
use skep_objects::swarmkit::NodeRole;
use skep_rpc::LocalDialer;
use skep_rpc::identity::{Credentials, NodeCertificate};
use skep_rpc::identity::{KeyHeaders, NodeCertificateRequest, NodeKey, RootBundle, SigningRoot};

use super::manager::{ManagerError, ManagerStart, RunningManager, UnlockKey};
use super::*;

#[derive(Default)]
struct FakeHost {
    set: StdMutex<Vec<Option<SwarmInfo>>>,
}

#[async_trait]
impl SwarmHost for FakeHost {
    async fn set_swarm(&self, swarm: Option<SwarmInfo>) -> Result<(), EngineError> {
        self.set.lock().unwrap().push(swarm);
        Ok(())
    }

    fn is_own_interface(&self, _name: &str) -> bool {
        false
    }
}

/// Managers that cannot start, or that dispatch and do nothing else.
#[derive(Default)]
struct FakeManagers {
    refusal: Option<ManagerError>,
    starts: StdMutex<Vec<ManagerStart>>,
}

struct FakeManager(FakeDispatcher);

#[async_trait]
impl RunningManager for FakeManager {
    fn control(&self) -> Arc<dyn Control> {
        panic!("these tests do not ask the control API")
    }

    fn local_dialer(&self) -> LocalDialer {
        self.0.dialer()
    }

    async fn ended(&self) -> String {
        std::future::pending().await
    }

    fn unlock_key(&self) -> tokio::sync::watch::Receiver<UnlockKey> {
        tokio::sync::watch::channel(UnlockKey::default()).1
    }

    async fn locked(&self, _kek: &Kek) {}

    fn metrics(&self) -> Vec<skep_manager::metrics::Family> {
        Vec::new()
    }

    fn capture(&self) -> (skep_objects::swarmkit::StoreSnapshot, u64) {
        Default::default()
    }

    async fn stop(&self) {}
}

#[async_trait]
impl Managers for FakeManagers {
    async fn start(&self, start: ManagerStart) -> Result<Arc<dyn RunningManager>, ManagerError> {
        self.starts.lock().unwrap().push(start);
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(Arc::new(FakeManager(FakeDispatcher::spawn()))),
        }
    }

    async fn forget(&self, _state_dir: PathBuf) {}
}

struct Bench {
    host: Arc<FakeHost>,
    managers: Arc<FakeManagers>,
    machine: FakeExecutor,
    connect_timeout: Duration,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(refusal: Option<ManagerError>) -> Self {
        Self {
            host: Arc::default(),
            managers: Arc::new(FakeManagers {
                refusal,
                ..Default::default()
            }),
            machine: FakeExecutor::default(),
            connect_timeout: Duration::from_secs(10),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("swarm")
    }

    async fn open(&self) -> SwarmNode {
        SwarmNode::open(SwarmConfig {
            state_dir: self.state_dir(),
            default_advertise_addr: None,
            host: self.host.clone(),
            executor: Arc::new(self.machine.clone()),
            attachments: Attachments::default(),
            managers: self.managers.clone(),
            drain_deadline: Duration::from_millis(10),
            connect_timeout: self.connect_timeout,
            clock_check: Duration::from_millis(20),
        })
        .await
    }

    /// The files of a manager that was one before.
    fn write_member(&self, kek: Option<&Kek>, born: OffsetDateTime) {
        let settings = Settings::new(
            "127.0.0.1:2377".parse().unwrap(),
            "127.0.0.1:2377".parse().unwrap(),
        );
        StateDir::new(self.state_dir())
            .save_settings(&settings)
            .unwrap();
        let root = SigningRoot::create(born).unwrap();
        let key = NodeKey::generate().unwrap();
        let csr = key.csr().unwrap();
        let request = NodeCertificateRequest {
            csr: &csr,
            node_id: "node1",
            role: NodeRole::Manager,
            cluster_id: "cluster1",
            life: time::Duration::hours(2),
        };
        let chain = NodeCertificate::from_pem(&root.sign(&request, born).unwrap()).unwrap();
        let roots = RootBundle::from_pem(root.cert_pem()).unwrap();
        let made = Credentials::new(key, chain, roots).unwrap();
        let files = NodeFiles::new(&self.state_dir());
        files.save_roots(made.roots()).unwrap();
        files.save(made.key(), made.certificate(), kek).unwrap();
        files.set_headers(&KeyHeaders::default(), kek).unwrap();
    }
}

fn init_request() -> InitRequest {
    InitRequest {
        listen_addr: "127.0.0.1:0".into(),
        advertise_addr: "127.0.0.1".into(),
        ..Default::default()
    }
}

fn exists(path: &Path) -> bool {
    path.exists()
}

#[tokio::test]
async fn a_new_swarm_survives_a_restart_and_leaving_removes_it() {
    let bench = Bench::new(None);
    let node = bench.open().await;
    assert_eq!(node.header(), "inactive");
    let id = node.init(init_request()).await.unwrap();
    assert_eq!(node.header(), "active/manager");
    assert_eq!(node.node_id().as_deref(), Some(id.as_str()));
    let again = node.init(init_request()).await.unwrap_err();
    assert!(matches!(again, SwarmError::AlreadyMember));
    node.shutdown().await;

    let node = bench.open().await;
    let status = node.ready().await;
    assert!(status.is_ok());
    assert_eq!(node.node_id().as_deref(), Some(id.as_str()));
    {
        let starts = bench.managers.starts.lock().unwrap();
        assert!(starts[0].founding.is_some());
        assert!(starts[1].founding.is_none());
    }
    node.leave(true).await.unwrap();
    assert_eq!(node.header(), "inactive");
    assert!(!exists(&bench.state_dir()));
    assert_eq!(bench.host.set.lock().unwrap().last(), Some(&None));
    assert!(matches!(node.leave(true).await, Err(SwarmError::NotMember)));
}

#[tokio::test]
async fn a_swarm_that_cannot_be_founded_leaves_nothing_behind() {
    let refusal = ManagerError {
        kind: ErrorKind::Internal,
        text: "listen tcp 127.0.0.1:2377: bind: address already in use".into(),
    };
    let bench = Bench::new(Some(refusal));
    let node = bench.open().await;
    let error = node.init(init_request()).await.unwrap_err();
    assert!(
        error.to_string().contains("address already in use"),
        "{error}"
    );
    assert_eq!(node.header(), "inactive");
    assert!(!exists(&bench.state_dir()));
}

#[tokio::test]
async fn a_join_that_cannot_be_right_is_refused_before_anything_is_done() {
    let bench = Bench::new(None);
    let node = bench.open().await;
    let request = |remotes: &[&str], token: &str| JoinRequest {
        remote_addrs: Some(remotes.iter().map(|r| (*r).to_owned()).collect()),
        join_token: token.to_owned(),
        listen_addr: "127.0.0.1:0".into(),
        ..Default::default()
    };
    let token = skep_rpc::identity::JoinToken::generate(b"root").to_string();
    for (request, text) in [
        (
            request(&[], &token),
            "at least 1 RemoteAddr is required to join",
        ),
        (request(&["127.0.0.1:1"], "nonsense"), "invalid join token"),
        (
            request(&["127.0.0.1:x"], &token),
            "invalid remote address \"127.0.0.1:x\"",
        ),
    ] {
        let error = node.join(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.to_string(), text);
    }
    assert!(!exists(&bench.state_dir()));
}

#[tokio::test]
async fn a_locked_node_waits_for_its_key() {
    let bench = Bench::new(None);
    let kek = Kek::generate();
    bench.write_member(Some(&kek), OffsetDateTime::now_utc());
    let node = bench.open().await;
    assert_eq!(node.header(), "locked");
    assert!(matches!(node.control().err(), Some(SwarmError::Locked)));
    assert!(matches!(node.leave(false).await, Err(SwarmError::Locked)));
    for wrong in ["nonsense", &Kek::generate().to_string()] {
        let error = node.unlock(wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert_eq!(node.header(), "locked");
    }
    node.unlock(&kek.to_string()).await.unwrap();
    assert_eq!(node.header(), "active/manager");
    assert!(matches!(node.unlock("x").await, Err(SwarmError::NotLocked)));
    node.leave(true).await.unwrap();
}

#[tokio::test]
async fn a_node_whose_certificate_has_expired_says_so() {
    let bench = Bench::new(None);
    bench.write_member(None, OffsetDateTime::now_utc() - time::Duration::hours(5));
    let node = bench.open().await;
    assert_eq!(node.header(), "error");
    assert!(matches!(
        node.control().err(),
        Some(SwarmError::CertificatesExpired)
    ));
    let info = node.info().await;
    assert!(info.error.starts_with("Swarm certificates have expired."));
    node.leave(false).await.unwrap();
    assert_eq!(node.header(), "inactive");
}

#[tokio::test]
async fn a_clock_that_is_set_right_makes_a_certificate_valid_again() {
    let bench = Bench::new(None);
    bench.write_member(None, OffsetDateTime::now_utc() - time::Duration::hours(5));
    let node = bench.open().await;
    assert_eq!(node.header(), "error");
    // As good as setting the clock.
    bench.write_member(None, OffsetDateTime::now_utc());
    let mut waited = 0;
    while node.header() != "active/manager" {
        waited += 1;
        assert!(waited < 1000, "{}", node.header());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_manager_whose_certificate_has_expired_can_be_made_the_only_one() {
    let bench = Bench::new(None);
    bench.write_member(None, OffsetDateTime::now_utc() - time::Duration::hours(5));
    let node = bench.open().await;
    let request = InitRequest {
        force_new_cluster: true,
        ..Default::default()
    };
    node.init(request).await.unwrap();
    assert_eq!(node.header(), "active/manager");
    assert!(bench.managers.starts.lock().unwrap()[0].force_new_cluster);
    node.leave(true).await.unwrap();
}

#[tokio::test]
async fn a_join_replaces_a_membership_whose_certificate_has_expired() {
    let mut bench = Bench::new(None);
    bench.connect_timeout = Duration::from_millis(200);
    bench.write_member(None, OffsetDateTime::now_utc() - time::Duration::hours(5));
    let node = bench.open().await;
    let mut request = JoinRequest {
        remote_addrs: Some(Vec::new()),
        join_token: skep_rpc::identity::JoinToken::generate(b"root").to_string(),
        listen_addr: "127.0.0.1:0".into(),
        advertise_addr: "127.0.0.1".into(),
        ..Default::default()
    };
    let refused = node.join(request.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        node.header(),
        "error",
        "what cannot be right changes nothing"
    );
    // It takes connections, and says nothing on them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    request.remote_addrs = Some(vec![addr]);
    let late = node.join(request).await.unwrap_err();
    assert!(matches!(late, SwarmError::JoinTimeout), "{late}");
    assert_eq!(node.header(), "pending", "it goes on trying");
    node.leave(true).await.unwrap();
}

#[tokio::test]
async fn a_join_where_nobody_listens_is_refused_at_once() {
    let mut bench = Bench::new(None);
    bench.connect_timeout = Duration::from_secs(60);
    let node = bench.open().await;
    let request = JoinRequest {
        remote_addrs: Some(vec!["127.0.0.1:1".into()]),
        join_token: skep_rpc::identity::JoinToken::generate(b"root").to_string(),
        listen_addr: "127.0.0.1:0".into(),
        advertise_addr: "127.0.0.1".into(),
        ..Default::default()
    };
    let refused = node.join(request).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(
        refused.to_string(),
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while \
         dialing: dial tcp 127.0.0.1:1: connect: connection refused\""
    );
    assert_eq!(node.header(), "inactive");
}
