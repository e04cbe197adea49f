//! A cluster in one thread: members, disks, clients and a chaos that one seed decides.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use skep_objects::swarmkit::{Config, ConfigSpec};
use skep_store::disk::SimDisk;
use skep_store::raft::{Health, Member, RaftConfig, Role, Start, SteppedMember};
use skep_store::seal::{Dek, DekSet};
use skep_store::{CommitError, ManualClock, Store, TxError, UpdateError, View};

use super::history::{Fate, History};
use super::network::Network;
use super::random::Random;

/// What may go wrong.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub network: bool,
    pub crashes: bool,
    pub disk: bool,
    pub membership: bool,
    pub transfers: bool,
}

impl Faults {
    pub const NONE: Faults = Faults {
        network: false,
        crashes: false,
        disk: false,
        membership: false,
        transfers: false,
    };
}

/// Steps between ticks of a member: a step is 10 ms, a tick 100 ms.
const STEPS_PER_TICK: u64 = 10;

type Answer = Result<usize, UpdateError<TxError>>;

struct Client {
    number: u32,
    answer: Pin<Box<dyn Future<Output = Answer>>>,
}

struct Host {
    disk: SimDisk,
    member: Option<SteppedMember>,
    /// When it comes back, if it is down.
    back_at: u64,
    full_until: u64,
    /// The list as it showed it last, and the store's version then.
    shown: Vec<u32>,
    version: u64,
    start: Start,
}

pub struct Cluster {
    seed: u64,
    now: u64,
    random: Random,
    network: Network,
    clock: Arc<ManualClock>,
    hosts: BTreeMap<u64, Host>,
    clients: Vec<Client>,
    history: History,
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// The longest list that any member showed.
    longest: Vec<u32>,
    next_id: u64,
    salts: u64,
}

impl Cluster {
    pub fn new(seed: u64, members: u64) -> Self {
        let mut cluster = Cluster {
            seed,
            now: 0,
            random: Random::new(seed),
            network: Network::default(),
            clock: Arc::new(ManualClock::default()),
            hosts: BTreeMap::new(),
            clients: Vec::new(),
            history: History::default(),
            leaders: BTreeMap::new(),
            longest: Vec::new(),
            next_id: 1,
            salts: 0,
        };
        cluster.add_host(Start::Bootstrap { raft_id: 1 });
        cluster.next_id = 2;
        while cluster.leader().is_none() {
            cluster.step(&Faults::NONE);
        }
        for _ in 1..members {
            cluster.add_member();
            cluster.run(100, &Faults::NONE);
        }
        cluster
    }

    /// Steps with faults.
    pub fn run(&mut self, steps: u64, faults: &Faults) {
        for _ in 0..steps {
            self.step(faults);
        }
    }

    /// Ends all faults: the network heals, disks have room, everybody comes back.
    pub fn mend(&mut self) {
        self.network.heal();
        for host in self.hosts.values_mut() {
            host.disk.set_room(None);
            host.disk.set_broken(false);
            host.full_until = 0;
            host.back_at = self.now;
        }
    }

    /// Runs without faults until all members agree and the clients are answered, in bounded time.
    pub fn converge(&mut self) {
        let deadline = self.now + 6_000;
        loop {
            assert!(self.now < deadline, "no convergence: {:?}", self.states());
            self.step(&Faults::NONE);
            if !self.now.is_multiple_of(50) {
                continue;
            }
            let Some(leader) = self.leader() else {
                continue;
            };
            let members = self.member_ids(leader);
            let lists: Vec<Vec<u32>> = members.iter().map(|id| self.list_of(*id)).collect();
            let behind = self.applied_of(leader);
            let same = members.iter().all(|id| self.applied_of(*id) == behind);
            if same
                && lists.windows(2).all(|pair| pair[0] == pair[1])
                && self.now + 4_000 > deadline
            {
                break;
            }
        }
    }

