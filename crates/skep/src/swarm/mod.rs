//! This node's membership of a swarm: init, join, leave, unlock, restart, change of role.
//!
//! [`SwarmNode`] is there on every daemon, in a swarm or not. While in one it owns a member: an
//! agent always, a manager while the certificate says so, and the renewal of that certificate.
//!
//! ```text
//! <data root>/swarm/
//!   node.json       addresses, a join under way       (state.rs)
//!   state.json      managers last known               (state.rs)
//!   certificates/   roots, chain, key                 (skep-rpc, identity::files)
//!   worker/tasks    tasks of this node                (skep-agent, disk)
//!   raft/           log and snapshots of a manager    (skep-store)
//! ```
//!
//! Invariant: one change of membership at a time, and a change that fails leaves nothing behind.

pub mod address;
mod assembly;
mod attach;
mod backup;
mod doctor;
mod error;
mod host;
mod info;
mod leave;
pub mod manager;
mod member;
mod membership;
mod moving;
mod objects;
mod probe;
mod renew;
mod request;
mod state;
mod supervise;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use skep_agent::Executor;
use skep_agent::engine::Attachments;
use skep_objects::api::swarm::{InitRequest, JoinRequest};
use skep_objects::swarmkit::NodeRole;
use skep_rpc::identity::{Kek, NodeFiles};
use skep_rpc::swarmkit::control_server::Control;
use skep_rpc::{bootstrap, client};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tracing::{info, warn};

pub use assembly::Assembly;
pub use attach::Attachment;
pub use doctor::{Finding, Level};
pub use error::SwarmError;
pub use host::{EngineHost, SwarmHost};
use manager::Managers;
use member::{Entry, Member};
use state::{Settings, StateDir};
use supervise::First;

/// How long init and join wait for the node to be active.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a node whose certificate has expired by its clock looks whether the clock was set right.
pub const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// What a node's membership is made from.
pub struct SwarmConfig {
    /// `<data root>/swarm`.
    pub state_dir: PathBuf,
    /// Address or interface to advertise when not told (`--swarm-default-advertise-addr`).
    pub default_advertise_addr: Option<String>,
    /// The host's networks.
    pub host: Arc<dyn SwarmHost>,
    /// What runs tasks.
    pub executor: Arc<dyn Executor>,
    /// Containers outside services on attachable networks.
    pub attachments: Attachments,
    /// Makes managers.
    pub managers: Arc<dyn Managers>,
    /// How long a task is held at most before its stop signal, to be drained elsewhere.
    pub drain_deadline: Duration,
    /// How long init and join wait for the node to be active.
    pub connect_timeout: Duration,
    /// How often a node whose certificate has expired looks whether its clock was set right.
    pub clock_check: Duration,
}

impl std::fmt::Debug for SwarmConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwarmConfig")
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

/// Where a node stands, apart from what its member says.
enum Standing {
    Inactive,
    /// In a swarm, but its key must be unlocked first.
    Locked,
    /// In a swarm, but its files cannot be used.
    Broken(Settings, Arc<SwarmError>),
    Member(Member),
}

/// This node's membership. A cheap clone.
#[derive(Clone)]
pub struct SwarmNode {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<SwarmConfig>,
    dir: StateDir,
    /// One change at a time; readers look at `standing` meanwhile.
    change: Mutex<()>,
    standing: RwLock<Standing>,
}

impl std::fmt::Debug for SwarmNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwarmNode")
            .field("config", &self.inner.config)
            .finish()
    }
}

impl SwarmNode {
    /// Takes up the membership on disk, in the background.
    pub async fn open(config: SwarmConfig) -> Self {
        let config = Arc::new(config);
        let dir = StateDir::new(config.state_dir.clone());
        let standing = resume(&config, &dir, None, false);
        if let Standing::Broken(_, error) = &standing {
            warn!(%error, "this node cannot take part in its swarm");
        }
        let inner = Inner {
            config,
            dir,
            change: Mutex::default(),
            standing: RwLock::new(standing),
        };
        let node = Self {
            inner: Arc::new(inner),
        };
        if node.is_expired() {
            tokio::spawn(await_clock(Arc::downgrade(&node.inner)));
        }
        node
    }

