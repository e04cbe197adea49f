//! One simulated machine: a disk, a clock, and the member on it while it is up.

use std::sync::Arc;

use skep_objects::raftpb::Message;
use skep_store::disk::{Disk as _, SimDisk};
use skep_store::raft::{Health, Member, RaftConfig, Start, SteppedMember};
use skep_store::seal::{Dek, DekSet};
use skep_store::{ManualClock, View};

use super::plan::Plan;
use super::random::Random;

/// Steps between ticks of a member whose clock is right.
pub const STEPS_PER_TICK: u64 = 4;

pub struct Host {
    pub id: u64,
    pub disk: SimDisk,
    pub clock: Arc<ManualClock>,
    pub member: Option<SteppedMember>,
    /// When it comes back, if it is down.
    pub back_at: u64,
    /// Until when its disk is full, and it stands still.
    pub full_until: u64,
    pub paused_until: u64,
    /// Messages that came while it stood still.
    pub waiting: Vec<Message>,
    /// It is to lose power when its messages are out and its disk has not been written.
    pub dies_before_sync: bool,
    /// How much of the list it showed since it started, and the store's version then.
    pub shown: usize,
    pub version: u64,
    start: Start,
    /// Keys that its files may be sealed with; the last one is the newest.
    pub keys: Vec<Dek>,
    steps_per_tick: u64,
    next_tick: u64,
}

impl Host {
    pub fn new(id: u64, start: Start, now: u64, plan: &Plan, random: &mut Random) -> Self {
        let skew = if plan.is_skewed { random.below(3) } else { 1 };
        Host {
            id,
            disk: SimDisk::new(),
            clock: Arc::default(),
            member: None,
            back_at: now,
            full_until: 0,
            paused_until: 0,
            waiting: Vec::new(),
            dies_before_sync: false,
            shown: 0,
            version: 0,
            start,
            keys: vec![Dek::new([1; 32])],
            steps_per_tick: STEPS_PER_TICK - 1 + skew,
            next_tick: now + 1 + random.below(STEPS_PER_TICK),
        }
    }

    /// Whether its clock ticks now.
    pub fn ticks(&mut self, now: u64) -> bool {
        let due = now >= self.next_tick;
        if due {
            self.next_tick = now + self.steps_per_tick;
        }
        due
    }

    /// Starts the member from what is on the disk. False when the disk does not let it.
    pub fn start(&mut self, plan: &Plan, salts: u64) -> bool {
        let mut salt = u128::from(plan.seed) << 64 | u128::from(salts) << 32;
        let salts = move || {
            salt += 1;
            salt.to_le_bytes()
        };
        let config = self.config(plan);
        let disk = Arc::new(self.disk.clone());
        match SteppedMember::open(config, disk, self.clock.clone(), salts) {
            Ok(member) => {
                self.member = Some(member);
                (self.shown, self.version) = (0, 0);
                true
            }
            // A full disk has no room for a start, and a broken one starts nothing.
            Err(error) if is_disk_fault(&error.to_string()) => {
                self.disk.set_broken(false);
                false
            }
            Err(error) => panic!(
                "member {} does not start again: {error}; {:?}",
                self.id,
                self.disk.list()
            ),
        }
    }

    /// Loses power: what was not synced may be there, in part, or not.
    pub fn lose_power(&mut self, random: &mut Random, back_at: u64) {
        self.member = None;
        self.waiting.clear();
        self.dies_before_sync = false;
        self.disk
            .crash(&mut |choices| usize::try_from(random.below(choices as u64)).unwrap());
        self.disk.set_broken(false);
        self.back_at = back_at;
        self.paused_until = 0;
    }

    /// Whether the member ended by a fault of its disk. Any other end is a mistake.
    pub fn has_failed(&self) -> bool {
        let Some(member) = &self.member else {
            return false;
        };
        match member.status().health {
            Health::Failed(why) => {
                assert!(why.contains("simulated disk error"), "{why}");
                true
            }
            Health::Running | Health::ReadOnly(_) | Health::Removed | Health::Stopped => false,
        }
    }

    pub fn view(&self) -> Option<View> {
        Some(self.member.as_ref()?.store().view())
    }

    pub fn applied(&self) -> u64 {
        self.member.as_ref().map_or(0, SteppedMember::applied)
    }

    fn config(&self, plan: &Plan) -> RaftConfig {
        let (newest, older) = self.keys.split_last().unwrap();
        let mut keys = DekSet::new(newest.clone());
        for key in older {
            keys = keys.with_older(key.clone());
        }
        let Member { node_id, addr, .. } = member(self.id);
        let mut config = RaftConfig::new(self.start.clone(), node_id, addr, keys, plan.seed);
        config.pre_vote = plan.pre_vote;
        config.learners = plan.learners;
        config.snapshot_interval = plan.snapshot_interval;
        config.keep_entries = plan.keep_entries;
        config.write_ahead_bytes = 2048;
        config
    }
}

fn is_disk_fault(text: &str) -> bool {
    text.contains("no storage space") || text.contains("simulated disk error")
}

/// The member of an id, as it introduces itself.
pub fn member(id: u64) -> Member {
    Member {
        raft_id: id,
        node_id: format!("node{id}"),
        addr: format!("host{id}:2377"),
    }
}
