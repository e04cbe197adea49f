//! A leader that finds its own removal in the log, which an earlier leader proposed. Of two members the
//! other one would wait for its vote for ever, were it to go before the other knows.
#![allow(clippy::unwrap_used)] // A failure is a panic here.

use std::sync::Arc;

use skep_objects::raftpb::{Message, MessageType};
use skep_store::ManualClock;
use skep_store::disk::SimDisk;
use skep_store::raft::{Health, Member, RaftConfig, Start, SteppedMember};
use skep_store::seal::{Dek, DekSet};

fn open(id: u64, disk: &SimDisk, start: Start) -> SteppedMember {
    let keys = DekSet::new(Dek::new([1; 32]));
    let config = RaftConfig::new(start, format!("n{id}"), format!("h{id}:1"), keys, id);
    let mut salt = u128::from(disk.syncs() + 1) << 64 | u128::from(id) << 32;
    let salts = move || {
        salt += 1;
        salt.to_le_bytes()
    };
    let clock = Arc::new(ManualClock::default());
    SteppedMember::open(config, Arc::new(disk.clone()), clock, salts).unwrap()
}

/// Delivers what the members say to each other until there is silence, but for what is lost.
fn talk(members: &mut [SteppedMember; 2], is_lost: impl Fn(&Message) -> bool) {
    loop {
        let mut messages = members[0].take_messages();
        messages.extend(members[1].take_messages());
        messages.retain(|message| !is_lost(message));
        if messages.is_empty() {
            return;
        }
        for message in messages {
            members[usize::from(message.to() == 2)].step(message);
        }
    }
}

fn lose_nothing(_: &Message) -> bool {
    false
}

/// Two members, of which the second has its own removal, proposed by the first, in its log, and the
/// first leads no more; and the index of that entry.
fn pair(disks: &[SimDisk; 2]) -> ([SteppedMember; 2], u64) {
    let first = open(1, &disks[0], Start::Bootstrap { raft_id: 1 });
    let join = Start::Join {
        raft_id: 2,
        members: Vec::new(),
    };
    let mut members = [first, open(2, &disks[1], join)];
    let joining = members[0].add_member(Member {
        raft_id: 2,
        node_id: "n2".into(),
        addr: "h2:1".into(),
    });
    for _ in 0..10 {
        members[0].tick();
        talk(&mut members, lose_nothing);
    }
    drop(joining);
    assert!(!members[0].membership().is_learner(2));
    // It reaches the second; that the second has it never reaches the first, which gives up.
    let entry = members[0].applied() + 1;
    let removal = members[0].remove_member(2);
    let is_answer = |message: &Message| message.from() == 2;
    talk(&mut members, is_answer);
    for _ in 0..40 {
        members[0].tick();
        talk(&mut members, |message| {
            is_answer(message) || message.r#type() != MessageType::Heartbeat
        });
    }
    assert!(!members[0].status().is_leading);
    drop(removal);
    (members, entry)
}

#[test]
fn a_leader_that_removes_itself_stays_until_the_other_knows() {
    let disks = [SimDisk::new(), SimDisk::new()];
    let (mut members, entry) = pair(&disks);
    // The second is elected, and commits; that it did is lost.
    let tells = |message: &Message| message.from() == 2 && message.commit() >= entry;
    for _ in 0..60 {
        members[1].tick();
        talk(&mut members, tells);
        if members[1].membership().is_removed(2) {
            break;
        }
    }
    assert!(members[1].membership().is_removed(2), "it applied it");
    for _ in 0..5 {
        members[1].tick();
        talk(&mut members, tells);
    }
    assert_eq!(members[1].status().health, Health::Running, "it stays");
    assert!(!members[1].status().is_leading, "and takes no writes");
    // Also after a crash: it leads, and commits it, once more.
    members[1] = open(2, &disks[1], Start::Bootstrap { raft_id: 9 });
    assert_eq!(members[1].status().health, Health::Running);

    for _ in 0..80 {
        members[0].tick();
        members[1].tick();
        talk(&mut members, lose_nothing);
        if members[0].membership().is_removed(2) {
            members[1].report_removed();
        }
    }
    assert_eq!(members[1].status().health, Health::Removed);
    assert!(members[0].status().is_leading, "alone, and able to write");
}
