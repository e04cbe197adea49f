//! The agent: keeps one session with some manager at all times, and the tasks going without one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skep_objects::swarmkit::{EncryptionKey, Node, NodeDescription, SessionMessage};
use skep_rpc::{Backoff, LocalDialer, NodeIdentity, Remotes, client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use crate::disk::{self, DiskError, DiskWriter};
use crate::drain::DrainGate;
use crate::executor::Executor;
use crate::prober::{self, Prober};
use crate::reporter::Reporter;
use crate::session::{Session, SessionError};
use crate::task::Shared;
use crate::worker::Worker;

/// What an agent is made from.
pub struct AgentConfig {
    /// The swarm state directory; the agent keeps `worker/` in it.
    pub state_dir: PathBuf,
    /// Who this node is.
    pub identity: NodeIdentity,
    /// The managers known; the agent keeps the list up to date.
    pub remotes: Remotes,
    /// The manager in this process, while there is one.
    pub local: watch::Receiver<Option<LocalDialer>>,
    /// What runs tasks.
    pub executor: Arc<dyn Executor>,
    /// How long a task is held at most before its stop signal, to be drained elsewhere.
    pub drain_deadline: Duration,
    /// What tries the ways to other nodes when the managers ask for that.
    pub prober: Arc<dyn Prober>,
}

impl std::fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentConfig")
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

/// How long a task is held at most before its stop signal, unless configured.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What the manager last said, and whether there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionState {
    /// A session is open.
    pub is_ready: bool,
    /// Why the last one failed; kept until the next one is open.
    pub error: Option<String>,
    /// The failure says that this node and the manager are not of one swarm.
    pub is_certificate_error: bool,
    /// This node as the managers see it.
    pub node: Option<Node>,
    /// The root bundle that the managers trust.
    pub root_ca: Vec<u8>,
    /// Keys of the gossip and encryption of dockerd's data path.
    pub network_keys: Vec<EncryptionKey>,
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    worker: Arc<Worker>,
    state: watch::Receiver<SessionState>,
    stop: CancellationToken,
    sessions: JoinHandle<()>,
    disk: JoinHandle<()>,
    disk_stop: CancellationToken,
    task_file: PathBuf,
}

impl Agent {
    /// Takes up the tasks on disk and starts looking for a manager.
    pub async fn spawn(config: AgentConfig) -> Result<Self, DiskError> {
        let task_file = task_file(&config.state_dir);
        let saved = match disk::load(&task_file) {
            // Containers carry their task's id: the managers' word is enough to find them again.
            Err(error @ DiskError::Damaged { .. }) => {
                warn!(%error, "tasks are taken from the manager instead");
                disk::Saved::default()
            }
            other => other?,
        };
        let disk_stop = CancellationToken::new();
        let (writer, disk) = DiskWriter::spawn(task_file.clone(), saved.clone(), disk_stop.clone());
        let shared = Shared {
            reporter: Reporter::default(),
            disk: writer,
            drain: DrainGate::new(config.drain_deadline),
        };
        let node = saved.node.clone();
        let worker = Worker::resume(Arc::clone(&config.executor), shared, saved).await;
        let (sender, state) = watch::channel(SessionState {
            node,
            ..Default::default()
        });
        let stop = CancellationToken::new();
        let sessions = Sessions {
            identity: config.identity,
            remotes: config.remotes,
            local: config.local,
            worker: Arc::clone(&worker),
            prober: config.prober,
            state: sender,
        };
        let sessions = tokio::spawn(sessions.run(stop.clone()));
        Ok(Self {
            worker,
            state,
            stop,
            sessions,
            disk,
            disk_stop,
            task_file,
        })
    }

    /// The state of the session, and what it last said.
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.state.clone()
    }

    /// Ends the session; containers go on, and another agent takes them up later.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.sessions.await;
        self.disk_stop.cancel();
        let _ = self.disk.await;
    }

    /// Stops and removes all tasks, and forgets them.
    pub async fn leave(self) {
        self.worker.withdraw().await;
        self.stop.cancel();
        let _ = self.sessions.await;
        self.worker.clear().await;
        self.disk_stop.cancel();
        let _ = self.disk.await;
        if let Err(error) = std::fs::remove_file(&self.task_file) {
            debug!(%error, "task file not removed");
        }
    }
}

fn task_file(state_dir: &Path) -> PathBuf {
    state_dir.join("worker").join("tasks")
}

struct Sessions {
    identity: NodeIdentity,
    remotes: Remotes,
    local: watch::Receiver<Option<LocalDialer>>,
    worker: Arc<Worker>,
    prober: Arc<dyn Prober>,
    state: watch::Sender<SessionState>,
}

