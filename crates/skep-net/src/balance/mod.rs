//! Sharing a service's connections among its backends, by rules that do not know them.
//!
//! ```text
//! map lanes    { KEY : lane }           a service's addresses, or its published ports
//! map chains   { lane : jump chain }
//! map backends { KEY . slot : backend }
//! chain nobody     { meta priority set 0; meta l4proto tcp reject with tcp reset; ... }
//! chain turn-3-0   { meta priority set 0 dnat to KEY . numgen inc mod 3 map @backends }
//! chain chance-3   { meta priority set 0 dnat to KEY . numgen random mod 3 map @backends }
//! chain HOOK       { meta priority set KEY map @lanes meta priority vmap @chains }
//! ```
//! The priority of a connection's first packet carries the lane from one rule to the next.
//!
//! A change of a service is a change of elements that lead to no chain, which costs the kernel the
//! same however many services there are: whatever touches a chain makes it check all chains again.
//! A chain belongs to a number of backends ([`lane`]), not to a service.

mod lane;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use lane::{Lane, Lanes};
use slots::Slots;

use crate::netlink::nft::{Chain, Element, Field, Key, Rule, Set, Table, Transaction, Value};

const LANES: &str = "lanes";
const CHAINS: &str = "chains";
const BACKENDS: &str = "backends";
const UDP: u8 = 17;

/// What is balanced: the keys that lead to it, and its backends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub keys: BTreeSet<Value>,
    /// Addresses, or addresses with ports.
    pub backends: Vec<Value>,
}

/// All that is balanced in one table, as the kernel has it.
#[derive(Debug)]
pub(crate) struct Balancer<Id> {
    key: Key,
    to_port: bool,
    placed: BTreeMap<Id, Placed>,
    lanes: Lanes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Placed {
    keys: BTreeSet<Value>,
    lane: Lane,
    slots: Slots,
}

/// What a [`Balancer`] will be once the kernel has taken the transaction.
#[derive(Debug)]
pub(crate) struct Plan<Id> {
    placed: BTreeMap<Id, Option<Placed>>,
    lanes: Lanes,
}

impl<Id: Ord + Clone> Balancer<Id> {
    /// Nothing is balanced yet. Backends have a port each, or keep the one that was asked for.
    pub fn new(key: Key, to_port: bool) -> Self {
        Balancer {
            key,
            to_port,
            placed: BTreeMap::new(),
            lanes: Lanes::default(),
        }
    }

    /// Forgets what the table had, and writes what it needs before the first plan: the table is
    /// empty.
    pub fn write_frame(&mut self, tx: &mut Transaction, table: &Table, v4: bool) {
        self.placed.clear();
        self.lanes = Lanes::default();
        let key = self.key.fields(v4);
        let slot = [&key[..], &[Field::Number]].concat();
        let mut backend = vec![Field::address(v4)];
        backend.extend(self.to_port.then_some(Field::Port));
        tx.add_set(table, &Set::map(LANES, &key, &[Field::Number]));
        tx.add_set(table, &Set::vmap(CHAINS, &[Field::Number]));
        tx.add_set(table, &Set::map(BACKENDS, &slot, &backend));
        let nobody = Lane::NOBODY;
        tx.set_chain(table, &Chain::regular(&nobody.chain()), refusal(table));
        tx.add_elements(table, CHAINS, &[nobody.to_chain()]);
    }

    /// The rule by which packets find their backends.
    pub fn rule(&self, table: &Table) -> Rule {
        self.rule_for(table.rule())
    }

    /// The same for what matches already.
    pub fn rule_for(&self, matching: Rule) -> Rule {
        matching.key_to_chain(self.key, LANES, CHAINS)
    }

