//! Keeps a member's certificate, roots and unlock key what the managers say they are.

use std::sync::Arc;
use std::time::Duration;

use skep_agent::SessionState;
use skep_objects::swarmkit::NodeRole;
use skep_objects::swarmkit::issuance_status::State as Issuance;
use skep_rpc::bootstrap::{self, BootstrapError, Issued};
use skep_rpc::identity::{Credentials, FilesError, Kek, NodeFiles, NodeIdentity, RootBundle};
use skep_rpc::{Backoff, LocalDialer, Remotes, client};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::manager::{RunningManager, UnlockKey};
use super::supervise::Current;

/// The CA settles a role before it is asked for.
const SETTLE: Duration = Duration::from_millis(500);

/// Renews one node's credentials.
pub(super) struct Renewer {
    pub(super) identity: NodeIdentity,
    pub(super) files: NodeFiles,
    pub(super) kek: watch::Sender<Option<Kek>>,
    pub(super) remotes: Remotes,
    pub(super) local: watch::Receiver<Option<LocalDialer>>,
    pub(super) manager: watch::Receiver<Current>,
    pub(super) session: watch::Receiver<SessionState>,
    /// Asks for a renewal whatever the managers say.
    pub(super) forced: Arc<Notify>,
    /// Version of the unlock key that was followed last.
    pub(super) key_version: u64,
}

/// Why one renewal failed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("no manager is known")]
    NoManager,
}

