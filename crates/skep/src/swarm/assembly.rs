//! A daemon's swarm node: the engine of this host, its tasks, and real managers.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use skep_agent::engine::Attachments;
use skep_agent::{DRAIN_DEADLINE, EngineExecutor, EngineExecutorConfig};
use skep_engine::Engine;
use skep_engine::events::Events;
use skep_manager::backup;
use skep_manager::manager::{Manager, ManagerConfig, NewCluster};
use skep_manager::metrics::Family;
use skep_manager::unlock::unlock_key;
use skep_objects::swarmkit::{Cluster, StoreSnapshot};
use skep_rpc::LocalDialer;
use skep_rpc::identity::Kek;
use skep_rpc::swarmkit::control_server::Control;
use skep_store::{Event as Change, Object};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use super::manager::{Founding, ManagerError, ManagerStart, Managers, RunningManager, UnlockKey};
use super::{CLOCK_CHECK, CONNECT_TIMEOUT, EngineHost, SwarmConfig, SwarmNode};
use crate::http::cluster::events::event;

/// What a daemon says about its swarm node.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// `<data root>/swarm`.
    pub state_dir: PathBuf,
    /// `--swarm-default-advertise-addr`.
    pub default_advertise_addr: Option<String>,
    /// `DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1`.
    pub prefer_local_images: bool,
    /// `--service-extras`.
    pub extras: skep_objects::extras::AllowedExtras,
}

impl Assembly {
    /// Builds the node, and takes up the membership on disk in the background.
    pub async fn open(self, engine: &Engine) -> SwarmNode {
        let config = EngineExecutorConfig {
            prefer_local_images: self.prefer_local_images,
            extras: self.extras.clone(),
        };
        let executor = EngineExecutor::new(engine.clone(), engine.images().clone(), config);
        let attachments: Attachments = executor.attachments().clone();
        SwarmNode::open(SwarmConfig {
            state_dir: self.state_dir,
            default_advertise_addr: self.default_advertise_addr,
            host: Arc::new(EngineHost::new(engine.clone())),
            executor: Arc::new(executor),
            attachments,
            managers: Arc::new(RealManagers {
                events: engine.events().clone(),
            }),
            drain_deadline: DRAIN_DEADLINE,
            connect_timeout: CONNECT_TIMEOUT,
            clock_check: CLOCK_CHECK,
        })
        .await
    }
}

/// Managers of skep-manager.
#[derive(Debug)]
struct RealManagers {
    events: Events,
}

struct RealManager {
    manager: Manager,
    unlock_key: watch::Receiver<UnlockKey>,
    /// Tells this daemon's clients, and this node, of changes in the store.
    events: AbortHandle,
}

/// What a cluster object says about locking.
fn unlock_key_of(cluster: &Cluster) -> UnlockKey {
    let kek = unlock_key(cluster).and_then(|key| Kek::from_bytes(key).ok());
    let version = cluster
        .meta
        .as_ref()
        .and_then(|m| m.version)
        .map_or(0, |v| v.index);
    UnlockKey { kek, version }
}

impl Drop for RealManager {
    fn drop(&mut self) {
        self.events.abort();
    }
}

impl From<skep_manager::manager::ManagerError> for ManagerError {
    fn from(error: skep_manager::manager::ManagerError) -> Self {
        Self {
            kind: error.kind(),
            text: error.to_string(),
        }
    }
}

impl From<Founding> for NewCluster {
    fn from(founding: Founding) -> Self {
        Self {
            spec: founding.spec,
            root_cert: founding.root_cert,
            root_key: founding.root_key,
            default_address_pool: founding.default_addr_pool,
            subnet_size: founding.subnet_size,
            data_path_port: founding.data_path_port,
            unlock_key: None,
            restore: founding.restore,
        }
    }
}

#[async_trait]
impl Managers for RealManagers {
    async fn start(&self, start: ManagerStart) -> Result<Arc<dyn RunningManager>, ManagerError> {
        let manager = Manager::start(ManagerConfig {
            state_dir: start.state_dir,
            identity: start.identity,
            listen_addr: start.listen_addr,
            advertise_addr: start.advertise_addr.to_string(),
            join_addr: start.join_addr,
            force_new_cluster: start.force_new_cluster,
            kek: start.kek,
            new_cluster: start.founding.map(NewCluster::from),
            availability: start.availability,
        })
        .await?;
        let (view, mut changes) = manager.store().watch();
        let first = view
            .the_cluster()
            .map(|c| unlock_key_of(c))
            .unwrap_or_default();
        let (keys, unlock_key) = watch::channel(first);
        let events = self.events.clone();
        let publish = async move {
            while let Some(change) = changes.recv().await {
                if let Change::Created(Object::Cluster(cluster))
                | Change::Updated {
                    new: Object::Cluster(cluster),
                    ..
                } = &change
                {
                    keys.send_replace(unlock_key_of(cluster));
                }
                if let Some(event) = event(&change) {
                    events.publish_event(event);
                }
            }
        };
        let events = tokio::spawn(publish).abort_handle();
        Ok(Arc::new(RealManager {
            manager,
            unlock_key,
            events,
        }))
    }

    async fn forget(&self, state_dir: PathBuf) {
        if let Err(error) = Manager::forget(&state_dir) {
            warn!(%error, "raft's files stay on disk");
        }
    }
}

#[async_trait]
impl RunningManager for RealManager {
    fn control(&self) -> Arc<dyn Control> {
        self.manager.control()
    }

    fn local_dialer(&self) -> LocalDialer {
        self.manager.local_dialer()
    }

    async fn ended(&self) -> String {
        self.manager.ended().await
    }

    fn unlock_key(&self) -> watch::Receiver<UnlockKey> {
        self.unlock_key.clone()
    }

    async fn locked(&self, kek: &Kek) {
        if let Err(error) = self.manager.rotate_raft_key(Some(kek)).await {
            error!(%error, "raft's files are not sealed with a new key");
        }
    }

    fn capture(&self) -> (StoreSnapshot, u64) {
        let view = self.manager.store().view();
        (backup::capture(&view), view.version())
    }

    fn metrics(&self) -> Vec<Family> {
        self.manager.families()
    }

    fn trouble(&self) -> Option<String> {
        self.manager.quorum().trouble()
    }

    async fn stop(&self) {
        self.events.abort();
        self.manager.stop().await;
    }
}
