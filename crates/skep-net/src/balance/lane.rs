//! Lanes: one chain for so many backends, with a counter of its own.
//!
//! Services that share a counter would spoil each other's turns: one that is asked in step with
//! another would always be sent to the same backend. So the first services of each size have a
//! counter each; those beyond are shared out by chance.

use std::collections::BTreeMap;

use crate::netlink::nft::{Element, Turn, Value};

/// Counters for each number of backends.
const COUNTERS: u8 = 16;
/// The lane of a size that takes backends by chance.
const CHANCE: u8 = u8::MAX;
/// Lanes of this size and below stay for the next who needs one: they cost nothing to keep.
const KEPT_SIZE: u32 = 8;

/// A way to one of so many backends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    size: u32,
    counter: u8,
}

impl Lane {
    /// Where there is no backend.
    pub const NOBODY: Lane = Lane {
        size: 0,
        counter: 0,
    };

    /// Its number in the maps.
    pub fn number(self) -> u32 {
        self.size << 8 | u32::from(self.counter)
    }

    /// Its key in the map of chains.
    pub fn key(self) -> Element {
        Element::key(Value::number(self.number()))
    }

    /// Its element of the map of chains.
    pub fn to_chain(self) -> Element {
        Element::jump(Value::number(self.number()), &self.chain())
    }

    /// Its chain.
    pub fn chain(self) -> String {
        match self.counter {
            _ if self == Lane::NOBODY => "nobody".to_owned(),
            CHANCE => format!("chance-{}", self.size),
            counter => format!("turn-{}-{counter}", self.size),
        }
    }

    /// In which order it takes backends.
    pub fn turn(self) -> Turn {
        if self.counter == CHANCE {
            Turn::Random
        } else {
            Turn::Next
        }
    }

    /// The number of backends.
    pub fn size(self) -> u32 {
        self.size
    }

    fn is_shared(self) -> bool {
        self.size <= 1 || self.counter == CHANCE
    }
}

/// The lanes that are in the kernel, with how many use each.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes(BTreeMap<Lane, usize>);

impl Lanes {
    /// A lane for so many backends; the one that was used before where it may be had.
    pub fn take(&mut self, size: usize, preferred: Option<Lane>) -> Lane {
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(u32::MAX >> 8);
        let lane = match preferred.filter(|lane| lane.size == size && self.may_have(*lane)) {
            Some(lane) => lane,
            None => self.free(size),
        };
        if lane != Lane::NOBODY {
            *self.0.entry(lane).or_default() += 1;
        }
        lane
    }

    fn may_have(&self, lane: Lane) -> bool {
        lane.is_shared() || self.0.get(&lane).is_none_or(|users| *users == 0)
    }

    fn free(&self, size: u32) -> Lane {
        let counters = (0..COUNTERS).map(|counter| Lane { size, counter });
        let counter = CHANCE;
        counters
            .into_iter()
            .find(|lane| self.may_have(*lane))
            .unwrap_or(Lane { size, counter })
    }

    /// Gives a lane back.
    pub fn release(&mut self, lane: Lane) {
        if let Some(users) = self.0.get_mut(&lane) {
            *users = users.saturating_sub(1);
        }
    }

    /// Whether the kernel has it.
    pub fn has(&self, lane: Lane) -> bool {
        self.0.contains_key(&lane)
    }

    /// Lanes that were not there before.
    pub fn made_since<'a>(&'a self, before: &'a Lanes) -> impl Iterator<Item = Lane> + 'a {
        let lanes = self.0.keys().copied();
        lanes.filter(|lane| !before.has(*lane))
    }

    /// Forgets the lanes that nobody uses and that are not kept; answers which.
    pub fn clean_up(&mut self) -> Vec<Lane> {
        let idle = |(lane, users): (&Lane, &usize)| {
            (*users == 0 && lane.size > KEPT_SIZE).then_some(*lane)
        };
        let idle: Vec<Lane> = self.0.iter().filter_map(idle).collect();
        self.0.retain(|lane, _| !idle.contains(lane));
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_size_have_a_counter_each() {
        let mut lanes = Lanes::default();
        let taken: Vec<Lane> = (0..18).map(|_| lanes.take(3, None)).collect();
        let mut counters: Vec<u8> = taken.iter().map(|lane| lane.counter).collect();
        assert_eq!(counters.split_off(16), [CHANCE, CHANCE]);
        assert_eq!(counters, (0..16).collect::<Vec<_>>());
        lanes.release(taken[5]);
        assert_eq!(lanes.take(3, Some(taken[16])).counter, CHANCE);
        assert_eq!(lanes.take(3, None).counter, 5);
    }

    #[test]
    fn one_backend_or_none_needs_no_counter() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.take(1, None), lanes.take(1, None));
        assert_eq!(lanes.take(0, None), Lane::NOBODY);
        assert_eq!(lanes.made_since(&Lanes::default()).count(), 1);
    }

    #[test]
    fn small_lanes_are_kept_and_large_ones_go() {
        let mut lanes = Lanes::default();
        let (small, large) = (lanes.take(2, None), lanes.take(900, None));
        assert_eq!(lanes.clean_up(), []);
        lanes.release(small);
        lanes.release(large);
        assert_eq!(lanes.clean_up(), [large]);
        assert!(lanes.has(small) && !lanes.has(large));
    }
}
