//! A network that delays, loses, doubles, reorders, and cuts links, each way on its own.

use std::collections::{BTreeMap, BTreeSet};

use skep_objects::raftpb::Message;

use super::random::Random;

#[derive(Debug, Default)]
pub struct Network {
    /// Messages by the time of their arrival.
    under_way: BTreeMap<(u64, u64), Message>,
    sent: u64,
    /// Links that carry nothing, as (from, to).
    cut: BTreeSet<(u64, u64)>,
    /// One in so many messages is lost, and as many doubled; 0 for none.
    pub loss: u64,
    /// Ticks that a message may take.
    pub delay: u64,
}

impl Network {
    pub fn send(&mut self, message: Message, now: u64, random: &mut Random) {
        if self.cut.contains(&(message.from(), message.to())) {
            return;
        }
        if self.loss > 0 && random.once_in(self.loss) {
            return;
        }
        if self.loss > 0 && random.once_in(self.loss) {
            self.carry(message.clone(), now, random);
        }
        self.carry(message, now, random);
    }

    fn carry(&mut self, message: Message, now: u64, random: &mut Random) {
        self.sent += 1;
        let arrival = now + 1 + random.below(self.delay.max(1));
        self.under_way.insert((arrival, self.sent), message);
    }

    /// What arrives by now.
    pub fn arrived(&mut self, now: u64) -> Vec<Message> {
        let later = self.under_way.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.under_way, later)
            .into_values()
            .collect()
    }

    /// Cuts some links between the members at random: a whole group off, or single ways.
    pub fn partition(&mut self, members: &[u64], random: &mut Random) {
        self.cut.clear();
        if random.once_in(3) {
            for _ in 0..=random.below(3) {
                let link = (*random.pick(members), *random.pick(members));
                self.cut.insert(link);
            }
            return;
        }
        let side: BTreeSet<u64> = members
            .iter()
            .copied()
            .filter(|_| random.once_in(2))
            .collect();
        let one_way = random.once_in(4);
        for a in members.iter().filter(|a| side.contains(a)) {
            for b in members.iter().filter(|b| !side.contains(b)) {
                self.cut.insert((*a, *b));
                if !one_way {
                    self.cut.insert((*b, *a));
                }
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.loss = 0;
        self.delay = 1;
    }

    /// Loses what is under way, but for what is to be kept: it was sent long before.
    pub fn forget(&mut self, keep: impl Fn(&Message) -> bool) {
        self.under_way.retain(|_, message| keep(message));
    }
}
