//! Members on real threads and a real disk, with a network of queues between them.
#![allow(clippy::unwrap_used)] // A failure is a panic here.

mod network;
mod slow_disk;

use std::sync::Arc;

use network::{Network, config, create, dirs, has, key, leads, member, three, until, votes};
use skep_objects::swarmkit::Task;
use skep_store::disk::DirDisk;
use skep_store::raft::{ConfError, Health, Member, RaftConfig, RaftNode, Start};
use skep_store::seal::Dek;
use skep_store::{CommitError, SystemClock, UpdateError};

#[tokio::test]
async fn a_first_member_leads_at_once_and_finds_its_data_again() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::default();
    let (store, node) = network.start(1, dir.path(), Start::Bootstrap { raft_id: 1 });
    leads(&node).await;
    for n in 0..20 {
        create(&store, &format!("t{n}")).await.unwrap();
    }
    let version = store.view().version();
    network.stop(&node).await;
    assert_eq!(node.status().borrow().health, Health::Stopped);
    assert!(matches!(
        create(&store, "late").await,
        Err(UpdateError::Commit(CommitError::Stopped))
    ));

    let (store, node) = network.start(1, dir.path(), Start::Bootstrap { raft_id: 9 });
    assert_eq!(
        node.status().borrow().raft_id,
        1,
        "the log says who the member is"
    );
    leads(&node).await;
    assert_eq!(store.view().tasks().count(), 20);
    assert!(store.view().version() > version);
    create(&store, "more").await.unwrap();
    network.stop(&node).await;
}

#[tokio::test]
async fn writes_reach_every_member_and_outlive_the_leader() {
    let (network, dirs) = (Network::default(), dirs());
    let nodes = three(&network, &dirs).await;
    create(&nodes[0].0, "a").await.unwrap();
    for (store, _) in &nodes {
        has(store, "a").await;
    }
    assert_eq!(
        create(&nodes[1].0, "b").await,
        Err(UpdateError::Commit(CommitError::NotLeader))
    );
    network.stop(&nodes[0].1).await;
    let new = tokio::select! {
        () = leads(&nodes[1].1) => &nodes[1],
        () = leads(&nodes[2].1) => &nodes[2],
    };
    assert!(new.0.view().task("a").is_some());
    create(&new.0, "c").await.unwrap();
    // The old leader comes back, follows, and has it all.
    let (store, node) = network.start(1, dirs[0].path(), Start::Bootstrap { raft_id: 1 });
    has(&store, "c").await;
    for node in [&node, &nodes[1].1, &nodes[2].1] {
        network.stop(node).await;
    }
}

#[tokio::test]
async fn leadership_is_handed_over_and_a_member_removed_for_good() {
    let (network, dirs) = (Network::default(), dirs());
    let nodes = three(&network, &dirs).await;
    create(&nodes[0].0, "a").await.unwrap();
    nodes[0].1.transfer_leadership(Some(3)).await.unwrap();
    leads(&nodes[2].1).await;
    assert_eq!(
        nodes[0].1.transfer_leadership(None).await,
        Err(ConfError::NotLeader)
    );
    nodes[2].1.remove_member(1).await.unwrap();
    nodes[0].1.report_removed();
    until(&nodes[0].1, |status| status.health == Health::Removed).await;
    assert!(
        nodes[2].1.add_member(member(1)).await.is_err(),
        "an id never comes back"
    );
    assert_eq!(nodes[2].1.membership().borrow().len(), 2);
    create(&nodes[2].0, "b").await.unwrap();
    let moved = Member {
        addr: "10.9.9.9:1".into(),
        ..member(2)
    };
    nodes[2].1.update_member(moved.clone()).await.unwrap();
    assert_eq!(nodes[2].1.membership().borrow().get(2), Some(&moved));
    for (_, node) in &nodes {
        network.stop(node).await;
    }
}

#[tokio::test]
async fn a_leader_that_is_to_go_hands_over_and_the_next_one_removes_it() {
    let (network, dirs) = (Network::default(), dirs());
    let (_, node) = network.start(1, dirs[0].path(), Start::Bootstrap { raft_id: 1 });
    leads(&node).await;
    let start = Start::Join {
        raft_id: 2,
        members: vec![],
    };
    let (second, other) = network.start(2, dirs[1].path(), start);
    node.add_member(member(2)).await.unwrap();
    votes(&node, 2).await;
    // Of two, the one that stays could never learn that it is alone from one that is gone.
    assert_eq!(node.remove_member(1).await, Err(ConfError::NotLeader));
    leads(&other).await;
    create(&second, "a").await.unwrap();
    other.remove_member(1).await.unwrap();
    network.stop(&node).await;
    network.stop(&other).await;
    // It knows so after a crash too: nobody else can tell it any more.
    let (second, other) = network.start(2, dirs[1].path(), Start::Bootstrap { raft_id: 2 });
    leads(&other).await;
    assert!(second.view().task("a").is_some());
    create(&second, "b").await.unwrap();
    network.stop(&other).await;
}

