//! A member on a thread of its own, and the handle to it.
//!
//! The thread is the only one that touches the log, so a sync may block it; whatever arrives
//! meanwhile is taken as one batch, and shares the next sync. Snapshots are made and read on
//! threads of their own. This file alone asks the clock and the random source.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::RngCore;
use skep_objects::raftpb::{Message, MessageType};
use tokio::sync::{oneshot, watch};

use super::config::{RaftConfig, SnapshotPolicy};
use super::membership::{Member, Membership};
use super::replica::{ConfError, OpenError, Replica, SnapshotDone, Wanted};
use super::status::{Health, RaftStatus};
use super::transport::Transport;
use crate::clock::Clock;
use crate::disk::{Disk, TimedDisk};
use crate::metrics::{self, RaftCounters, RaftMetrics};
use crate::seal::Dek;
use crate::store::Store;

/// Messages that may wait for the thread; more are dropped, and raft sends them again.
const MAX_WAITING_MESSAGES: usize = 4096;

/// How long the others may wait to be told of a commit, for the next entries to tell it.
const COMMIT_NOTICE: Duration = Duration::from_millis(10);
/// How long to wait for writers that were answered just now to come again, and share a sync.
const GATHER: Duration = Duration::from_micros(200);
/// When none came for so long, none is on its way.
const GATHER_STEP: Duration = Duration::from_micros(20);

/// A running member. Cloning gives another handle to it.
#[derive(Clone)]
pub struct RaftNode {
    shared: Arc<Shared>,
    status: watch::Receiver<RaftStatus>,
    membership: watch::Receiver<Membership>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    waiting_messages: Arc<AtomicUsize>,
    counters: Arc<RaftCounters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Command {
    Step(Box<Message>),
    Wake,
    Unreachable(u64),
    SnapshotSent { member: u64, sent: bool },
    ReportedRemoved,
    Conf(Wanted, oneshot::Sender<Result<(), ConfError>>),
    Transfer(Option<u64>, oneshot::Sender<Result<(), ConfError>>),
    SnapshotDone(Box<SnapshotDone>),
    RotateKey(Dek, oneshot::Sender<()>),
    SnapshotPolicy(SnapshotPolicy),
    Mixed(bool),
    Stop,
}

/// Why a member could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is on disk cannot be used, or written.
    #[error("open the raft log: {0}")]
    Open(#[from] OpenError),
    /// No thread could be made.
    #[error("start the raft thread: {0}")]
    Thread(std::io::Error),
}

impl RaftNode {
    /// Opens the log, restores the store from it, and starts the member. Blocks while it reads.
    ///
    /// The store takes writes whenever the member leads: see [`RaftStatus::is_leading`].
    pub fn start(
        config: RaftConfig,
        transport: Arc<dyn Transport>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Store, RaftNode), StartError> {
        let (commands, inbox) = mpsc::channel();
        let is_woken = Arc::new(AtomicBool::new(false));
        let wake = {
            let (commands, is_woken) = (commands.clone(), is_woken.clone());
            move || {
                if !is_woken.swap(true, Ordering::AcqRel) {
                    // The thread is gone when the member has been stopped; so are its writers.
                    let _ = commands.send(Command::Wake);
                }
            }
        };
        let tick = config.tick;
        let counters = Arc::new(RaftCounters::default());
        let disk = Arc::new(TimedDisk::new(disk, counters.clone()));
        let (mut replica, store) =
            Replica::open(config, disk, clock, Box::new(salt), Arc::new(wake))?;
        replica.counters = counters.clone();
        let (status_out, status) = watch::channel(replica.status());
        let (membership_out, membership) = watch::channel(replica.membership().clone());
        let waiting_messages = Arc::new(AtomicUsize::new(0));
        let worker = Worker {
            replica,
            transport,
            inbox,
            commands: commands.clone(),
            is_woken,
            waiting_messages: waiting_messages.clone(),
            status: status_out,
            membership: membership_out,
            helpers: Vec::new(),
            tick,
        };
        let thread = std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(move || worker.run())
            .map_err(StartError::Thread)?;
        let shared = Shared {
            commands,
            waiting_messages,
            counters,
            thread: Mutex::new(Some(thread)),
        };
        Ok((
            store,
            RaftNode {
                shared: Arc::new(shared),
                status,
                membership,
            },
        ))
    }

    /// Whether a directory holds the log of a member.
    pub fn exists(disk: &dyn Disk) -> std::io::Result<bool> {
        Ok(disk
            .list()?
            .iter()
            .any(|name| name.starts_with("log-") || name.starts_with("snapshot-")))
    }

    /// Takes a message from another member. Never blocks; drops it when too many wait.
    pub fn step(&self, message: Message) {
        let waiting = &self.shared.waiting_messages;
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING_MESSAGES {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.send(Command::Step(Box::new(message)));
    }

    /// A message to a member could not be sent.
    pub fn report_unreachable(&self, member: u64) {
        self.send(Command::Unreachable(member));
    }

    /// A snapshot was sent to a member, whole and taken, or not.
    pub fn report_snapshot(&self, member: u64, sent: bool) {
        self.send(Command::SnapshotSent { member, sent });
    }

    /// Another member says that this one was removed from the cluster.
    pub fn report_removed(&self) {
        self.send(Command::ReportedRemoved);
    }

    /// Where the member stands, and each change of that.
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.status.clone()
    }