    /// Checks what clients were told against what there is; answers how many were acknowledged.
    pub fn check_history(&self) -> usize {
        let leader = self.leader().expect("a converged cluster has a leader");
        let list = self.list_of(leader);
        assert!(
            list.starts_with(&self.longest),
            "a member showed what is no longer there"
        );
        self.history.check(&list)
    }

    fn step(&mut self, faults: &Faults) {
        self.now += 1;
        self.clock.advance_nanos(10_000_000);
        self.chaos(faults);
        self.bring_back();
        for message in self.network.arrived(self.now) {
            self.deliver(message);
        }
        let ids: Vec<u64> = self.hosts.keys().copied().collect();
        for id in &ids {
            // Clocks are not in step.
            let tick = (self.now + id * 3).is_multiple_of(STEPS_PER_TICK);
            let finishes = self.random.once_in(8);
            let host = self.hosts.get_mut(id).unwrap();
            let Some(member) = &mut host.member else {
                continue;
            };
            if tick {
                member.tick();
            }
            if finishes {
                member.finish_snapshot();
            }
            member.advance();
            for message in member.take_messages() {
                let is_snapshot = message.snapshot.as_ref().is_some_and(|s| s.data.is_some());
                let to = message.to();
                self.network.send(message, self.now, &mut self.random);
                if is_snapshot {
                    // Sometimes the report is wrong: raft must not depend on it.
                    member.report_snapshot(to, !self.random.once_in(4));
                }
            }
        }
        self.write();
        self.observe();
    }

    fn deliver(&mut self, message: skep_objects::raftpb::Message) {
        let (from, to) = (message.from(), message.to());
        let removed = self.hosts.get(&to).and_then(|host| host.member.as_ref());
        if removed.is_some_and(|member| member.membership().is_removed(from)) {
            if let Some(member) = self
                .hosts
                .get_mut(&from)
                .and_then(|host| host.member.as_mut())
            {
                member.report_removed();
            }
            return;
        }
        if let Some(member) = self
            .hosts
            .get_mut(&to)
            .and_then(|host| host.member.as_mut())
        {
            member.step(message);
        }
    }

    fn chaos(&mut self, faults: &Faults) {
        let ids: Vec<u64> = self.hosts.keys().copied().collect();
        if faults.network && self.random.once_in(150) {
            if self.random.once_in(2) {
                self.network.heal();
            } else {
                self.network.partition(&ids, &mut self.random);
                self.network.loss = *self.random.pick(&[0, 50, 5]);
                self.network.delay = *self.random.pick(&[2, 10, 60]);
            }
        }
        if faults.crashes && self.random.once_in(200) {
            let id = *self.random.pick(&ids);
            let down_for = 1 + self.random.below(300);
            self.crash(id, down_for);
        }
        if faults.disk && self.random.once_in(300) {
            let id = *self.random.pick(&ids);
            let host = self.hosts.get_mut(&id).unwrap();
            if self.random.once_in(4) {
                host.disk.set_broken(true);
            } else {
                host.disk.set_room(Some(self.random.below(3_000)));
                host.full_until = self.now + self.random.below(400);
            }
        }
        for host in self.hosts.values_mut() {
            if host.full_until == self.now {
                host.disk.set_room(None);
            }
        }
        if faults.transfers
            && self.random.once_in(200)
            && let Some(leader) = self.leader()
        {
            let host = self.hosts.get_mut(&leader).unwrap();
            drop(host.member.as_mut().unwrap().transfer(None));
        }
        if faults.membership && self.random.once_in(400) {
            self.change_members();
        }
    }

    fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let members = self.member_ids(leader);
        if members.len() < 5 && self.random.once_in(2) {
            self.add_member();
        } else if members.len() > 3 {
            let others: Vec<u64> = members.into_iter().filter(|id| *id != leader).collect();
            let id = *self.random.pick(&others);
            let host = self.hosts.get_mut(&leader).unwrap();
            drop(host.member.as_mut().unwrap().remove_member(id));
        }
    }

    fn add_member(&mut self) {
        let leader = self.leader().expect("somebody leads");
        let id = self.next_id;
        self.next_id += 1;
        self.add_host(Start::Join {
            raft_id: id,
            members: Vec::new(),
        });
        let host = self.hosts.get_mut(&leader).unwrap();
        drop(host.member.as_mut().unwrap().add_member(member(id)));
    }

    fn add_host(&mut self, start: Start) {
        let id = match &start {
            Start::Bootstrap { raft_id } | Start::Join { raft_id, .. } => *raft_id,
        };
        let host = Host {
            disk: SimDisk::new(),
            member: None,
            back_at: self.now,
            full_until: 0,
            shown: Vec::new(),
            version: 0,
            start,
        };
        self.hosts.insert(id, host);
        self.bring_back();
    }

    fn crash(&mut self, id: u64, down_for: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        let Some(member) = host.member.take() else {
            return;
        };
        drop(member);
        let random = &mut self.random;
        host.disk
            .crash(&mut |choices| usize::try_from(random.below(choices as u64)).unwrap());
        host.disk.set_broken(false);
        host.back_at = self.now + down_for;
    }

    fn bring_back(&mut self) {
        let now = self.now;
        let failed: Vec<u64> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.member.as_ref().is_some_and(has_failed))
            .map(|(id, _)| *id)
            .collect();
        for id in failed {
            self.crash(id, 50);
        }
        for (id, host) in &mut self.hosts {
            if host.member.is_some() || host.back_at > now {
                continue;
            }
            self.salts += 1;
            let mut salt = u128::from(self.seed) << 64 | u128::from(self.salts) << 32;
            let salts = move || {
                salt += 1;
                salt.to_le_bytes()
            };
            let config = config(*id, host.start.clone(), self.seed);
            let disk = Arc::new(host.disk.clone());
            match SteppedMember::open(config, disk, self.clock.clone(), salts) {
                Ok(member) => {
                    host.member = Some(member);
                    host.shown.clear();
                    host.version = 0;
                }
                // A full disk has no room for a start, and a broken one starts nothing.
                Err(error) if is_disk_fault(&error.to_string()) => {
                    host.disk.set_broken(false);
                    host.back_at = now + 20;
                }
                Err(error) => panic!("member {id} does not start again: {error}"),
            }
        }
    }

    /// Clients append, on whomever they take for the leader.
    fn write(&mut self) {
        if self.clients.len() < 6 && self.random.once_in(4) {
            let ids: Vec<u64> = self.hosts.keys().copied().collect();
            let id = match self.leader() {
                Some(leader) if !self.random.once_in(10) => leader,
                _ => *self.random.pick(&ids),
            };
            if let Some(member) = &self.hosts[&id].member {
                let number = self.history.ask(self.now);
                let answer = Box::pin(append(member.store().clone(), number));
                self.clients.push(Client { number, answer });
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        let (history, now) = (&mut self.history, self.now);
        self.clients
            .retain_mut(|client| match client.answer.as_mut().poll(&mut context) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    history.learn(client.number, fate_of(answer, now));
                    false
                }
            });
    }

    /// Looks at every member: who leads, and whether what it shows only grows.
    fn observe(&mut self) {
        for (id, host) in &mut self.hosts {
            let Some(member) = &host.member else { continue };
            let status = member.status();
            if status.role == Role::Leader {
                let known = *self.leaders.entry(status.term).or_insert(*id);
                assert_eq!(known, *id, "two leaders in term {}", status.term);
            }
            let view = member.store().view();
            if view.version() == host.version {
                continue;
            }
            host.version = view.version();
            let list = list(&view);
            assert!(
                list.starts_with(&host.shown),
                "member {id} took back what it showed"
            );
            let agrees = list.starts_with(&self.longest) || self.longest.starts_with(&list);
            assert!(
                agrees,
                "member {id} shows {list:?}, another {:?}",
                self.longest
            );
            if list.len() > self.longest.len() {
                self.longest.clone_from(&list);
            }
            host.shown = list;
        }
    }

    fn leader(&self) -> Option<u64> {
        let leads = |host: &Host| {
            let status = host.member.as_ref()?.status();
            status.leading_term()
        };
        self.hosts
            .iter()
            .filter_map(|(id, host)| Some((leads(host)?, *id)))
            .max()
            .map(|(_, id)| id)
    }

    fn member_ids(&self, leader: u64) -> Vec<u64> {
        let member = self.hosts[&leader].member.as_ref().unwrap();
        member
            .membership()
            .members()
            .map(|member| member.raft_id)
            .collect()
    }

    fn list_of(&self, id: u64) -> Vec<u32> {
        self.hosts[&id]
            .member
            .as_ref()
            .map(|member| list(&member.store().view()))
            .unwrap_or_default()
    }

    fn applied_of(&self, id: u64) -> u64 {
        self.hosts[&id]
            .member
            .as_ref()
            .map_or(0, SteppedMember::applied)
    }

    fn states(&self) -> Vec<String> {
        let state = |(id, host): (&u64, &Host)| match &host.member {
            Some(member) => format!("{id}: {:?} applied {}", member.status(), member.applied()),
            None => format!("{id}: down"),
        };
        self.hosts.iter().map(state).collect()
    }
}