#[tokio::test]
async fn a_newcomer_that_does_not_come_holds_up_nobody() {
    let (network, dirs) = (Network::default(), dirs());
    let (store, node) = network.start(1, dirs[0].path(), Start::Bootstrap { raft_id: 1 });
    leads(&node).await;
    node.add_member(member(2)).await.unwrap();
    // Were its vote counted, two would have to agree on this.
    let write = tokio::time::timeout(std::time::Duration::from_secs(20), create(&store, "a"));
    write.await.unwrap().unwrap();
    assert!(node.membership().borrow().is_learner(2));
    let start = Start::Join {
        raft_id: 2,
        members: vec![],
    };
    let (second, other) = network.start(2, dirs[1].path(), start);
    votes(&node, 2).await;
    has(&second, "a").await;
    let metrics = node.metrics();
    assert_eq!(
        (metrics.members, metrics.members_reachable, metrics.learners),
        (2, 2, 0)
    );
    assert!(metrics.is_leader && metrics.proposals > 0 && metrics.sync_seconds.count > 0);
    assert_eq!(store.metrics().commit_seconds.count, 1);
    for node in [&node, &other] {
        network.stop(node).await;
    }
}

#[tokio::test]
async fn a_newcomer_gets_a_snapshot_when_the_log_is_gone() {
    let (network, dirs) = (Network::default(), dirs());
    let small = |id, start| RaftConfig {
        snapshot_interval: 50,
        keep_entries: 5,
        ..config(id, start)
    };
    let (store, node) =
        network.start_with(small(1, Start::Bootstrap { raft_id: 1 }), dirs[0].path());
    leads(&node).await;
    for n in 0..300 {
        create(&store, &format!("t{n}")).await.unwrap();
    }
    let (second, second_node) = network.start_with(
        small(
            2,
            Start::Join {
                raft_id: 2,
                members: vec![],
            },
        ),
        dirs[1].path(),
    );
    node.add_member(member(2)).await.unwrap();
    create(&store, "last").await.unwrap();
    has(&second, "last").await;
    assert_eq!(second.view().tasks().count(), 301);
    let names: Vec<_> = std::fs::read_dir(dirs[0].path()).unwrap().collect();
    assert!(names.len() < 8, "old files go: {names:?}");
    for node in [&node, &second_node] {
        network.stop(node).await;
    }
    // Both read their snapshots and logs again.
    let (store, node) =
        network.start_with(small(1, Start::Bootstrap { raft_id: 1 }), dirs[0].path());
    assert!(
        store.view().tasks().count() >= 250,
        "restored before anybody leads"
    );
    network.stop(&node).await;
}

#[tokio::test]
async fn a_cluster_without_quorum_is_forced_to_one_member() {
    let (network, dirs) = (Network::default(), dirs());
    let nodes = three(&network, &dirs).await;
    create(&nodes[0].0, "a").await.unwrap();
    has(&nodes[2].0, "a").await;
    for (_, node) in &nodes {
        network.stop(node).await;
    }
    let forced = RaftConfig {
        force_new_cluster: true,
        ..config(3, Start::Bootstrap { raft_id: 7 })
    };
    let (store, node) = network.start_with(forced, dirs[2].path());
    leads(&node).await;
    assert!(store.view().task("a").is_some());
    create(&store, "b").await.unwrap();
    assert_eq!(
        node.membership().borrow().members().collect::<Vec<_>>(),
        [&member(3)]
    );
    network.stop(&node).await;
    // It stays so without being forced again.
    let (store, node) = network.start(3, dirs[2].path(), Start::Bootstrap { raft_id: 7 });
    leads(&node).await;
    assert!(store.view().task("b").is_some());
    network.stop(&node).await;
}

#[tokio::test]
async fn the_key_is_rotated_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::default();
    let (store, node) = network.start(1, dir.path(), Start::Bootstrap { raft_id: 1 });
    leads(&node).await;
    create(&store, "a").await.unwrap();
    assert!(node.rotate_key(Dek::new([2; 32])).await);
    create(&store, "b").await.unwrap();
    network.stop(&node).await;
    let old = RaftNode::start(
        config(1, Start::Bootstrap { raft_id: 1 }),
        Arc::new(network.clone()),
        Arc::new(DirDisk::open(dir.path()).unwrap()),
        Arc::new(SystemClock),
    );
    assert!(
        old.unwrap_err()
            .to_string()
            .contains("sealed with another key")
    );
    let new = RaftConfig {
        keys: key(2),
        ..config(1, Start::Bootstrap { raft_id: 1 })
    };
    let (store, node) = network.start_with(new, dir.path());
    assert_eq!(
        store.view().tasks().count() + store.view().nodes().count(),
        2
    );
    network.stop(&node).await;
}

#[tokio::test]
async fn many_writers_share_syncs_and_commit_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::default();
    let (store, node) = network.start(1, dir.path(), Start::Bootstrap { raft_id: 1 });
    leads(&node).await;
    create(&store, "counter").await.unwrap();
    let writers = (0..64).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                store
                    .update(|tx| tx.edit_task("counter", |task| task.slot += 1))
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(store.view().task("counter").unwrap().slot, 640);
    network.stop(&node).await;
}

#[tokio::test]
async fn a_change_too_large_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::default();
    let (store, node) = network.start(1, dir.path(), Start::Bootstrap { raft_id: 1 });
    leads(&node).await;
    let large = Task {
        id: "x".into(),
        service_id: "y".repeat(2_000_000).into(),
        ..Task::default()
    };
    let refused = store.update(|tx| tx.create_task(large)).await;
    assert!(matches!(
        refused,
        Err(UpdateError::Commit(CommitError::TooLarge { .. }))
    ));
    create(&store, "a").await.unwrap();
    network.stop(&node).await;
}