impl Sessions {
    async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::session();
        let mut last_id = String::new();
        let mut last_addr = None;
        loop {
            let session = self.one(&mut last_id, &mut last_addr, &mut backoff);
            let error = tokio::select! {
                error = session => error,
                () = stop.cancelled() => return,
            };
            let is_silent = matches!(error, SessionError::DescriptionChanged);
            let is_certificate = matches!(&error, SessionError::Connect(e) if e.is_certificate());
            self.state.send_modify(|s| {
                s.is_ready = false;
                if !is_silent {
                    s.error = Some(error.to_string());
                    s.is_certificate_error = is_certificate;
                }
            });
            if is_silent {
                continue;
            }
            let delay = backoff.next_delay();
            debug!(%error, ?delay, "session ended");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.local_changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One session from dialling to its end.
    async fn one(
        &self,
        last_id: &mut String,
        last_addr: &mut Option<String>,
        backoff: &mut Backoff,
    ) -> SessionError {
        let channel = match self.channel(last_addr).await {
            Ok(found) => found,
            Err(error) => return error,
        };
        let addr = last_addr.clone();
        let opened = Session::open(channel, self.describe(), last_id).await;
        let (session, first) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.observe(addr.as_deref(), false);
                // A manager that does not know the id makes a new one; a stale id costs nothing.
                return error;
            }
        };
        self.observe(addr.as_deref(), true);
        backoff.reset();
        session.id().clone_into(last_id);
        info!(
            manager = addr.as_deref().unwrap_or("local"),
            "session with a manager is open"
        );
        self.heard(first).await;
        let (messages, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let on_message = move |message| {
            let _ = messages.send(message);
        };
        let describe = || self.describe();
        let probes = prober::attend(session.channel(), session.id().to_owned(), &*self.prober);
        let run = session.run(&self.worker, on_message, describe, self.identity.watch());
        let listen = async {
            while let Some(message) = heard.recv().await {
                self.heard(message).await;
            }
            std::future::pending().await
        };
        let local = self.local_changed();
        tokio::select! {
            error = run => error,
            error = listen => error,
            error = probes => error,
            () = local => SessionError::DescriptionChanged,
        }
    }

    /// Returns when a manager appears in this process or goes: the session moves over.
    async fn local_changed(&self) {
        let mut local = self.local.clone();
        local.borrow_and_update();
        if local.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Dials the manager in this process, or another than the one tried last. That is noted before
    /// the dial: where one of two managers is gone for good, the next try must be the other's.
    async fn channel(&self, last_addr: &mut Option<String>) -> Result<Channel, SessionError> {
        let local = self.local.borrow().clone();
        if let Some(dialer) = local {
            *last_addr = None;
            return Ok(client::connect_local(&dialer)?);
        }
        let excluded: Vec<&str> = last_addr.as_deref().into_iter().collect();
        let Some(peer) = self.remotes.pick(&excluded) else {
            return Err(tonic::Status::unavailable("no manager is known").into());
        };
        *last_addr = Some(peer.addr.clone());
        match client::connect(&peer.addr, &self.identity).await {
            Ok(channel) => Ok(channel),
            Err(error) => {
                self.remotes.failed(&peer.addr);
                Err(error.into())
            }
        }
    }

    fn observe(&self, addr: Option<&str>, is_success: bool) {
        match addr {
            Some(addr) if is_success => self.remotes.succeeded(addr),
            Some(addr) => self.remotes.failed(addr),
            None => {}
        }
    }

    fn describe(&self) -> NodeDescription {
        let mut description = self.worker.executor().describe();
        description.tls_info = Some(self.identity.current().tls_info());
        description
    }

    async fn heard(&self, message: SessionMessage) {
        if !message.managers.is_empty() {
            let managers = message.managers.into_iter();
            self.remotes
                .replace(managers.filter_map(|m| Some((m.peer?, m.weight))));
        }
        if let Some(node) = &message.node {
            if let Err(error) = self.worker.executor().configure(node).await {
                warn!(%error, "this node's network addresses cannot be set up");
            }
            self.worker.shared().disk.set_node(node);
        }
        self.state.send_modify(|s| {
            s.is_ready = true;
            s.error = None;
            s.is_certificate_error = false;
            if message.node.is_some() {
                s.node = message.node;
            }
            if !message.root_ca.is_empty() {
                s.root_ca = message.root_ca;
            }
            if !message.network_bootstrap_keys.is_empty() {
                s.network_keys = message.network_bootstrap_keys;
            }
        });
    }
}