    /// Whether it leads at this moment: [`RaftStatus::is_leading`], for those who ask often.
    pub fn is_leading(&self) -> bool {
        self.status.borrow().is_leading
    }

    /// Who the members are, and each change of that.
    pub fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.clone()
    }

    /// Adds a member to the quorum. Only the leader can.
    pub async fn add_member(&self, member: Member) -> Result<(), ConfError> {
        self.change(Wanted::Add(member)).await
    }

    /// Gives a member another address. Only the leader can.
    pub async fn update_member(&self, member: Member) -> Result<(), ConfError> {
        self.change(Wanted::Update(member)).await
    }

    /// Removes a member from the quorum, for good. Only the leader can; it hands leadership over
    /// first when it is itself to go.
    pub async fn remove_member(&self, raft_id: u64) -> Result<(), ConfError> {
        self.change(Wanted::Remove(raft_id)).await
    }

    /// Hands leadership to a member, or to the one whose log reaches furthest, and waits until it
    /// is gone from here.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<(), ConfError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Transfer(to, reply));
        answer.await.unwrap_or(Err(ConfError::Stopped))
    }

    /// Makes snapshots by another policy from now on.
    pub fn set_snapshot_policy(&self, policy: SnapshotPolicy) {
        self.send(Command::SnapshotPolicy(policy));
    }

    /// Goes over to the timing and manners of a quorum that dockerd managers share, or back.
    pub fn set_mixed(&self, is_mixed: bool) {
        self.send(Command::Mixed(is_mixed));
    }

    /// What it has counted, and where it stands.
    pub fn metrics(&self) -> RaftMetrics {
        let counters = &self.shared.counters;
        let (status, membership) = (self.status.borrow(), self.membership.borrow());
        let reachable = status.active.values().filter(|active| **active).count();
        RaftMetrics {
            proposals: metrics::read(&counters.proposals),
            leader_changes: metrics::read(&counters.leader_changes),
            sync_seconds: counters.sync.read(),
            snapshot_seconds: counters.snapshot.read(),
            snapshots_received: metrics::read(&counters.snapshots_received),
            messages_sent: metrics::read(&counters.sent),
            messages_received: metrics::read(&counters.received),
            term: metrics::read(&counters.term),
            commit_index: metrics::read(&counters.commit_index),
            applied_index: metrics::read(&counters.applied_index),
            last_index: metrics::read(&counters.last_index),
            members: membership.len() as u64,
            members_reachable: reachable as u64,
            learners: membership.learners().count() as u64,
            is_leader: status.is_leading,
        }
    }

    /// Seals the log and the snapshots with another key from now on. Done when nothing on disk is
    /// sealed with an older one; false when the member was stopped before.
    pub async fn rotate_key(&self, key: Dek) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Command::RotateKey(key, reply));
        answer.await.is_ok()
    }

    /// Stops the member and waits until its threads have ended.
    pub async fn stop(&self) {
        self.send(Command::Stop);
        let thread = self
            .shared
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic on the thread was reported when it happened.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn change(&self, what: Wanted) -> Result<(), ConfError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Conf(what, reply));
        answer.await.unwrap_or(Err(ConfError::Stopped))
    }

    fn send(&self, command: Command) {
        // Fails when the member has ended; answers then come from the dropped reply.
        let _ = self.shared.commands.send(command);
    }
}

impl fmt::Debug for RaftNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftNode")
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

/// The thread's own.
struct Worker {
    replica: Replica,
    transport: Arc<dyn Transport>,
    inbox: mpsc::Receiver<Command>,
    commands: mpsc::Sender<Command>,
    is_woken: Arc<AtomicBool>,
    waiting_messages: Arc<AtomicUsize>,
    status: watch::Sender<RaftStatus>,
    membership: watch::Sender<Membership>,
    helpers: Vec<JoinHandle<()>>,
    tick: Duration,
}

impl Worker {
    fn run(mut self) {
        let mut next_tick = now() + self.tick;
        let mut notice_at = None;
        self.deliver();
        loop {
            let wake_at = notice_at.map_or(next_tick, |at: Instant| at.min(next_tick));
            let wait = wake_at.saturating_duration_since(now());
            match self.inbox.recv_timeout(wait) {
                Ok(command) => self.take(command),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => self.replica.stop(),
            }
            while let Ok(command) = self.inbox.try_recv() {
                self.take(command);
            }
            self.gather();
            self.is_woken.store(false, Ordering::Release);
            self.advance();
            if notice_at.is_some_and(|at| now() >= at) {
                self.replica.tell_commit();
            }
            // Time spent waiting for the disk does not count: what came meanwhile was taken first,
            // and one tick stands for all that were missed.
            if now() >= next_tick {
                self.replica.tick();
                next_tick = now() + self.tick;
            }
            self.deliver();
            notice_at = match self.replica.owes_commit() {
                true => notice_at.or_else(|| Some(now() + COMMIT_NOTICE)),
                false => None,
            };
            if self.has_ended() {
                break;
            }
        }
        self.replica.stop();
        self.deliver();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }

