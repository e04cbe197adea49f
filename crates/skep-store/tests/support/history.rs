//! What the clients asked for and were told, and whether one order of events explains it.
//!
//! Clients append unique numbers to one list. The list in the end is the order of events; so each
//! check is direct. An append is in it at most once; an acknowledged one is there, with what its
//! client saw before it, and behind every append that was acknowledged before it was asked for; one
//! that was refused is not there. One whose fate is unknown may be either.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Under way, or nobody knows.
    Unknown,
    /// Committed, with so many appends before it, and known at this time.
    Acknowledged { before: usize, at: u64 },
    /// Certainly not committed.
    Refused,
}

#[derive(Debug)]
struct Append {
    asked_at: u64,
    fate: Fate,
}

#[derive(Debug, Default)]
pub struct History(BTreeMap<u32, Append>);

impl History {
    /// A new append; answers its number.
    pub fn ask(&mut self, now: u64) -> u32 {
        let number = u32::try_from(self.0.len()).unwrap() + 1;
        self.0.insert(
            number,
            Append {
                asked_at: now,
                fate: Fate::Unknown,
            },
        );
        number
    }

    pub fn learn(&mut self, number: u32, fate: Fate) {
        self.0.get_mut(&number).unwrap().fate = fate;
    }

    /// Whether an append was acknowledged.
    pub fn is_acknowledged(&self, number: u32) -> bool {
        let append = self.0.get(&number);
        append.is_some_and(|append| matches!(append.fate, Fate::Acknowledged { .. }))
    }

    /// Checks the list that is there in the end; answers how many appends were acknowledged.
    pub fn check(&self, list: &[u32]) -> usize {
        let mut places = BTreeMap::new();
        for (place, number) in list.iter().enumerate() {
            assert!(
                places.insert(*number, place).is_none(),
                "append {number} is there twice"
            );
            let append = self.0.get(number).expect("an append that nobody asked for");
            assert_ne!(
                append.fate,
                Fate::Refused,
                "append {number} was refused and is there"
            );
        }
        let mut acknowledged: Vec<(u64, usize)> = Vec::new();
        for (number, append) in &self.0 {
            if let Fate::Acknowledged { before, at } = append.fate {
                let place = places.get(number);
                let place =
                    *place.unwrap_or_else(|| panic!("acknowledged append {number} is lost"));
                assert_eq!(
                    place, before,
                    "append {number} saw another list than it was put on"
                );
                acknowledged.push((at, place));
            }
        }
        // Times only grow with the numbers, so one pass tells the furthest place known at each.
        acknowledged.sort_unstable();
        let (mut known, mut furthest) = (acknowledged.iter().peekable(), None);
        for (number, append) in &self.0 {
            while let Some((_, place)) = known.next_if(|(at, _)| *at < append.asked_at) {
                furthest = furthest.max(Some(*place));
            }
            if let Some(place) = places.get(number) {
                assert!(
                    furthest < Some(*place),
                    "append {number} went before one that was acknowledged before it was asked for"
                );
            }
        }
        acknowledged.len()
    }
}
