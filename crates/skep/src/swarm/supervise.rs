//! Runs a manager in this node while its certificate says that it is one.

use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::NodeRole;
use skep_rpc::identity::{Kek, NodeIdentity};
use skep_rpc::{Backoff, LocalDialer, Remotes};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::SwarmConfig;
use super::manager::{Founding, ManagerError, ManagerStart, RunningManager};
use super::state::Settings;

/// How long a manager that was removed waits for its worker certificate.
const ROLE_CHANGE: Duration = Duration::from_secs(16);

/// The manager of this process, while there is one.
pub(super) type Current = Option<Arc<dyn RunningManager>>;

/// Starts and stops managers.
pub(super) struct Supervisor {
    pub(super) config: Arc<SwarmConfig>,
    pub(super) settings: Settings,
    pub(super) identity: NodeIdentity,
    pub(super) remotes: Remotes,
    pub(super) kek: watch::Receiver<Option<Kek>>,
    pub(super) local: watch::Sender<Option<LocalDialer>>,
    pub(super) current: watch::Sender<Current>,
    pub(super) error: watch::Sender<Option<ManagerError>>,
    pub(super) forced: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

/// What the first manager of this process is told beyond its certificate.
#[derive(Clone, Default)]
pub(super) struct First {
    pub(super) founding: Option<Founding>,
    pub(super) force_new_cluster: bool,
    pub(super) join_addr: Option<String>,
    pub(super) availability: i32,
}

impl Supervisor {
    /// Runs until `stop`; fails only if a swarm cannot be founded.
    pub(super) async fn run(self, mut first: First) -> Result<(), ManagerError> {
        let mut backoff = Backoff::doubling(Duration::from_millis(200), Duration::from_secs(8));
        loop {
            if !self.until_role(NodeRole::Manager).await {
                return Ok(());
            }
            let start = self.start(&first);
            let is_founding = start.founding.is_some() || start.force_new_cluster;
            let started = tokio::select! {
                started = self.config.managers.start(start) => started,
                () = self.stop.cancelled() => return Ok(()),
            };
            let manager = match started {
                Ok(manager) => manager,
                Err(error) if is_founding => return Err(error),
                Err(error) => {
                    warn!(%error, "manager cannot run yet");
                    self.error.send_replace(Some(error));
                    let pause = tokio::time::sleep(backoff.next_delay());
                    tokio::select! {
                        () = pause => continue,
                        () = self.stop.cancelled() => return Ok(()),
                    }
                }
            };
            backoff.reset();
            first = First::default();
            self.error.send_replace(None);
            info!("this node is a manager");
            self.local.send_replace(Some(manager.local_dialer()));
            self.current.send_replace(Some(Arc::clone(&manager)));
            let removed = tokio::select! {
                reason = manager.ended() => Some(reason),
                _ = self.until_role(NodeRole::Worker) => None,
            };
            self.local.send_replace(None);
            self.current.send_replace(None);
            manager.stop().await;
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if let Some(reason) = removed {
                info!(%reason, "manager ended");
                self.after_removal().await;
            }
            if self.identity.role() == NodeRole::Worker {
                info!("this node is a worker");
                self.config
                    .managers
                    .forget(self.config.state_dir.clone())
                    .await;
            }
        }
    }

    fn start(&self, first: &First) -> ManagerStart {
        let known = || self.remotes.pick(&[]).map(|peer| peer.addr);
        let is_founding = first.founding.is_some() || first.force_new_cluster;
        let own = self.settings.advertise_addr.to_string();
        let join_addr = if is_founding {
            None
        } else {
            first.join_addr.clone().or_else(known)
        };
        ManagerStart {
            state_dir: self.config.state_dir.clone(),
            identity: self.identity.clone(),
            listen_addr: self.settings.listen_addr,
            advertise_addr: self.settings.advertise_addr,
            join_addr: join_addr.filter(|addr| *addr != own),
            force_new_cluster: first.force_new_cluster,
            kek: self.kek.borrow().clone(),
            founding: first.founding.clone(),
            availability: first.availability.try_into().unwrap_or_default(),
        }
    }

    /// False if the node ends before it has the role.
    async fn until_role(&self, role: NodeRole) -> bool {
        let mut credentials = self.identity.watch();
        let has_role = credentials.wait_for(|c| c.certificate().role() == role);
        tokio::select! {
            found = has_role => found.is_ok(),
            () = self.stop.cancelled() => false,
        }
    }

    /// Gives the CA time to make a worker of this node, asks once, and then lets it try again.
    async fn after_removal(&self) {
        for is_last in [false, true] {
            let role = tokio::time::timeout(ROLE_CHANGE, self.until_role(NodeRole::Worker)).await;
            if role.is_ok() || is_last {
                return;
            }
            self.forced.notify_one();
        }
    }
}