impl Renewer {
    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::linear(
            Duration::from_secs(1),
            Duration::from_secs(2),
            Duration::from_secs(3600),
        );
        loop {
            self.wait().await;
            loop {
                match self.renew().await {
                    Ok(()) => {
                        backoff.reset();
                        break;
                    }
                    Err(error) => {
                        let delay = backoff.next_delay();
                        warn!(%error, ?delay, "certificate is not renewed yet");
                        tokio::time::sleep(delay).await;
                    }
                }
            }
            // The role was asked for too early: the CA still has the old one.
            if self.is_due() {
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }

    /// Returns when a renewal is due.
    async fn wait(&mut self) {
        let fraction = rand::random::<f64>();
        loop {
            self.follow().await;
            if self.is_due() {
                tokio::time::sleep(SETTLE).await;
                return;
            }
            let certificate = self.identity.current();
            let due = certificate.certificate().renewal_time(fraction);
            let delay = due - OffsetDateTime::now_utc();
            // Looked at again each hour at least: clocks jump.
            let delay = Duration::try_from(delay)
                .unwrap_or_default()
                .min(Duration::from_secs(3600));
            if delay.is_zero() {
                return;
            }
            let mut session = self.session.clone();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.forced.notified() => return,
                () = self.unlock_key_changed() => {}
                changed = session.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Whether the managers want another certificate than the one in use.
    fn is_due(&self) -> bool {
        let session = self.session.borrow();
        let Some(node) = &session.node else {
            return false;
        };
        let wants_rotation = node
            .certificate
            .as_ref()
            .and_then(|c| c.status.as_ref())
            .is_some_and(|s| s.state() == Issuance::Rotate);
        session.is_ready && (wants_rotation || node.role() != self.identity.role())
    }

    /// Takes over roots and unlock key from the managers.
    async fn follow(&mut self) {
        let root = self.session.borrow_and_update().root_ca.clone();
        let current = self.identity.current();
        if !root.is_empty() && root != current.roots().pem() {
            match RootBundle::from_pem(&root) {
                Ok(roots) => self.adopt_roots(roots, &current),
                Err(error) => warn!(%error, "managers sent a root bundle that cannot be read"),
            }
        }
        let manager = self.manager.borrow().clone();
        if let Some(manager) = manager {
            let key = manager.unlock_key().borrow().clone();
            self.key_version = key.version;
            if let Err(error) = self.follow_unlock_key(&*manager, key).await {
                warn!(%error, "key file cannot be sealed with the managers' unlock key");
            }
        }
    }

    fn adopt_roots(&self, roots: RootBundle, current: &Credentials) {
        let now = OffsetDateTime::now_utc();
        if let Err(error) = roots.validate(current.certificate(), now) {
            warn!(%error, "managers sent a root bundle that does not vouch for this node");
            return;
        }
        let kek = self.kek.borrow().clone();
        let adopted = self
            .files
            .save_roots(&roots)
            .and_then(|()| self.files.load(kek.as_ref()));
        match adopted {
            Ok(credentials) => {
                info!("root CA is replaced");
                self.identity.replace(credentials);
            }
            Err(error) => warn!(%error, "root CA cannot be replaced"),
        }
    }

    async fn follow_unlock_key(
        &self,
        manager: &dyn RunningManager,
        key: UnlockKey,
    ) -> Result<(), RenewError> {
        let was_open = self.kek.borrow().is_none();
        self.set_kek(key.kek, key.version)?;
        let kek = self.kek.borrow().clone();
        if let (true, Some(kek)) = (was_open, kek) {
            manager.locked(&kek).await;
            // The key that was readable is not used any longer.
            self.forced.notify_one();
        }
        Ok(())
    }

    /// Returns when the managers' unlock key is another than the one followed last.
    async fn unlock_key_changed(&self) {
        let mut manager = self.manager.clone();
        let current = manager.borrow_and_update().clone();
        let newer = async {
            match current {
                Some(current) => {
                    let mut keys = current.unlock_key();
                    let is_over = keys
                        .wait_for(|key| key.version > self.key_version)
                        .await
                        .is_err();
                    if is_over {
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = newer => {}
            changed = manager.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    fn set_kek(&self, kek: Option<Kek>, version: u64) -> Result<(), RenewError> {
        let old = self.kek.borrow().clone();
        if old != kek && self.files.set_kek(old.as_ref(), kek.as_ref(), version)? {
            info!(is_locked = kek.is_some(), "managers' unlock key changed");
            self.kek.send_replace(kek);
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), RenewError> {
        let current = self.identity.current();
        let local = self.local.borrow().clone();
        let (channel, addr) = match local {
            Some(dialer) => (
                client::connect_local(&dialer).map_err(BootstrapError::from)?,
                None,
            ),
            None => {
                let peer = self.remotes.pick(&[]).ok_or(RenewError::NoManager)?;
                let channel = client::connect(&peer.addr, &self.identity).await;
                (channel.map_err(BootstrapError::from)?, Some(peer.addr))
            }
        };
        let renewed = bootstrap::renew(channel, addr.as_deref(), current.roots()).await;
        let issued = match (renewed, addr) {
            // A rotation may have ended while this node was away.
            (Err(BootstrapError::Root(error)), Some(addr)) => {
                debug!(%error, "root CA is downloaded again");
                let roots = bootstrap::refresh_root(&addr, current.certificate()).await?;
                self.adopt_roots(roots, &current);
                return Err(BootstrapError::Root(error).into());
            }
            (renewed, _) => renewed?,
        };
        self.install(issued)
    }

    fn install(&self, issued: Issued) -> Result<(), RenewError> {
        let Issued {
            credentials,
            kek,
            kek_version,
        } = issued;
        let certificate = credentials.certificate();
        let old = self.kek.borrow().clone();
        let is_worker = certificate.role() == NodeRole::Worker;
        // Sealed with the key in use; a new one follows by its version.
        let seal = if is_worker { None } else { old.clone() };
        self.files
            .save(credentials.key(), certificate, seal.as_ref())?;
        info!(
            role = certificate.role().as_str_name(),
            "certificate is renewed"
        );
        if is_worker {
            self.kek.send_replace(None);
        } else {
            self.set_kek(kek, kek_version)?;
        }
        self.identity.replace(credentials);
        Ok(())
    }
}
