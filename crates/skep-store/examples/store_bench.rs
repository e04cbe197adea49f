//! Measures the store on this machine's disk: writes a second with one and with sixteen writers, on
//! one and on three members in this process, what a snapshot of many tasks does to writes, and how
//! long a member takes to join. Beside the rate it counts syncs, messages and CPU time for each write,
//! which do not depend on what else the machine does; the floor is the bare write and sync of so many
//! bytes, by as many at a time as there are members. `SKEP_BENCH_QUICK=1` only shows that it runs.
//!
//! `cargo run --profile lab -p skep-store --example store_bench [-- DIR [TASKS]]`; DIR should lie on the disk that is meant.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // It measures time, and stops when something fails.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use skep_objects::raftpb::{Message, MessageType};
use skep_objects::swarmkit::{
    Annotations, ContainerSpec, Service, ServiceSpec, Task, TaskSpec, TaskStatus, task_spec,
};
use skep_store::disk::{DirDisk, Disk, DiskFile};
use skep_store::raft::{Member, Membership, RaftConfig, RaftNode, Start, Transport};
use skep_store::seal::{Dek, DekSet};
use skep_store::{Store, SystemClock, Tx, TxError};

/// How long each rate is measured.
fn span() -> Duration {
    match is_quick() {
        true => Duration::from_millis(300),
        false => Duration::from_secs(3),
    }
}

fn is_quick() -> bool {
    std::env::var_os("SKEP_BENCH_QUICK").is_some()
}

/// What all members did.
static SYNCS: AtomicU64 = AtomicU64::new(0);
static MESSAGES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<u64, RaftNode>>>);

/// A disk that counts its syncs.
#[derive(Debug)]
struct Counting(DirDisk);

#[derive(Debug)]
struct CountingFile(Box<dyn DiskFile>);

impl Disk for Counting {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CountingFile(self.0.create(name)?)))
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

impl DiskFile for CountingFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        SYNCS.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }
}

impl Transport for Network {
    fn send(&self, message: Message) {
        let nodes = self.0.lock().unwrap().clone();
        let (from, to) = (message.from(), message.to());
        let is_snapshot = message.r#type() == MessageType::Snap;
        MESSAGES.fetch_add(1, Ordering::Relaxed);
        if let Some(node) = nodes.get(&to) {
            node.step(message);
            if let Some(sender) = nodes.get(&from).filter(|_| is_snapshot) {
                sender.report_snapshot(to, true);
            }
        }
    }

    fn members_changed(&self, _: &Membership) {}
}

fn start(network: &Network, id: u64, dir: &Path, interval: u64) -> (Store, RaftNode) {
    let start = match id {
        1 => Start::Bootstrap { raft_id: 1 },
        _ => Start::Join {
            raft_id: id,
            members: Vec::new(),
        },
    };
    let keys = DekSet::new(Dek::new([1; 32]));
    let mut config = RaftConfig::new(start, format!("n{id}"), format!("h{id}:1"), keys, id);
    config.snapshot_interval = interval;
    config.snapshot_bytes = u64::MAX;
    let disk = Counting(DirDisk::open(dir.join(format!("m{id}"))).unwrap());
    let started = RaftNode::start(
        config,
        Arc::new(network.clone()),
        Arc::new(disk),
        Arc::new(SystemClock),
    );
    let (store, node) = started.unwrap();
    network.0.lock().unwrap().insert(id, node.clone());
    (store, node)
}

async fn cluster(network: &Network, dir: &Path, members: u64, interval: u64) -> Store {
    let (store, node) = start(network, 1, dir, interval);
    node.status()
        .wait_for(|status| status.is_leading)
        .await
        .unwrap();
    for id in 2..=members {
        let (_, _) = start(network, id, dir, interval);
        let member = Member {
            raft_id: id,
            node_id: format!("n{id}"),
            addr: format!("h{id}:1"),
        };
        node.add_member(member).await.unwrap();
    }
    store
}

async fn stop(network: &Network) {
    let nodes = std::mem::take(&mut *network.0.lock().unwrap());
    for node in nodes.into_values() {
        node.stop().await;
    }
}

fn service(id: String) -> Service {
    let annotations = Some(Annotations {
        name: id.clone(),
        ..Annotations::default()
    });
    let spec = ServiceSpec {
        annotations,
        task: Some(task_spec().into()),
        ..ServiceSpec::default()
    };
    Service {
        id,
        spec: Some(spec),
        ..Service::default()
    }
}

fn task_spec() -> TaskSpec {
    let container = ContainerSpec {
        image: "registry.example/team/web:1.2.3".into(),
        args: vec!["--port".into(), "80".into()],
        env: vec!["MODE=production".into(), "LOG=info".into()],
        ..ContainerSpec::default()
    };
    TaskSpec {
        runtime: Some(task_spec::Runtime::Container(container)),
        ..TaskSpec::default()
    }
}

fn task(n: usize) -> Task {
    Task {
        id: format!("{n:025}"),
        service_id: format!("service{:018}", n % 100).into(),
        node_id: format!("node{:021}", n % 1000).into(),
        slot: n as u64,
        spec: Some(task_spec().into()),
        status: Some(TaskStatus {
            message: "started".into(),
            ..TaskStatus::default()
        }),
        desired_state: 512,
        ..Task::default()
    }
}

