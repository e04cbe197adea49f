//! What a member does when its disk is full, or broken.
#![allow(clippy::unwrap_used)] // A failure is a panic here.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use skep_objects::swarmkit::Task;
use skep_store::disk::SimDisk;
use skep_store::raft::{Health, RaftConfig, Start, SteppedMember};
use skep_store::seal::{Dek, DekSet};
use skep_store::{CommitError, ManualClock, Store, TxError, UpdateError};

fn open(disk: &SimDisk) -> SteppedMember {
    let keys = DekSet::new(Dek::new([1; 32]));
    let config = RaftConfig::new(
        Start::Bootstrap { raft_id: 1 },
        "n".into(),
        "h:1".into(),
        keys,
        1,
    );
    let mut salt = u128::from(disk.syncs()) << 64;
    let salts = move || {
        salt += 1;
        salt.to_le_bytes()
    };
    SteppedMember::open(
        config,
        Arc::new(disk.clone()),
        Arc::new(ManualClock::default()),
        salts,
    )
    .unwrap()
}

type Answer = Result<(), UpdateError<TxError>>;

fn create(store: &Store, id: &str, bytes: usize) -> impl Future<Output = Answer> + use<> {
    let task = Task {
        id: id.into(),
        node_id: "n".repeat(bytes).into(),
        ..Task::default()
    };
    let store = store.clone();
    async move { store.update(|tx| tx.create_task(task)).await.map(|_| ()) }
}

/// Polls a write, lets the member work, and polls again.
fn write(member: &mut SteppedMember, id: &str, bytes: usize) -> Poll<Answer> {
    let mut writing = Box::pin(create(member.store(), id, bytes));
    let mut context = Context::from_waker(Waker::noop());
    let first = writing.as_mut().poll(&mut context);
    if first.is_ready() {
        return first;
    }
    member.advance();
    writing.as_mut().poll(&mut context)
}

#[test]
fn a_full_disk_makes_a_manager_read_only_until_there_is_room() {
    let disk = SimDisk::new();
    let mut member = open(&disk);
    assert_eq!(write(&mut member, "a", 1), Poll::Ready(Ok(())));
    disk.set_room(Some(0));
    // Beyond the zeros that were written ahead.
    let refused = write(&mut member, "b", 1_200_000);
    assert!(matches!(
        refused,
        Poll::Ready(Err(UpdateError::Commit(CommitError::ReadOnly(_))))
    ));
    assert!(matches!(member.status().health, Health::ReadOnly(_)));
    assert!(!member.status().is_leading);
    assert!(
        member.store().view().task("a").is_some(),
        "it still answers reads"
    );
    let refused = write(&mut member, "c", 1);
    assert!(matches!(
        refused,
        Poll::Ready(Err(UpdateError::Commit(CommitError::ReadOnly(_))))
    ));

    disk.set_room(None);
    member.tick();
    assert_eq!(member.status().health, Health::Running);
    assert!(member.status().is_leading);
    assert!(
        member.store().view().task("b").is_some(),
        "what was tried again came about"
    );
    assert_eq!(write(&mut member, "c", 1), Poll::Ready(Ok(())));
    drop(member);
    let member = open(&disk);
    assert_eq!(member.store().view().tasks().count(), 3);
}

#[test]
fn a_manager_started_on_a_full_disk_reads_and_writes_when_there_is_room() {
    let disk = SimDisk::new();
    let mut member = open(&disk);
    for id in ["a", "b"] {
        assert_eq!(write(&mut member, id, 1), Poll::Ready(Ok(())));
    }
    drop(member);
    disk.set_room(Some(0));
    let mut member = open(&disk);
    assert!(matches!(member.status().health, Health::ReadOnly(_)));
    assert_eq!(member.store().view().tasks().count(), 2);
    member.tick();
    let refused = write(&mut member, "c", 1);
    assert!(matches!(
        refused,
        Poll::Ready(Err(UpdateError::Commit(CommitError::ReadOnly(_))))
    ));
    disk.set_room(None);
    member.tick();
    assert!(member.status().is_leading);
    assert_eq!(write(&mut member, "c", 1), Poll::Ready(Ok(())));
    drop(member);
    assert_eq!(open(&disk).store().view().tasks().count(), 3);
}

#[test]
fn a_broken_disk_stops_a_manager_and_says_so() {
    let disk = SimDisk::new();
    let mut member = open(&disk);
    disk.set_broken(true);
    let refused = write(&mut member, "a", 1);
    assert!(matches!(
        refused,
        Poll::Ready(Err(UpdateError::Commit(CommitError::Stopped)))
    ));
    let Health::Failed(why) = member.status().health else {
        panic!("not failed")
    };
    assert!(
        why.contains("simulated disk error") && why.contains("sim:log-"),
        "{why}"
    );
}

#[test]
fn damage_to_what_was_acknowledged_is_refused_at_the_start() {
    let disk = SimDisk::new();
    let mut member = open(&disk);
    for id in ["a", "b", "c"] {
        assert_eq!(write(&mut member, id, 1), Poll::Ready(Ok(())));
    }
    drop(member);
    disk.flip("log-0000000000000001", 200);
    let keys = DekSet::new(Dek::new([1; 32]));
    let config = RaftConfig::new(
        Start::Bootstrap { raft_id: 1 },
        "n".into(),
        "h:1".into(),
        keys,
        1,
    );
    let clock = Arc::new(ManualClock::default());
    let error = SteppedMember::open(config, Arc::new(disk), clock, || [9; 16]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("sim:log-0000000000000001 is damaged at byte"),
        "{text}"
    );
    assert!(text.contains("join again"), "{text}");
}
