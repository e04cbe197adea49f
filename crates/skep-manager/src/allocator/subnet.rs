//! The addresses of one subnet, given out in sequence.
//!
//! An address that was given back is not used again before the range has been gone through once:
//! neighbours, connection tracking and resolvers remember it for a while.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cidr::Cidr;

/// No address could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// All are taken.
    #[error("no available IP addresses on this pool: {0}")]
    Exhausted(Cidr),
    /// The wanted one lies elsewhere.
    #[error("address {0} is not in subnet {1}")]
    Outside(IpAddr, Cidr),
    /// The wanted one is taken.
    #[error("address {0} is already in use")]
    Taken(IpAddr),
}

/// One subnet with its addresses.
#[derive(Debug, Clone)]
pub struct Subnet {
    cidr: Cidr,
    first: u128,
    last: u128,
    used: BTreeSet<u128>,
    next: u128,
}

impl Subnet {
    /// All of a subnet free, but for the network's own and the broadcast address.
    #[must_use]
    pub fn new(cidr: Cidr, range: Option<Cidr>) -> Self {
        let cidr = cidr.network();
        let small = cidr.last() - cidr.first() < 2;
        let edge = u128::from(!small);
        // IPv6 has no broadcast address.
        let last_edge = if cidr.is_v6() { 0 } else { edge };
        let (mut first, mut last) = (cidr.first() + edge, cidr.last() - last_edge);
        if let Some(range) = range {
            first = first.max(range.first());
            last = last.min(range.last());
        }
        Self {
            cidr,
            first,
            last,
            used: BTreeSet::new(),
            next: first,
        }
    }

    /// The block.
    #[must_use]
    pub fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// Whether the address lies in this subnet.
    #[must_use]
    pub fn contains(&self, address: Cidr) -> bool {
        address.is_v6() == self.cidr.is_v6()
            && (self.cidr.first()..=self.cidr.last()).contains(&address.number())
    }

    /// Marks an address of a stored object as taken. False when it already was.
    pub fn restore(&mut self, address: Cidr) -> bool {
        let number = address.number();
        if number >= self.next && number <= self.last {
            self.next = number + 1;
        }
        self.used.insert(number)
    }

    /// Takes this very address.
    pub fn take(&mut self, address: IpAddr) -> Result<Cidr, AddressError> {
        let wanted = Cidr::new(address, self.cidr.prefix())
            .filter(|wanted| self.contains(*wanted))
            .ok_or(AddressError::Outside(address, self.cidr))?;
        if self.used.insert(wanted.number()) {
            Ok(wanted)
        } else {
            Err(AddressError::Taken(address))
        }
    }

    /// Takes the next free address after the one taken last.
    pub fn take_next(&mut self) -> Result<Cidr, AddressError> {
        let free = self.free_from(self.next, self.last).or_else(|| {
            let before = self.next.checked_sub(1)?;
            self.free_from(self.first, before.min(self.last))
        });
        let number = free.ok_or(AddressError::Exhausted(self.cidr))?;
        self.used.insert(number);
        self.next = number + 1;
        Ok(self.cidr.with_number(number))
    }

    fn free_from(&self, first: u128, last: u128) -> Option<u128> {
        if first > last {
            return None;
        }
        let mut free = first;
        for used in self.used.range(first..=last) {
            if *used != free {
                break;
            }
            free += 1;
        }
        (free <= last).then_some(free)
    }

    /// Gives an address back.
    pub fn release(&mut self, address: Cidr) {
        self.used.remove(&address.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(cidr: &str, range: Option<&str>) -> Subnet {
        Subnet::new(
            cidr.parse().unwrap(),
            range.map(|range| range.parse().unwrap()),
        )
    }

    #[test]
    fn addresses_are_given_in_sequence_and_not_reused_at_once() {
        let mut subnet = subnet("10.0.0.0/24", None);
        let first = subnet.take_next().unwrap();
        assert_eq!(first.to_string(), "10.0.0.1/24");
        subnet.release(first);
        assert_eq!(subnet.take_next().unwrap().to_string(), "10.0.0.2/24");
    }

    #[test]
    fn sequence_wraps_and_then_runs_out() {
        let mut subnet = subnet("10.0.0.0/29", None);
        let all: Vec<_> = (0..6).map(|_| subnet.take_next().unwrap()).collect();
        assert_eq!(all.last().unwrap().to_string(), "10.0.0.6/29");
        assert!(matches!(
            subnet.take_next(),
            Err(AddressError::Exhausted(_))
        ));
        subnet.release(all[2]);
        assert_eq!(subnet.take_next().unwrap(), all[2]);
    }

    #[test]
    fn a_restored_subnet_goes_on_after_its_highest_address() {
        let mut subnet = subnet("10.0.0.0/24", None);
        assert!(subnet.restore("10.0.0.9/24".parse().unwrap()));
        assert!(!subnet.restore("10.0.0.9/24".parse().unwrap()));
        assert!(subnet.restore("10.0.0.3/24".parse().unwrap()));
        assert_eq!(subnet.take_next().unwrap().to_string(), "10.0.0.10/24");
    }

    #[test]
    fn ranges_bound_what_is_chosen_but_not_what_is_asked_for() {
        let mut subnet = subnet("10.1.0.0/16", Some("10.1.5.0/24"));
        assert_eq!(subnet.take_next().unwrap().to_string(), "10.1.5.0/16");
        assert_eq!(
            subnet
                .take("10.1.0.1".parse().unwrap())
                .unwrap()
                .to_string(),
            "10.1.0.1/16"
        );
        assert!(matches!(
            subnet.take("10.1.0.1".parse().unwrap()),
            Err(AddressError::Taken(_))
        ));
        assert!(matches!(
            subnet.take("10.2.0.1".parse().unwrap()),
            Err(AddressError::Outside(..))
        ));
    }

    #[test]
    fn ipv6_subnets_have_no_broadcast_address() {
        let mut subnet = subnet("fd00::/126", None);
        let all: Vec<_> = (0..3)
            .map(|_| subnet.take_next().unwrap().to_string())
            .collect();
        assert_eq!(all, ["fd00::1/126", "fd00::2/126", "fd00::3/126"]);
        assert!(subnet.take_next().is_err());
    }
}
