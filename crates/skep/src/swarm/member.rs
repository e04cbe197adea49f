//! A node that is in a swarm, or on its way in: certificate, agent, manager and renewal together.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_agent::{Agent, AgentConfig, SessionState};
use skep_engine::SwarmInfo;
use skep_objects::swarmkit::{NodeRole, Peer};
use skep_rpc::bootstrap::{self, Issued};
use skep_rpc::identity::{Credentials, JoinToken, Kek, KeyHeaders, NodeFiles, NodeIdentity};
use skep_rpc::{Backoff, Remotes, bootstrap::BootstrapError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::SwarmConfig;
use super::error::SwarmError;
use super::probe::NodeProber;
use super::renew::Renewer;
use super::state::{Joining, Settings, StateDir};
use super::supervise::{Current, First, Supervisor};

/// Between tries of a join.
const JOIN_PAUSE: Duration = Duration::from_secs(1);
const JOIN_PAUSE_MOST: Duration = Duration::from_secs(30);

/// How a node comes to be a member.
pub(super) enum Entry {
    /// It makes the swarm, and its certificate, itself.
    Found(Box<Credentials>, First),
    /// It asks a manager, as the settings say; `waits` while a client waits for that.
    Join { waits: bool },
    /// It has been one before.
    Resume(Box<Credentials>, Option<Kek>, First),
}

/// Where a member stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    /// Has been in session with a manager since it was started.
    pub(super) is_active: bool,
    /// What is wrong now.
    pub(super) error: Option<String>,
    /// It ended, and will not come back by itself.
    pub(super) failure: Option<Arc<SwarmError>>,
    pub(super) identity: Option<NodeIdentity>,
    pub(super) remotes: Vec<Peer>,
    /// This node as the managers see it.
    pub(super) session: SessionState,
}

/// A running member.
pub(super) struct Member {
    pub(super) settings: Settings,
    pub(super) status: watch::Receiver<Status>,
    pub(super) manager: watch::Receiver<Current>,
    stop: CancellationToken,
    /// Told to leave rather than only to stop.
    leave: Option<oneshot::Sender<()>>,
    handle: JoinHandle<()>,
}

impl Member {
    pub(super) fn spawn(config: Arc<SwarmConfig>, settings: Settings, entry: Entry) -> Self {
        let (status_sender, status) = watch::channel(Status::default());
        let (manager_sender, manager) = watch::channel(None);
        let (leave, left) = oneshot::channel();
        let stop = CancellationToken::new();
        let life = Life {
            files: NodeFiles::new(&config.state_dir),
            dir: StateDir::new(config.state_dir.clone()),
            config,
            settings: settings.clone(),
            status: status_sender,
            manager: manager_sender,
            stop: stop.clone(),
        };
        let handle = tokio::spawn(life.run(entry, left));
        Self {
            settings,
            status,
            manager,
            stop,
            leave: Some(leave),
            handle,
        }
    }

    /// Ends the membership of this process; tasks go on.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ = self.handle.await;
    }

    /// Ends it for good: tasks are stopped and removed.
    pub(super) async fn leave(mut self) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(());
        }
        self.stop.cancel();
        let _ = self.handle.await;
    }
}

/// Waits until a node is active: in session, and if it is a manager, serving.
pub(super) async fn ready(mut status: watch::Receiver<Status>) -> Result<(), Arc<SwarmError>> {
    let decided = |s: &Status| s.is_active || s.failure.is_some();
    match status.wait_for(decided).await {
        Ok(status) => status.failure.clone().map_or(Ok(()), Err),
        Err(_) => Err(Arc::new(SwarmError::Ended("node has ended".to_owned()))),
    }
}

struct Life {
    config: Arc<SwarmConfig>,
    settings: Settings,
    files: NodeFiles,
    dir: StateDir,
    status: watch::Sender<Status>,
    manager: watch::Sender<Current>,
    stop: CancellationToken,
}

impl Life {
    async fn run(self, entry: Entry, left: oneshot::Receiver<()>) {
        let stop = self.stop.clone();
        let status = self.status.clone();
        let entered = tokio::select! {
            entered = self.enter(entry) => entered,
            () = stop.cancelled() => return,
        };
        let lived = match entered {
            Ok((credentials, kek, first, life)) => life.live(credentials, kek, first, left).await,
            Err(error) => Err(error),
        };
        if let Err(error) = lived {
            warn!(%error, "this node is no longer active in the swarm");
            status.send_modify(|s| {
                s.is_active = false;
                s.error = Some(error.to_string());
                s.failure = Some(Arc::new(error));
            });
        }
    }

