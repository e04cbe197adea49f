//! Which backend has which number.

use std::collections::BTreeSet;

use crate::netlink::nft::Value;

/// Backends by number, from 0 on without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slots(Vec<Value>);

impl Slots {
    /// Brings them to these backends. Those who stay keep their numbers as far as that can be: who
    /// comes takes a place that is free, and what is left free is filled from the end.
    pub fn seat(self, backends: Vec<Value>) -> Slots {
        let mut wanted: BTreeSet<Value> = backends.into_iter().collect();
        let mut seats: Vec<Option<Value>> = self.0.iter().map(|b| wanted.take(b)).collect();
        let mut newcomers = wanted.into_iter();
        for seat in seats.iter_mut().filter(|seat| seat.is_none()) {
            *seat = newcomers.next();
        }
        seats.extend(newcomers.map(Some));
        let mut n = 0;
        while n < seats.len() {
            if seats[n].is_none() {
                seats.swap_remove(n);
            } else {
                n += 1;
            }
        }
        Slots(seats.into_iter().flatten().collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Value)> {
        (0..).zip(&self.0)
    }

    /// The backend of a number.
    pub fn at(&self, slot: u32) -> Option<&Value> {
        self.0.get(usize::try_from(slot).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(numbers: &[u32]) -> Vec<Value> {
        numbers.iter().map(|n| Value::number(*n)).collect()
    }

    fn seat(before: &[u32], now: &[u32]) -> Vec<Value> {
        Slots(values(before)).seat(values(now)).0
    }

    #[test]
    fn who_stays_keeps_the_number() {
        assert_eq!(seat(&[], &[1, 2, 3]), values(&[1, 2, 3]));
        assert_eq!(seat(&[1, 2, 3], &[1, 3]), values(&[1, 3]));
        assert_eq!(seat(&[1, 2, 3, 4], &[2, 3, 4]), values(&[4, 2, 3]));
        assert_eq!(seat(&[1, 2, 3], &[0, 1, 3]), values(&[1, 0, 3]));
        assert_eq!(seat(&[1, 2], &[0, 1, 2]), values(&[1, 2, 0]));
        assert_eq!(seat(&[1, 2, 3], &[]), values(&[]));
        assert_eq!(seat(&[1, 2, 3], &[9]), values(&[9]));
        assert_eq!(seat(&[1, 2, 3, 4, 5], &[3]), values(&[3]));
    }
}