    /// Works off what is there; messages go out before the disk is waited for.
    fn advance(&mut self) {
        while self.replica.prepare() {
            if self.replica.has_messages() {
                self.deliver();
            }
            self.replica.carry_out();
        }
        self.replica.settle();
    }

    /// Gives writers whose last write was just committed the time to come with the next one: their
    /// number is known, and together they share one sync and one message.
    fn gather(&mut self) {
        if self.replica.waiting() == 0 || !self.replica.expects_more() {
            return;
        }
        let until = now() + GATHER;
        while self.replica.expects_more() && now() < until {
            let waiting = self.replica.waiting();
            self.is_woken.store(false, Ordering::Release);
            match self.inbox.recv_timeout(GATHER_STEP) {
                Ok(command) => self.take(command),
                Err(_) if self.replica.waiting() == waiting => return,
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Step(message) => {
                self.waiting_messages.fetch_sub(1, Ordering::Relaxed);
                metrics::count(&self.replica.counters.received);
                self.replica.step(*message);
            }
            Command::Wake => {}
            Command::Unreachable(member) => self.replica.report_unreachable(member),
            Command::SnapshotSent { member, sent } => self.replica.report_snapshot(member, sent),
            Command::ReportedRemoved => self.replica.report_removed(),
            Command::Conf(what, reply) => self.replica.request_conf(what, reply),
            Command::Transfer(to, reply) => self.replica.transfer(to, reply),
            Command::SnapshotDone(done) => self.replica.snapshot_done(*done),
            Command::SnapshotPolicy(policy) => self.replica.set_snapshot_policy(policy),
            Command::Mixed(is_mixed) => self.tick = self.replica.set_mixed(is_mixed),
            Command::RotateKey(key, reply) => self.replica.rotate_key(key, reply),
            Command::Stop => self.replica.stop(),
        }
    }

    /// Carries out what the replica wants done outside.
    fn deliver(&mut self) {
        let mut output = self.replica.take_output();
        if output.members_changed {
            let membership = self.replica.membership().clone();
            self.transport.members_changed(&membership);
            self.membership.send_replace(membership);
        }
        let messages = std::mem::take(&mut output.messages);
        self.send(messages);
        if let Some(job) = output.job.take() {
            let (commands, counters) = (self.commands.clone(), self.replica.counters.clone());
            self.spawn("raft-snapshot", move || {
                let begun = metrics::now();
                let done = job.run();
                counters.snapshot.note(begun.elapsed());
                let _ = commands.send(Command::SnapshotDone(Box::new(done)));
            });
        }
        self.replica.note_indices();
        let status = self.replica.status();
        self.status.send_if_modified(|known| {
            let changed = *known != status;
            if status.leader.is_some() && known.leader != status.leader {
                metrics::count(&self.replica.counters.leader_changes);
            }
            *known = status;
            changed
        });
        output.answer();
    }

    fn send(&mut self, messages: Vec<Message>) {
        let count = messages.len() as u64;
        self.replica
            .counters
            .sent
            .fetch_add(count, Ordering::Relaxed);
        for message in messages {
            if message.r#type() == MessageType::Snap {
                self.send_snapshot(message);
            } else {
                self.transport.send(message);
            }
        }
    }

    /// Reads the snapshot's data beside the work, and sends it.
    fn send_snapshot(&mut self, mut message: Message) {
        let reader = self.replica.snapshot_reader();
        let (transport, commands) = (self.transport.clone(), self.commands.clone());
        self.spawn("raft-send-snapshot", move || {
            let member = message.to();
            let snapshot = message.snapshot.get_or_insert_default();
            let metadata = snapshot.metadata.clone().unwrap_or_default();
            match reader.read(metadata.index(), metadata.term()) {
                Ok(data) => {
                    snapshot.data = Some(data);
                    transport.send(message);
                }
                Err(error) => {
                    tracing::warn!(%error, "snapshot not sent");
                    let _ = commands.send(Command::SnapshotSent {
                        member,
                        sent: false,
                    });
                }
            }
        });
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) {
        self.helpers.retain(|helper| !helper.is_finished());
        match std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
        {
            Ok(helper) => self.helpers.push(helper),
            Err(error) => tracing::error!(%error, "no thread for raft's {name}"),
        }
    }

    fn has_ended(&self) -> bool {
        match self.replica.status().health {
            Health::Running | Health::ReadOnly(_) => false,
            Health::Removed | Health::Failed(_) | Health::Stopped => true,
        }
    }
}

#[allow(clippy::disallowed_methods)] // Ticks are real time here; the replica only counts them.
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)] // Nonces must differ between members and restarts.
fn salt() -> [u8; 16] {
    let mut salt = [0; 16];
    rand::rng().fill_bytes(&mut salt);
    salt
}