    fn standing(&self) -> RwLockReadGuard<'_, Standing> {
        self.inner
            .standing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a swarm of this one manager; answers the node's id.
    pub async fn init(&self, request: InitRequest) -> Result<String, SwarmError> {
        let _one = self.inner.change.lock().await;
        if request.force_new_cluster {
            return self.force_new_cluster(request).await;
        }
        self.refuse_member()?;
        let asked = request::init(&self.inner.config, &request)?;
        self.found(asked).await
    }

    /// Keeps the state of a manager whose quorum is gone, and makes it the only one.
    async fn force_new_cluster(&self, request: InitRequest) -> Result<String, SwarmError> {
        let Some(mut settings) = self.inner.dir.settings()? else {
            return Err(SwarmError::NotMember);
        };
        let addresses = request::addresses(&self.inner.config)?;
        if !request.listen_addr.is_empty() {
            settings.listen_addr = addresses.listen(&request.listen_addr)?;
        }
        if !request.advertise_addr.is_empty() {
            let listen = settings.listen_addr;
            settings.advertise_addr = addresses.advertise(&request.advertise_addr, None, listen)?;
        }
        moving::note_interfaces(&mut settings, &addresses);
        if let Standing::Locked = &*self.standing() {
            return Err(SwarmError::Locked);
        }
        self.replace(Standing::Inactive).await;
        self.inner.dir.save_settings(&settings)?;
        let standing = resume(&self.inner.config, &self.inner.dir, None, true);
        self.replace(standing).await;
        self.await_ready(SwarmError::Ended("swarm was not ready in time".into()))
            .await?;
        self.node_id().ok_or(SwarmError::NotMember)
    }

    /// Enters the swarm of the given managers.
    pub async fn join(&self, request: JoinRequest) -> Result<(), SwarmError> {
        let _one = self.inner.change.lock().await;
        let is_expired = self.is_expired();
        if !is_expired {
            self.refuse_member()?;
        }
        let settings = request::join(&self.inner.config, &request)?;
        if is_expired {
            // What it was nobody lets in any more: it leaves, and joins as a new node.
            self.erase().await;
        }
        let entry = Entry::Join { waits: true };
        self.enter(settings, entry, SwarmError::JoinTimeout).await
    }

    /// Whether the node was away for longer than its certificate lives.
    fn is_expired(&self) -> bool {
        let standing = self.standing();
        matches!(&*standing, Standing::Broken(_, error) if matches!(**error, SwarmError::CertificatesExpired))
    }

    fn refuse_member(&self) -> Result<(), SwarmError> {
        match &*self.standing() {
            Standing::Inactive => Ok(()),
            Standing::Locked => Err(SwarmError::Locked),
            Standing::Broken(..) | Standing::Member(_) => Err(SwarmError::AlreadyMember),
        }
    }

    /// Founds a swarm, new or restored.
    async fn found(&self, asked: request::Init) -> Result<String, SwarmError> {
        let (credentials, founding) = request::found(asked.founding)?;
        let first = First {
            founding: Some(founding),
            availability: asked.availability.into(),
            ..Default::default()
        };
        let entry = Entry::Found(Box::new(credentials), first);
        self.enter(
            asked.settings,
            entry,
            SwarmError::Ended("swarm was not ready in time".into()),
        )
        .await?;
        self.node_id().ok_or(SwarmError::NotMember)
    }

    /// Starts a member and waits for it. If it fails, nothing of it stays; if it takes too long, it
    /// goes on and `timeout` is answered.
    async fn enter(
        &self,
        settings: Settings,
        entry: Entry,
        timeout: SwarmError,
    ) -> Result<(), SwarmError> {
        let member = Member::spawn(Arc::clone(&self.inner.config), settings, entry);
        self.replace(Standing::Member(member)).await;
        self.await_ready(timeout).await
    }

