//! What goes wrong in a simulated cluster.

use skep_objects::raftpb::MessageType;
use skep_store::raft::{Member, Start};
use skep_store::seal::Dek;

use super::cluster::Cluster;
use super::host::{Host, member};
use super::plan::Faults;

impl Cluster {
    /// Lets go wrong what is due.
    pub(super) fn chaos(&mut self, faults: &Faults) {
        let mut due = |rate: u64| rate > 0 && self.random.once_in(rate);
        let (network, crash) = (due(faults.network), due(faults.crash));
        let (broken, full) = (due(faults.broken_disk), due(faults.full_disk));
        let (members, transfer) = (due(faults.membership), due(faults.transfer));
        let (pause, clock) = (due(faults.pause), due(faults.clock));
        let rotation = due(faults.rotation);
        if network {
            self.disturb_network();
        }
        if crash {
            self.lose_power();
        }
        let now = self.now;
        if broken {
            self.any_host().0.disk.set_broken(true);
        }
        if full {
            let (host, random) = self.any_host();
            host.disk.set_room(Some(random.below(3_000)));
            host.full_until = now + 1 + random.below(150);
        }
        if pause {
            let (host, random) = self.any_host();
            host.paused_until = now + random.below(150);
        }
        if clock {
            let (host, random) = self.any_host();
            let hours = i64::try_from(random.below(48)).unwrap() - 24;
            host.clock.advance_nanos(hours * 3_600_000_000_000);
        }
        if rotation {
            self.rotate_key();
        }
        if transfer && let Some(leader) = self.leader() {
            let to = (!self.random.once_in(3)).then(|| *self.random.pick(&self.member_ids(leader)));
            drop(self.member_of(leader).transfer(to));
        }
        if members {
            self.change_members();
        }
        for host in self.hosts.values_mut().filter(|h| h.full_until == now) {
            host.disk.set_room(None);
        }
    }

    fn any_host(&mut self) -> (&mut Host, &mut super::random::Random) {
        let ids = self.ids();
        let id = *self.random.pick(&ids);
        (self.hosts.get_mut(&id).unwrap(), &mut self.random)
    }

    fn disturb_network(&mut self) {
        if self.random.once_in(2) {
            self.network.heal();
            return;
        }
        let ids = self.ids();
        self.network.partition(&ids, &mut self.random);
        self.network.loss = *self.random.pick(&[0, 50, 5]);
        self.network.delay = *self.random.pick(&[1, 4, 25]);
    }

    fn lose_power(&mut self) {
        let now = self.now;
        let down_for = 1 + self.random.below(120);
        match self.random.below(6) {
            0 => {
                for id in self.ids() {
                    let host = self.hosts.get_mut(&id).unwrap();
                    host.lose_power(&mut self.random, now + 1 + down_for / 8);
                }
            }
            1 | 2 => self.any_host().0.dies_before_sync = true,
            _ => {
                let (host, random) = self.any_host();
                if host.member.is_some() {
                    host.lose_power(random, now + down_for);
                }
            }
        }
    }

    fn rotate_key(&mut self) {
        let (host, random) = self.any_host();
        let Some(member) = &mut host.member else {
            return;
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&random.next().to_le_bytes());
        let key = Dek::new(bytes);
        // The key file has both until nothing is left that the old one sealed; here, for ever.
        host.keys.push(key.clone());
        drop(member.rotate_key(key));
    }

    fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let members = self.member_ids(leader);
        match self.random.below(3) {
            0 if members.len() < 6 => self.add_member(),
            1 => {
                let id = *self.random.pick(&members);
                let moved = Member {
                    addr: format!("host{id}:{}", self.now),
                    ..member(id)
                };
                drop(self.member_of(leader).update_member(moved));
            }
            _ if members.len() > 1 => {
                let id = *self.random.pick(&members);
                drop(self.member_of(leader).remove_member(id));
            }
            _ => {}
        }
    }

    /// Another machine joins.
    pub(super) fn add_member(&mut self) {
        let leader = self.leader().expect("somebody leads");
        let id = self.next_id;
        self.next_id += 1;
        self.add_host(Start::Join {
            raft_id: id,
            members: Vec::new(),
        });
        drop(self.member_of(leader).add_member(member(id)));
    }

    /// Ends all faults: the network heals, disks have room, everybody comes back.
    pub fn mend(&mut self) {
        self.network.heal();
        for host in self.hosts.values_mut() {
            host.disk.set_room(None);
            host.disk.set_broken(false);
            host.full_until = 0;
            host.paused_until = 0;
            host.back_at = self.now;
        }
    }

    /// The power goes everywhere at once: what was acknowledged must be on the disks.
    pub fn black_out(&mut self) {
        for id in self.ids() {
            let host = self.hosts.get_mut(&id).unwrap();
            host.lose_power(&mut self.random, self.now + 1);
        }
        self.network
            .forget(|message| message.r#type() == MessageType::Snap);
    }
}