    /// Gets a certificate, or takes the one there is.
    async fn enter(
        mut self,
        entry: Entry,
    ) -> Result<(Credentials, Option<Kek>, First, Self), SwarmError> {
        match entry {
            Entry::Resume(credentials, kek, first) => Ok((*credentials, kek, first, self)),
            Entry::Found(credentials, first) => {
                self.dir.save_settings(&self.settings)?;
                self.files.save_roots(credentials.roots())?;
                self.files
                    .save(credentials.key(), credentials.certificate(), None)?;
                Ok((*credentials, None, first, self))
            }
            Entry::Join { waits } => {
                let joining = self.settings.joining.clone();
                let joining = joining.ok_or_else(|| SwarmError::Invalid("no join".to_owned()))?;
                self.dir.save_settings(&self.settings)?;
                let (addr, issued) = self.request(&joining, waits).await?;
                let Issued {
                    credentials,
                    kek,
                    kek_version,
                } = issued;
                self.files.save_roots(credentials.roots())?;
                self.files
                    .save(credentials.key(), credentials.certificate(), kek.as_ref())?;
                let headers = KeyHeaders {
                    kek_version,
                    ..Default::default()
                };
                self.files.set_headers(&headers, kek.as_ref())?;
                self.settings.joining = None;
                self.settings.manager_join_addr = Some(addr.clone());
                self.dir.save_settings(&self.settings)?;
                let peer = Peer {
                    node_id: String::new(),
                    addr: addr.clone(),
                };
                self.dir.save_peers(&[peer])?;
                let first = First {
                    join_addr: Some(addr),
                    availability: joining.availability,
                    ..Default::default()
                };
                Ok((credentials, kek, first, self))
            }
        }
    }

