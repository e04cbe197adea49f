//! A cluster in one thread: hosts, a network, clients, and the checks that hold at every step.

use std::collections::BTreeMap;

use skep_objects::raftpb::Message;
use skep_store::raft::{Health, Role, Start, SteppedMember};

use super::clients::{Clients, list_bytes, numbers};
use super::host::Host;
use super::network::Network;
use super::plan::{Faults, Plan};
use super::random::Random;

/// Steps that everybody may take to come together once all is mended: a minute and a half.
const PATIENCE: u64 = 3_600;

pub struct Cluster {
    pub(super) plan: Plan,
    pub(super) now: u64,
    pub(super) random: Random,
    pub(super) network: Network,
    pub(super) hosts: BTreeMap<u64, Host>,
    pub(super) next_id: u64,
    clients: Clients,
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// The longest list that any member showed.
    longest: Vec<u8>,
    salts: u64,
}

impl Cluster {
    pub fn new(plan: Plan) -> Self {
        let mut cluster = Cluster {
            now: 0,
            random: Random::new(plan.seed),
            network: Network::default(),
            hosts: BTreeMap::new(),
            clients: Clients::default(),
            leaders: BTreeMap::new(),
            longest: Vec::new(),
            next_id: 2,
            salts: 0,
            plan,
        };
        cluster.add_host(Start::Bootstrap { raft_id: 1 });
        while cluster.leader().is_none() {
            cluster.step(&Faults::NONE);
        }
        for _ in 1..cluster.plan.members {
            cluster.add_member();
            cluster.steps(20, &Faults::NONE);
        }
        let leader = cluster.leader().expect("nothing went wrong yet");
        let joined = cluster.member_ids(leader).len() as u64;
        assert_eq!(joined, cluster.plan.members, "not all have joined");
        cluster
    }

    /// The whole run: faults, mending, coming together, a blackout at times, the history.
    pub fn run(mut self) -> usize {
        let faults = self.plan.faults;
        self.steps(self.plan.steps, &faults);
        self.mend();
        self.converge();
        if self.plan.seed.is_multiple_of(2) {
            self.black_out();
            self.converge();
        }
        self.check_history()
    }

    fn steps(&mut self, steps: u64, faults: &Faults) {
        for _ in 0..steps {
            self.step(faults);
        }
    }

    /// Runs without faults until a new write is acknowledged and all members agree, in bounded time.
    fn converge(&mut self) {
        let deadline = self.now + PATIENCE;
        let mut mark = None;
        loop {
            assert!(self.now < deadline, "no convergence: {:#?}", self.states());
            self.step(&Faults::NONE);
            let Some(leader) = self.leader() else {
                continue;
            };
            let acknowledged = mark.is_some_and(|n| self.clients.history.is_acknowledged(n));
            if !acknowledged {
                if self.clients.len() == 0 {
                    let store = self.member_of(leader).store().clone();
                    mark = Some(self.clients.ask(leader, store, self.now));
                }
                continue;
            }
            let members = self.member_ids(leader);
            let reached = self.hosts[&leader].applied();
            let list = self.list_of(leader);
            let membership = self.member_of(leader).membership().clone();
            let agrees = |id: &u64| {
                let host = &self.hosts[id];
                let votes = !membership.is_learner(*id);
                votes && host.applied() == reached && self.list_of(*id) == list
            };
            if members.iter().all(agrees) {
                break;
            }
        }
    }

    /// Checks what clients were told against what there is; answers how many were acknowledged.
    fn check_history(&self) -> usize {
        let leader = self.leader().expect("a converged cluster has a leader");
        let list = self.list_of(leader);
        assert!(
            list.starts_with(&self.longest),
            "a member showed what is no longer there"
        );
        self.clients.history.check(&numbers(&list))
    }

    fn step(&mut self, faults: &Faults) {
        self.now += 1;
        self.chaos(faults);
        self.bring_back();
        for message in self.network.arrived(self.now) {
            self.deliver(message);
        }
        for id in self.ids() {
            self.step_host(id);
        }
        self.write();
        self.observe();
    }

    /// A host's part of a step; it may lose power between its messages and its disk.
    fn step_host(&mut self, id: u64) {
        let (now, random) = (self.now, &mut self.random);
        let host = self.hosts.get_mut(&id).unwrap();
        host.clock.advance_nanos(25_000_000);
        let (ticks, finishes) = (host.ticks(now), random.once_in(4));
        if host.paused_until > now {
            return;
        }
        let Some(member) = &mut host.member else {
            return;
        };
        host.waiting
            .drain(..)
            .for_each(|message| member.take(message));
        if ticks {
            member.tick();
        }
        if finishes {
            member.finish_snapshot();
        }
        if random.once_in(3) {
            member.tell_commit();
        }
        while member.prepare() {
            send(member, &mut self.network, now, random);
            if host.dies_before_sync {
                let back_at = now + 1 + random.below(60);
                host.lose_power(random, back_at);
                return;
            }
            member.carry_out();
        }
        member.settle();
        send(member, &mut self.network, now, random);
    }