/// Bare writes of a frame's size with a sync after each, over bytes that are there already: what a
/// write cannot be faster than.
fn floor(dir: &Path, writers: u64) -> f64 {
    let rates: f64 = std::thread::scope(|scope| {
        let writers = (0..writers).map(|n| scope.spawn(move || bare(dir, n)));
        let writers: Vec<_> = writers.collect();
        let rates = writers.into_iter().map(|writer| writer.join().unwrap());
        rates.sum()
    });
    rates / writers as f64
}

fn bare(dir: &Path, number: u64) -> f64 {
    let disk = DirDisk::open(dir).unwrap();
    let mut file = disk.create(&format!("floor{number}")).unwrap();
    file.write_at(0, &vec![0; 8 << 20]).unwrap();
    file.sync().unwrap();
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed() < span() / 3 {
        file.write_at(count * 300 % (8 << 20), &[7; 300]).unwrap();
        file.sync().unwrap();
        count += 1;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// CPU time of this process so far, in microseconds.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

/// What a series of writes cost.
struct Series {
    rate: f64,
    /// How long each took, sorted.
    waits: Vec<Duration>,
    syncs: f64,
    messages: f64,
    cpu_us: f64,
}

/// Creates services from so many writers.
async fn creates(store: &Store, writers: usize, label: &str) -> Series {
    let counts = || {
        let (syncs, messages) = (
            SYNCS.load(Ordering::Relaxed),
            MESSAGES.load(Ordering::Relaxed),
        );
        (syncs as f64, messages as f64, cpu_us())
    };
    let before = counts();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, label) = (store.clone(), label.to_owned());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while begun.elapsed() < span() {
                    let object = service(format!("{label}-{writer}-{}", waits.len()));
                    let asked = Instant::now();
                    store.update(|tx| tx.create_service(object)).await.unwrap();
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let count = waits.len() as f64;
    let rate = count / begun.elapsed().as_secs_f64();
    let after = counts();
    waits.sort_unstable();
    Series {
        rate,
        waits,
        syncs: (after.0 - before.0) / count,
        messages: (after.1 - before.1) / count,
        cpu_us: (after.2 - before.2) / count,
    }
}

fn report(what: &str, series: &Series) {
    let Series {
        rate,
        waits,
        syncs,
        messages,
        cpu_us,
    } = series;
    let at = |part: usize| waits[(waits.len() - 1) * part / 1000].as_micros();
    println!(
        "{what:<40} {rate:>7.0}/s  wait us: median {:>5} 99% {:>6} max {:>7}  \
         each: {syncs:.2} syncs {messages:.2} messages {cpu_us:.0} us CPU",
        at(500),
        at(990),
        at(1000)
    );
}

/// Another member joins: how long until it has everything and votes.
async fn join(network: &Network, dir: &Path) {
    let first = network.0.lock().unwrap()[&1].clone();
    let begun = Instant::now();
    let (store, _) = start(network, 2, dir, 5_000);
    let member = Member {
        raft_id: 2,
        node_id: "n2".into(),
        addr: "h2:1".into(),
    };
    first.add_member(member).await.unwrap();
    let mut membership = first.membership();
    let votes = |members: &Membership| !members.is_learner(2);
    membership.wait_for(votes).await.unwrap();
    println!(
        "join of a member to {} tasks: {:?}",
        store.view().tasks().count(),
        begun.elapsed()
    );
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("skep-store-bench");
    let many = if is_quick() { 5_000 } else { 100_000 };
    let tasks: usize = args.next().map_or(many, |text| text.parse().unwrap());
    for members in [1, 3] {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let floor = floor(&dir, members);
        let what = format!("floor: write and sync, {members} at a time");
        println!("{what:<40} {floor:>7.0}/s each");
        let network = Network::default();
        let store = cluster(&network, &dir, members, 10_000).await;
        for writers in [1, 16, 64] {
            let series = creates(&store, writers, &format!("w{writers}")).await;
            report(
                &format!("{members} member(s), {writers} writer(s)"),
                &series,
            );
        }
        stop(&network).await;
    }

    let _ = std::fs::remove_dir_all(&dir);
    let network = Network::default();
    let store = cluster(&network, &dir, 1, 5_000).await;
    let begun = Instant::now();
    let updates = (0..tasks).map(|n| move |tx: &mut Tx| tx.create_task(task(n)));
    let created: Vec<Result<_, TxError>> = store.batch(updates).await.unwrap();
    println!("batch of {} tasks: {:?}", created.len(), begun.elapsed());
    drop(created);
    let snapshots = || {
        let names = std::fs::read_dir(dir.join("m1"))
            .unwrap()
            .map(|e| e.unwrap());
        names
            .filter(|e| e.file_name().to_string_lossy().starts_with("snapshot-"))
            .count()
    };
    let before = snapshots();
    let series = creates(&store, 16, "before").await;
    report(
        &format!(
            "16 writers beside {tasks} tasks, snapshots {before}..{}",
            snapshots()
        ),
        &series,
    );
    let series = creates(&store, 16, "after").await;
    report(
        &format!("16 writers, snapshots by now {}", snapshots()),
        &series,
    );
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = memory
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or_default();
    println!("{resident}");
    join(&network, &dir).await;
    stop(&network).await;
    let begun = Instant::now();
    let (store, _) = start(&network, 1, &dir, 5_000);
    println!(
        "restart with {} tasks: {:?}",
        store.view().tasks().count(),
        begun.elapsed()
    );
    stop(&network).await;
    let _ = std::fs::remove_dir_all(&dir);
}
