//! Disks that take their time.
#![allow(clippy::disallowed_methods)] // Slowness is measured by the clock.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use skep_store::disk::{DirDisk, Disk, DiskFile};
use skep_store::raft::Start;
use skep_store::{CommitError, UpdateError};

use super::network::{Network, config, create, dirs, has, leads, member, until, votes};

/// How long each sync takes; none for ever.
#[derive(Debug, Default)]
struct Brake {
    delay: Mutex<Option<Duration>>,
    released: Condvar,
}

impl Brake {
    fn set(&self, delay: Option<Duration>) {
        *self.delay.lock().unwrap() = delay;
        self.released.notify_all();
    }

    fn wait(&self) {
        let begun = Instant::now();
        let mut delay = self.delay.lock().unwrap();
        loop {
            let left = delay.map(|delay| delay.saturating_sub(begun.elapsed()));
            delay = match left {
                Some(Duration::ZERO) => return,
                Some(left) => self.released.wait_timeout(delay, left).unwrap().0,
                None => self.released.wait(delay).unwrap(),
            };
        }
    }
}

#[derive(Debug)]
struct SlowDisk(DirDisk, Arc<Brake>);

#[derive(Debug)]
struct SlowFile(Box<dyn DiskFile>, Arc<Brake>);

impl Disk for SlowDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.create(name)?;
        Ok(Box::new(SlowFile(file, self.1.clone())))
    }
    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.0.truncate(name, len)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.0.sync_names()
    }
    fn describe(&self, name: &str) -> String {
        self.0.describe(name)
    }
}

impl DiskFile for SlowFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.wait();
        self.0.sync()
    }
}

/// Three members, the first of which leads, whose disks can be slowed down.
async fn braked(
    network: &Network,
    dirs: &[tempfile::TempDir; 3],
) -> Vec<(skep_store::Store, skep_store::raft::RaftNode, Arc<Brake>)> {
    let mut members = Vec::new();
    for (id, dir) in (1..).zip(dirs) {
        let brake = Arc::new(Brake::default());
        brake.set(Some(Duration::ZERO));
        let disk = SlowDisk(DirDisk::open(dir.path()).unwrap(), brake.clone());
        let start = match id {
            1 => Start::Bootstrap { raft_id: 1 },
            raft_id => Start::Join {
                raft_id,
                members: Vec::new(),
            },
        };
        let (store, node) = network.start_on(config(id, start), Arc::new(disk));
        members.push((store, node, brake));
        let first = &members[0].1;
        leads(first).await;
        if id > 1 {
            first.add_member(member(id)).await.unwrap();
            votes(first, id).await;
        }
    }
    members
}

#[tokio::test]
async fn a_slow_disk_on_a_follower_does_not_slow_the_leader() {
    let (network, dirs) = (Network::default(), dirs());
    let members = braked(&network, &dirs).await;
    members[2].2.set(Some(Duration::from_secs(1)));
    let begun = Instant::now();
    for n in 0..40 {
        create(&members[0].0, &format!("t{n}")).await.unwrap();
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "40 writes took {took:?}");
    assert!(members[0].1.status().borrow().is_leading);
    // What came while it waited is one sync for it: it is there soon after.
    members[2].2.set(Some(Duration::ZERO));
    has(&members[2].0, "t39").await;
    for (_, node, _) in &members {
        network.stop(node).await;
    }
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_is_replaced_and_comes_back() {
    let (network, dirs) = (Network::default(), dirs());
    let members = braked(&network, &dirs).await;
    let (store, node, brake) = &members[0];
    create(store, "before").await.unwrap();
    brake.set(None);
    let hanging = tokio::spawn({
        let store = store.clone();
        async move { create(&store, "hanging").await }
    });
    let new = tokio::select! {
        () = leads(&members[1].1) => &members[1],
        () = leads(&members[2].1) => &members[2],
    };
    create(&new.0, "meanwhile").await.unwrap();
    brake.set(Some(Duration::ZERO));
    // Its followers had it before its own disk did, so it may have come about; it cannot tell.
    let answer = hanging.await.unwrap();
    let lost = Err(UpdateError::Commit(CommitError::LeadershipLost));
    assert!(answer.is_ok() || answer == lost, "{answer:?}");
    until(node, |status| !status.is_leading).await;
    has(store, "meanwhile").await;
    for (_, node, _) in &members {
        network.stop(node).await;
    }
}