    /// Writes these changes; `None` is what is not balanced any more. They hold from
    /// [`Balancer::accept`] on.
    pub fn plan(
        &self,
        tx: &mut Transaction,
        table: &Table,
        changes: BTreeMap<Id, Option<Share>>,
    ) -> Plan<Id> {
        let mut lanes = self.lanes.clone();
        for id in changes.keys() {
            if let Some(old) = self.placed.get(id) {
                lanes.release(old.lane);
            }
        }
        let place = |(id, share): (Id, Option<Share>)| {
            let placed = share.map(|share| self.place(&id, share, &mut lanes));
            (id, placed)
        };
        let placed: BTreeMap<Id, Option<Placed>> = changes.into_iter().map(place).collect();
        let (mut gone, mut new) = (Elements::default(), Elements::default());
        for (id, placed) in &placed {
            let none = Placed::default();
            let old = self.placed.get(id).unwrap_or(&none);
            let now = placed.as_ref().unwrap_or(&none);
            gone.only_in(old, now);
            new.only_in(now, old);
        }
        tx.delete_elements(table, LANES, &keys_of(&gone.lanes));
        tx.delete_elements(table, BACKENDS, &keys_of(&gone.backends));
        for lane in lanes.made_since(&self.lanes) {
            let rule = table.rule().dnat_in_turn(
                self.key,
                lane.turn(),
                lane.size(),
                BACKENDS,
                self.to_port,
            );
            tx.set_chain(table, &Chain::regular(&lane.chain()), [rule]);
            tx.add_elements(table, CHAINS, &[lane.to_chain()]);
        }
        tx.add_elements(table, BACKENDS, &pairs_of(new.backends));
        tx.add_elements(table, LANES, &pairs_of(new.lanes));
        for lane in lanes.clean_up() {
            if self.lanes.has(lane) {
                tx.delete_elements(table, CHAINS, &[lane.key()]);
                tx.delete_chain(table, &lane.chain());
            }
        }
        Plan { placed, lanes }
    }

    fn place(&self, id: &Id, share: Share, lanes: &mut Lanes) -> Placed {
        let old = self.placed.get(id);
        let slots = old.map(|old| &old.slots).cloned().unwrap_or_default();
        let slots = slots.seat(share.backends);
        let preferred = old.map(|old| old.lane);
        Placed {
            keys: share.keys,
            lane: lanes.take(slots.len(), preferred),
            slots,
        }
    }

    /// The kernel has taken the transaction of this plan.
    pub fn accept(&mut self, plan: Plan<Id>) {
        self.lanes = plan.lanes;
        for (id, placed) in plan.placed {
            match placed {
                Some(placed) => self.placed.insert(id, placed),
                None => self.placed.remove(&id),
            };
        }
    }
}

/// Elements of the two maps that change with a service.
#[derive(Default)]
struct Elements {
    lanes: Vec<(Value, Value)>,
    backends: Vec<(Value, Value)>,
}

impl Elements {
    /// Adds what one has and the other has not.
    fn only_in(&mut self, one: &Placed, other: &Placed) {
        for key in &one.keys {
            let is_kept = other.keys.contains(key);
            if !is_kept || one.lane != other.lane {
                self.lanes
                    .push((key.clone(), Value::number(one.lane.number())));
            }
            for (slot, backend) in one.slots.iter() {
                if !is_kept || other.slots.at(slot) != Some(backend) {
                    let key = key.clone().and_number(slot);
                    self.backends.push((key, backend.clone()));
                }
            }
        }
    }
}

fn keys_of(pairs: &[(Value, Value)]) -> Vec<Element> {
    let keys = pairs.iter().map(|(key, _)| Element::key(key.clone()));
    keys.collect()
}

fn pairs_of(pairs: Vec<(Value, Value)>) -> Vec<Element> {
    let elements = pairs.into_iter();
    elements.map(|(key, to)| Element::pair(key, to)).collect()
}

/// Refuses at once. A rejected packet of UDP would be an error of the sender on this host: its own
/// go to a port of the host that is never open, and are told what a stranger is.
fn refusal(table: &Table) -> [Rule; 4] {
    let own_udp = table.rule().l4proto(UDP).saddr_is_local();
    [
        table.rule().no_priority(),
        table.rule().reset_tcp(),
        own_udp.redirect_to_nobody(),
        table.rule().unreachable(),
    ]
}

#[cfg(test)]
mod tests;