    /// Waits until the member is active.
    async fn ready(&self) -> Result<(), Arc<SwarmError>> {
        let status = match &*self.standing() {
            Standing::Member(member) => member.status.clone(),
            Standing::Broken(_, error) => return Err(Arc::clone(error)),
            Standing::Inactive | Standing::Locked => return Err(Arc::new(SwarmError::NotMember)),
        };
        member::ready(status).await
    }

    async fn await_ready(&self, timeout: SwarmError) -> Result<(), SwarmError> {
        let ready = self.ready();
        let is_join = matches!(timeout, SwarmError::JoinTimeout);
        let failure = match tokio::time::timeout(self.inner.config.connect_timeout, ready).await {
            Ok(Ok(())) => return Ok(()),
            Err(_) if is_join => return Err(timeout),
            Err(_) => timeout,
            Ok(Err(error)) => take(error),
        };
        self.erase().await;
        Err(failure)
    }

    /// Leaves the swarm: tasks end, and the node forgets that it was a member.
    pub async fn leave(&self, force: bool) -> Result<(), SwarmError> {
        let _one = self.inner.change.lock().await;
        let (is_manager, manager) = match &*self.standing() {
            Standing::Inactive => return Err(SwarmError::NotMember),
            Standing::Locked if !force => return Err(SwarmError::Locked),
            Standing::Locked | Standing::Broken(..) => (false, None),
            Standing::Member(member) => (info::is_manager(member), member.manager.borrow().clone()),
        };
        if is_manager && !force {
            return Err(leave::refuse(manager.as_deref()).await);
        }
        self.erase().await;
        info!("this node has left the swarm");
        Ok(())
    }

    /// Ends the membership and removes its state.
    async fn erase(&self) {
        let old = std::mem::replace(
            &mut *self
                .inner
                .standing
                .write()
                .unwrap_or_else(PoisonError::into_inner),
            Standing::Inactive,
        );
        if let Standing::Member(member) = old {
            member.leave().await;
        } else {
            self.inner
                .config
                .executor
                .retain_tasks(&Default::default())
                .await;
        }
        self.inner
            .config
            .managers
            .forget(self.inner.config.state_dir.clone())
            .await;
        if let Err(error) = self.inner.config.host.set_swarm(None).await {
            warn!(%error, "networks of the swarm stay");
        }
        if let Err(error) = self.inner.dir.clear() {
            warn!(%error, "swarm state stays on disk");
        }
    }

    async fn replace(&self, standing: Standing) {
        let old = std::mem::replace(
            &mut *self
                .inner
                .standing
                .write()
                .unwrap_or_else(PoisonError::into_inner),
            standing,
        );
        if let Standing::Member(member) = old {
            member.stop().await;
        }
    }

    /// Unlocks a manager that was restarted with autolock on.
    pub async fn unlock(&self, key: &str) -> Result<(), SwarmError> {
        let _one = self.inner.change.lock().await;
        match &*self.standing() {
            Standing::Inactive => return Err(SwarmError::NotMember),
            Standing::Locked => {}
            Standing::Broken(..) | Standing::Member(_) => return Err(SwarmError::NotLocked),
        }
        let kek = Kek::parse(key).map_err(|_| SwarmError::InvalidUnlockKey)?;
        match resume(&self.inner.config, &self.inner.dir, Some(kek), false) {
            Standing::Broken(_, error) => Err(take(error)),
            standing => {
                self.replace(standing).await;
                let ready = async { self.ready().await.map_err(take) };
                match tokio::time::timeout(self.inner.config.connect_timeout, ready).await {
                    Ok(outcome) => outcome,
                    // It is unlocked; that the quorum is not there is told by `info`.
                    Err(_) => Ok(()),
                }
            }
        }
    }

    /// The key to unlock managers with, empty without autolock.
    pub async fn unlock_key(&self) -> Result<String, SwarmError> {
        let dialer = {
            let standing = self.standing();
            let manager = info::manager(&standing)?;
            manager.local_dialer()
        };
        let channel = client::connect_local(&dialer).map_err(bootstrap::BootstrapError::from)?;
        let (kek, _) = bootstrap::unlock_key(channel).await?;
        Ok(kek.map(|k| k.to_string()).unwrap_or_default())
    }

