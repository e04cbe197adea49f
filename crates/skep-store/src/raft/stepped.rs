//! A member driven by hand, for simulations: the caller is clock, network and scheduler.

use std::sync::Arc;

use skep_objects::raftpb::{Message, MessageType};
use tokio::sync::oneshot;

use super::config::RaftConfig;
use super::membership::{Member, Membership};
use super::replica::{ConfError, OpenError, Replica, SnapshotJob, Wanted};
use super::status::RaftStatus;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::seal::Dek;
use crate::store::Store;

/// Where the answer to a change of the members comes.
pub type ConfAnswer = oneshot::Receiver<Result<(), ConfError>>;

/// One member without threads.
#[derive(Debug)]
pub struct SteppedMember {
    replica: Replica,
    store: Store,
    job: Option<SnapshotJob>,
}

impl SteppedMember {
    /// Opens what is on the disk, as [`RaftNode::start`](super::RaftNode::start) does.
    pub fn open(
        config: RaftConfig,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        salt: impl FnMut() -> [u8; 16] + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (replica, store) = Replica::open(config, disk, clock, Box::new(salt), Arc::new(|| ()))?;
        Ok(SteppedMember {
            replica,
            store,
            job: None,
        })
    }

    /// The store that it serves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A tick passes.
    pub fn tick(&mut self) {
        self.replica.tick();
    }

    /// A message arrives.
    pub fn step(&mut self, message: Message) {
        self.replica.step(message);
        self.replica.advance();
    }

    /// A message arrives, and waits with others to be worked off.
    pub fn take(&mut self, message: Message) {
        self.replica.step(message);
    }

    /// The first half of a step: messages that need not wait for the disk. False when there is
    /// nothing to do.
    pub fn prepare(&mut self) -> bool {
        self.replica.prepare()
    }

    /// The second half of a step: the disk, and what follows.
    pub fn carry_out(&mut self) {
        self.replica.carry_out();
    }

    /// After the last step.
    pub fn settle(&mut self) {
        self.replica.settle();
    }

    /// Tells the others what is committed, if they have not been told.
    pub fn tell_commit(&mut self) {
        self.replica.tell_commit();
    }

    /// Works off what the store's writers want.
    pub fn advance(&mut self) {
        self.replica.advance();
    }

    /// What it sends, snapshots with their data.
    pub fn take_messages(&mut self) -> Vec<Message> {
        let mut output = self.replica.take_output();
        if output.job.is_some() {
            self.job = output.job.take();
        }
        let reader = self.replica.snapshot_reader();
        let mut messages = std::mem::take(&mut output.messages);
        output.answer();
        messages.retain_mut(|message| {
            if message.r#type() != MessageType::Snap {
                return true;
            }
            let snapshot = message.snapshot.get_or_insert_default();
            let metadata = snapshot.metadata.clone().unwrap_or_default();
            let data = reader.read(metadata.index(), metadata.term());
            let read = data.is_ok();
            snapshot.data = data.ok();
            if !read {
                self.replica.report_snapshot(message.to(), false);
            }
            read
        });
        messages
    }

    /// Finishes the snapshot that is being made, if one is.
    pub fn finish_snapshot(&mut self) {
        if let Some(job) = self.job.take() {
            self.replica.snapshot_done(job.run());
        }
    }

    /// How sending a snapshot went.
    pub fn report_snapshot(&mut self, member: u64, sent: bool) {
        self.replica.report_snapshot(member, sent);
    }

    /// Others say that it was removed.
    pub fn report_removed(&mut self) {
        self.replica.report_removed();
    }

    /// Adds a member.
    pub fn add_member(&mut self, member: Member) -> ConfAnswer {
        self.change(Wanted::Add(member))
    }

    /// Gives a member another address.
    pub fn update_member(&mut self, member: Member) -> ConfAnswer {
        self.change(Wanted::Update(member))
    }

    /// Removes a member.
    pub fn remove_member(&mut self, raft_id: u64) -> ConfAnswer {
        self.change(Wanted::Remove(raft_id))
    }

    /// Hands leadership over.
    pub fn transfer(&mut self, to: Option<u64>) -> ConfAnswer {
        let (reply, answer) = oneshot::channel();
        self.replica.transfer(to, reply);
        answer
    }

    /// Seals with another key from now on.
    pub fn rotate_key(&mut self, key: Dek) -> oneshot::Receiver<()> {
        let (reply, answer) = oneshot::channel();
        self.replica.rotate_key(key, reply);
        answer
    }

    /// Where it stands.
    pub fn status(&self) -> RaftStatus {
        self.replica.status()
    }

    /// Who the members are.
    pub fn membership(&self) -> &Membership {
        self.replica.membership()
    }

    /// Index of the last applied entry.
    pub fn applied(&self) -> u64 {
        self.replica.applied()
    }

    /// Takes no more part.
    pub fn stop(&mut self) {
        self.replica.stop();
    }

    fn change(&mut self, what: Wanted) -> ConfAnswer {
        let (reply, answer) = oneshot::channel();
        self.replica.request_conf(what, reply);
        self.replica.advance();
        answer
    }
}