    /// Asks the managers in turn for a certificate until one gives it, or it is clear that none will.
    /// Where nobody listens is an error while a client waits, and afterwards may pass.
    async fn request(
        &self,
        joining: &Joining,
        waits: bool,
    ) -> Result<(String, Issued), SwarmError> {
        let token = JoinToken::parse(&joining.token);
        let token = token.map_err(|e| SwarmError::Invalid(e.to_string()))?;
        let availability = joining.availability.try_into().unwrap_or_default();
        let until = Instant::now() + self.config.connect_timeout;
        let mut backoff = Backoff::doubling(JOIN_PAUSE, JOIN_PAUSE_MOST);
        loop {
            let mut errors: Vec<BootstrapError> = Vec::new();
            for addr in &joining.remotes {
                let attempt = async {
                    let roots = bootstrap::fetch_root(addr, &token).await?;
                    bootstrap::join(addr, &roots, &token, availability).await
                };
                match attempt.await {
                    Ok(issued) => return Ok((addr.clone(), issued)),
                    Err(error) => errors.push(error),
                }
            }
            let is_refused = errors.iter().all(BootstrapError::is_refused);
            let is_over = waits && is_refused && Instant::now() < until;
            let is_transient = errors.iter().any(BootstrapError::is_transient);
            let Some(error) = errors.pop() else {
                let text = "at least 1 RemoteAddr is required to join";
                return Err(SwarmError::Invalid(text.to_owned()));
            };
            if is_over || !is_transient {
                return Err(error.into());
            }
            self.status
                .send_modify(|status| status.error = Some(error.to_string()));
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Everything that a member does, until it is told to end.
    async fn live(
        self,
        credentials: Credentials,
        kek: Option<Kek>,
        first: First,
        mut left: oneshot::Receiver<()>,
    ) -> Result<(), SwarmError> {
        let identity = NodeIdentity::new(credentials);
        let is_manager = identity.role() == NodeRole::Manager;
        info!(
            node.id = identity.node_id(),
            role = identity.role().as_str_name(),
            "node starts"
        );
        let remotes = Remotes::new(self.dir.peers()?);
        self.status.send_modify(|s| {
            s.identity = Some(identity.clone());
            s.remotes = remotes.peers();
        });
        self.config
            .host
            .set_swarm(Some(self.swarm_info(&identity, 0)))
            .await?;
        let (local, local_receiver) = watch::channel(None);
        let agent = Agent::spawn(AgentConfig {
            state_dir: self.config.state_dir.clone(),
            identity: identity.clone(),
            remotes: remotes.clone(),
            local: local_receiver.clone(),
            executor: Arc::clone(&self.config.executor),
            drain_deadline: self.config.drain_deadline,
            prober: Arc::new(NodeProber {
                identity: identity.clone(),
                data_path_addr: self.data_path_addr(),
                state_dir: self.config.state_dir.clone(),
            }),
        })
        .await?;
        let forced = Arc::new(Notify::new());
        let kek = watch::Sender::new(kek);
        let renewer = Renewer {
            identity: identity.clone(),
            files: self.files.clone(),
            kek: kek.clone(),
            remotes: remotes.clone(),
            local: local_receiver,
            manager: self.manager.subscribe(),
            session: agent.state(),
            forced: Arc::clone(&forced),
            key_version: 0,
        };
        let manager_error = watch::Sender::new(None);
        let supervisor = Supervisor {
            config: Arc::clone(&self.config),
            settings: self.settings.clone(),
            identity: identity.clone(),
            remotes: remotes.clone(),
            kek: kek.subscribe(),
            local,
            current: self.manager.clone(),
            error: manager_error.clone(),
            forced,
            stop: self.stop.clone(),
        };
        let managing = supervisor.run(first);
        tokio::pin!(managing);
        let ended = tokio::select! {
            ended = &mut managing => ended.map_err(SwarmError::from),
            () = renewer.run() => Ok(()),
            () = self.observe(&agent, &identity, &remotes, manager_error.subscribe(), is_manager) => Ok(()),
            () = self.stop.cancelled() => Ok(()),
        };
        let is_leaving = left.try_recv().is_ok();
        if is_leaving {
            agent.leave().await;
        } else {
            agent.stop().await;
        }
        if ended.is_ok() && self.stop.is_cancelled() {
            // The manager gives leadership away and stops; it was polled in the select until now.
            let _ = managing.await;
        }
        ended
    }

    fn swarm_info(&self, identity: &NodeIdentity, port: u32) -> SwarmInfo {
        SwarmInfo {
            node_id: identity.node_id().to_owned(),
            data_path_addr: self.data_path_addr().to_string(),
            data_path_port: u16::try_from(port).unwrap_or_default(),
        }
    }

    fn data_path_addr(&self) -> IpAddr {
        let advertised = self.settings.advertise_addr.ip();
        self.settings.data_path_addr.unwrap_or(advertised)
    }

    /// Keeps status, list of managers and data path as the sessions say.
    async fn observe(
        &self,
        agent: &Agent,
        identity: &NodeIdentity,
        remotes: &Remotes,
        mut manager_error: watch::Receiver<Option<super::manager::ManagerError>>,
        is_manager: bool,
    ) {
        let mut session = agent.state();
        let mut peers = remotes.watch();
        let mut manager = self.manager.subscribe();
        let mut port = 0;
        loop {
            let seen = session.borrow_and_update().clone();
            peers.borrow_and_update();
            let error = manager_error.borrow_and_update().clone();
            let has_manager = manager.borrow_and_update().is_some();
            let known = remotes.peers();
            if let Some(node) = &seen.node
                && node.vxlanudp_port != 0
                && node.vxlanudp_port != port
            {
                port = node.vxlanudp_port;
                let info = self.swarm_info(identity, port);
                if let Err(error) = self.config.host.set_swarm(Some(info)).await {
                    warn!(%error, "data path cannot be set up");
                }
            }
            if !known.is_empty()
                && self.status.borrow().remotes != known
                && let Err(error) = self.dir.save_peers(&known)
            {
                warn!(%error, "list of managers cannot be saved");
            }
            let is_ready = seen.is_ready && (has_manager || !is_manager);
            self.status.send_modify(|s| {
                s.is_active |= is_ready;
                s.error = error.map(|e| e.to_string()).or_else(|| seen.error.clone());
                s.remotes = known;
                s.session = seen;
            });
            tokio::select! {
                changed = session.changed() => if changed.is_err() { break },
                _ = peers.changed() => {}
                _ = manager_error.changed() => {}
                _ = manager.changed() => {}
            }
        }
        std::future::pending().await
    }
}