    /// The control API of the manager in this node, or why there is none.
    pub fn control(&self) -> Result<Arc<dyn Control>, SwarmError> {
        Ok(info::manager(&self.standing())?.control())
    }

    /// This node's id; none outside a swarm.
    pub fn node_id(&self) -> Option<String> {
        match &*self.standing() {
            Standing::Member(member) => {
                let status = member.status.borrow();
                status.identity.as_ref().map(|i| i.node_id().to_owned())
            }
            Standing::Inactive | Standing::Locked | Standing::Broken(..) => None,
        }
    }

    /// Ends this process's part in the swarm; tasks go on.
    pub async fn shutdown(&self) {
        let _one = self.inner.change.lock().await;
        self.replace(Standing::Inactive).await;
    }
}

/// A host may be started with its clock far ahead, and have it set right later: then its certificate
/// is as good as before. Ends when that is so, or the node has become something else.
async fn await_clock(node: std::sync::Weak<Inner>) {
    while let Some(inner) = node.upgrade() {
        let node = SwarmNode { inner };
        let one = node.inner.change.lock().await;
        if !node.is_expired() {
            return;
        }
        let config = &node.inner.config;
        let standing = resume(config, &node.inner.dir, None, false);
        if !matches!(&standing, Standing::Broken(..)) {
            info!("this node's certificate is valid by its clock after all");
            node.replace(standing).await;
            return;
        }
        let pause = config.clock_check;
        drop(one);
        drop(node);
        tokio::time::sleep(pause).await;
    }
}

/// The error itself, for whoever waited for it; another reader has its text.
fn take(error: Arc<SwarmError>) -> SwarmError {
    Arc::try_unwrap(error).unwrap_or_else(SwarmError::Shared)
}

/// What the disk says about this node.
fn resume(
    config: &Arc<SwarmConfig>,
    dir: &StateDir,
    kek: Option<Kek>,
    force_new_cluster: bool,
) -> Standing {
    let mut settings = match dir.settings() {
        Ok(Some(settings)) => settings,
        Ok(None) => return Standing::Inactive,
        Err(error) => {
            let unspecified = SocketAddr::from(([0, 0, 0, 0], address::DEFAULT_PORT));
            let settings = Settings::new(unspecified, unspecified);
            return Standing::Broken(settings, Arc::new(error.into()));
        }
    };
    match moving::follow(config, &settings) {
        Ok(now) if now == settings => {}
        Ok(now) => {
            settings = now;
            if let Err(error) = dir.save_settings(&settings) {
                return Standing::Broken(settings, Arc::new(error.into()));
            }
        }
        Err(error) => return Standing::Broken(settings, Arc::new(error)),
    }
    let entry = match NodeFiles::new(&config.state_dir).load(kek.as_ref()) {
        Ok(credentials) => {
            let now = OffsetDateTime::now_utc();
            // A manager that is to be the only one renews its certificate by its own CA.
            let renews = force_new_cluster && credentials.certificate().role() == NodeRole::Manager;
            if credentials.certificate().is_expired(now) && !renews {
                return Standing::Broken(settings, Arc::new(SwarmError::CertificatesExpired));
            }
            let first = First {
                force_new_cluster,
                join_addr: settings.manager_join_addr.clone(),
                ..Default::default()
            };
            Entry::Resume(Box::new(credentials), kek, first)
        }
        Err(error) if error.is_locked() => return Standing::Locked,
        Err(error) if error.is_wrong_key() => {
            return Standing::Broken(settings, Arc::new(SwarmError::InvalidUnlockKey));
        }
        Err(error) if error.is_missing() && settings.joining.is_some() => {
            Entry::Join { waits: false }
        }
        Err(error) => return Standing::Broken(settings, Arc::new(error.into())),
    };
    Standing::Member(Member::spawn(Arc::clone(config), settings, entry))
}

#[cfg(test)]
mod tests;