fn is_disk_fault(text: &str) -> bool {
    text.contains("no storage space") || text.contains("simulated disk error")
}

fn has_failed(member: &SteppedMember) -> bool {
    match member.status().health {
        Health::Failed(why) => {
            assert!(why.contains("simulated disk error"), "{why}");
            true
        }
        Health::Running | Health::ReadOnly(_) | Health::Removed | Health::Stopped => false,
    }
}

fn member(id: u64) -> Member {
    Member {
        raft_id: id,
        node_id: format!("node{id}"),
        addr: format!("host{id}:2377"),
    }
}

fn config(id: u64, start: Start, seed: u64) -> RaftConfig {
    let keys = DekSet::new(Dek::new([1; 32]));
    let mut config = RaftConfig::new(
        start,
        format!("node{id}"),
        format!("host{id}:2377"),
        keys,
        seed,
    );
    config.tick = Duration::from_millis(100);
    config.snapshot_interval = 40;
    config.keep_entries = 10;
    config
}

/// Appends a number to the list; answers how long the list was before.
async fn append(store: Store, number: u32) -> Answer {
    store
        .update(|tx| {
            let Some(stored) = tx.config("list") else {
                let spec = ConfigSpec {
                    data: number.to_le_bytes().to_vec(),
                    ..Default::default()
                };
                let config = Config {
                    id: "list".into(),
                    spec: Some(spec),
                    ..Config::default()
                };
                tx.create_config(config)?;
                return Ok(0);
            };
            let before = list_in(stored).len();
            tx.edit_config("list", |config| {
                config
                    .spec
                    .get_or_insert_default()
                    .data
                    .extend(number.to_le_bytes());
            })?;
            Ok(before)
        })
        .await
}

fn fate_of(answer: Answer, at: u64) -> Fate {
    match answer {
        Ok(before) => Fate::Acknowledged { before, at },
        Err(UpdateError::Refused(error)) => panic!("{error}"),
        Err(UpdateError::Commit(CommitError::NotLeader | CommitError::Transferring)) => {
            Fate::Refused
        }
        Err(UpdateError::Commit(_)) => Fate::Unknown,
    }
}

fn list(view: &View) -> Vec<u32> {
    view.config("list")
        .map(|config| list_in(config))
        .unwrap_or_default()
}

fn list_in(config: &Config) -> Vec<u32> {
    let data = config
        .spec
        .as_ref()
        .map(|spec| spec.data.as_slice())
        .unwrap_or_default();
    data.chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}