    fn deliver(&mut self, message: Message) {
        let (from, to) = (message.from(), message.to());
        let removed = self.hosts.get(&to).and_then(|host| host.member.as_ref());
        if removed.is_some_and(|member| member.membership().is_removed(from)) {
            let sender = self.hosts.get_mut(&from);
            if let Some(member) = sender.and_then(|host| host.member.as_mut()) {
                member.report_removed();
            }
            return;
        }
        if let Some(host) = self.hosts.get_mut(&to)
            && host.member.is_some()
        {
            host.waiting.push(message);
        }
    }

    pub(super) fn add_host(&mut self, start: Start) {
        let id = match &start {
            Start::Bootstrap { raft_id } | Start::Join { raft_id, .. } => *raft_id,
        };
        let host = Host::new(id, start, self.now, &self.plan, &mut self.random);
        self.hosts.insert(id, host);
        self.bring_back();
    }

    fn bring_back(&mut self) {
        let now = self.now;
        for host in self.hosts.values_mut() {
            if host.has_failed() {
                host.lose_power(&mut self.random, now + 12);
            }
            if host.member.is_some() || host.back_at > now {
                continue;
            }
            self.salts += 1;
            if !host.start(&self.plan, self.salts) {
                host.back_at = now + 5;
            }
        }
    }

    /// Clients append, on whomever they take for the leader; some stop waiting.
    fn write(&mut self) {
        if self.clients.len() < 6 && self.random.once_in(2) {
            let ids = self.ids();
            let id = match self.leader() {
                Some(leader) if !self.random.once_in(10) => leader,
                _ => *self.random.pick(&ids),
            };
            if let Some(member) = &self.hosts[&id].member {
                self.clients.ask(id, member.store().clone(), self.now);
            }
        }
        if self.random.once_in(50) {
            let place = usize::try_from(self.random.below(6)).unwrap();
            self.clients.give_up(place);
        }
        for (id, number) in self.clients.poll(self.now) {
            let Some(view) = self.hosts[&id].view() else {
                continue;
            };
            let shows = numbers(&list_bytes(&view)).contains(&number);
            assert!(
                shows,
                "append {number} was acknowledged by {id}, which does not show it"
            );
        }
    }

    /// Looks at every member: who leads, and whether what it shows only grows and agrees.
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
            let list = list_bytes(&view);
            assert!(
                list.len() >= host.shown,
                "member {id} took back what it showed"
            );
            let common = list.len().min(self.longest.len());
            assert_eq!(
                list[..common],
                self.longest[..common],
                "member {id} shows another list"
            );
            host.shown = list.len();
            if list.len() > self.longest.len() {
                self.longest = list;
            }
        }
    }

    pub(super) fn leader(&self) -> Option<u64> {
        let leads = |host: &Host| host.member.as_ref()?.status().leading_term();
        self.hosts
            .iter()
            .filter_map(|(id, host)| Some((leads(host)?, *id)))
            .max()
            .map(|(_, id)| id)
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.hosts.keys().copied().collect()
    }

    pub(super) fn member_of(&mut self, id: u64) -> &mut SteppedMember {
        self.hosts.get_mut(&id).unwrap().member.as_mut().unwrap()
    }

    pub(super) fn member_ids(&self, leader: u64) -> Vec<u64> {
        let member = self.hosts[&leader].member.as_ref().unwrap();
        let members = member.membership().members();
        members.map(|member| member.raft_id).collect()
    }

    fn list_of(&self, id: u64) -> Vec<u8> {
        let view = self.hosts[&id].view();
        view.map(|view| list_bytes(&view)).unwrap_or_default()
    }

    fn states(&self) -> Vec<String> {
        let state = |(id, host): (&u64, &Host)| match &host.member {
            Some(member) if member.status().health == Health::Removed => format!("{id}: removed"),
            Some(member) => format!(
                "{id}: {:?} applied {} members {:?}",
                member.status(),
                member.applied(),
                member.membership()
            ),
            None => format!("{id}: down"),
        };
        self.hosts.iter().map(state).collect()
    }
}

/// Sends what a member has to say.
fn send(member: &mut SteppedMember, network: &mut Network, now: u64, random: &mut Random) {
    for message in member.take_messages() {
        let is_snapshot = message.snapshot.as_ref().is_some_and(|s| s.data.is_some());
        let to = message.to();
        network.send(message, now, random);
        if is_snapshot {
            // Sometimes the report is wrong: raft must not depend on it.
            member.report_snapshot(to, !random.once_in(4));
        }
    }
}
