//! Which addresses of the local networks are taken. Kept in memory: containers' states say the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skep_net::Cidr;

use super::record::Subnet;
use crate::error::{EngineError, Result};

/// Addresses in use by network id.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<String, BTreeSet<IpAddr>>);

impl Addresses {
    /// Takes the lowest free address of a subnet.
    pub(crate) fn take_any(&mut self, network: &str, subnet: &Subnet) -> Result<IpAddr> {
        let taken = self.0.entry(network.to_owned()).or_default();
        let within = subnet.range.unwrap_or(subnet.subnet);
        let free = hosts(subnet.subnet, within).find(|ip| {
            !taken.contains(ip) && Some(*ip) != subnet.gateway && !subnet.reserved.contains(ip)
        });
        let ip = free.ok_or_else(|| {
            EngineError::invalid(
                "no available IPv4 addresses on this network's address pools".to_owned(),
            )
        })?;
        taken.insert(ip);
        Ok(ip)
    }

    /// Takes one address that a user asked for.
    pub(crate) fn take(&mut self, network: &str, ip: IpAddr, subnets: &[Subnet]) -> Result<()> {
        let of_family = |subnet: &&Subnet| subnet.subnet.is_ipv4() == ip.is_ipv4();
        let mut fixed = subnets
            .iter()
            .filter(of_family)
            .filter(|subnet| !subnet.chosen)
            .peekable();
        if fixed.peek().is_none() {
            return Err(EngineError::invalid(
                "user specified IP address is supported only when connecting to networks with user configured subnets",
            ));
        }
        let Some(subnet) = fixed.find(|subnet| subnet.subnet.contains(ip)) else {
            return Err(EngineError::invalid(format!(
                "no configured subnet or ip-range contain the IP address {ip}"
            )));
        };
        let taken = self.0.entry(network.to_owned()).or_default();
        let is_usable = hosts(
            subnet.subnet,
            Cidr::new(ip, if ip.is_ipv4() { 32 } else { 128 }),
        )
        .next()
        .is_some();
        let is_usable = is_usable && !subnet.reserved.contains(&ip);
        if !is_usable || subnet.gateway == Some(ip) || !taken.insert(ip) {
            return Err(EngineError::not_allowed("Address already in use"));
        }
        Ok(())
    }

    /// Counts an address as taken, when a running container is taken up again.
    pub(crate) fn hold(&mut self, network: &str, ip: IpAddr) {
        self.0.entry(network.to_owned()).or_default().insert(ip);
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, network: &str, ip: IpAddr) {
        if let Some(taken) = self.0.get_mut(network) {
            taken.remove(&ip);
        }
    }

    /// Whether somebody has an address of this network.
    pub(crate) fn is_used(&self, network: &str) -> bool {
        self.0.get(network).is_some_and(|taken| !taken.is_empty())
    }

    pub(crate) fn forget(&mut self, network: &str) {
        self.0.remove(network);
    }
}

/// Addresses of `within` that a host of `subnet` can have: not the network's own, not broadcast.
fn hosts(subnet: Cidr, within: Cidr) -> Box<dyn Iterator<Item = IpAddr>> {
    match (subnet.network().addr, within.network().addr) {
        (IpAddr::V4(net), IpAddr::V4(first)) => {
            let size = |prefix: u8| u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            let (net, first) = (u32::from(net), u32::from(first));
            let (broadcast, last) = (net | size(subnet.prefix), first | size(within.prefix));
            let usable = move |ip: &u32| subnet.prefix >= 31 || (*ip != net && *ip != broadcast);
            Box::new(
                (first..=last)
                    .filter(usable)
                    .map(|ip| IpAddr::V4(Ipv4Addr::from(ip))),
            )
        }
        (IpAddr::V6(net), IpAddr::V6(first)) => {
            let (net, first) = (u128::from(net), u128::from(first));
            let last = first | u128::MAX.checked_shr(u32::from(within.prefix)).unwrap_or(0);
            Box::new(
                (first..=last)
                    .filter(move |ip| *ip != net)
                    .map(|ip| IpAddr::V6(Ipv6Addr::from(ip))),
            )
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// The first address of a subnet, which the bridge takes when nobody says otherwise.
pub(crate) fn first_host(subnet: Cidr) -> Option<IpAddr> {
    hosts(subnet, subnet).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str, range: Option<&str>) -> Subnet {
        let subnet: Cidr = text.parse().unwrap();
        Subnet {
            subnet,
            range: range.map(|r| r.parse().unwrap()),
            gateway: first_host(subnet),
            reserved: vec![],
            way_out: None,
            chosen: false,
        }
    }

    #[test]
    fn the_lowest_free_address_is_taken_and_comes_back() {
        let mut addresses = Addresses::default();
        let subnet = subnet("10.1.2.0/30", None);
        assert_eq!(
            addresses.take_any("n", &subnet).unwrap().to_string(),
            "10.1.2.2"
        );
        assert!(addresses.take_any("n", &subnet).is_err());
        addresses.release("n", "10.1.2.2".parse().unwrap());
        assert!(addresses.take_any("n", &subnet).is_ok());
    }

    #[test]
    fn a_range_bounds_what_is_given_out_but_not_what_may_be_asked_for() {
        let mut addresses = Addresses::default();
        let subnet = subnet("10.1.2.0/24", Some("10.1.2.128/25"));
        assert_eq!(
            addresses.take_any("n", &subnet).unwrap().to_string(),
            "10.1.2.128"
        );
        addresses
            .take(
                "n",
                "10.1.2.5".parse().unwrap(),
                std::slice::from_ref(&subnet),
            )
            .unwrap();
        let again = addresses.take(
            "n",
            "10.1.2.5".parse().unwrap(),
            std::slice::from_ref(&subnet),
        );
        assert_eq!(again.unwrap_err().to_string(), "Address already in use");
        let mut check = |ip: &str, subnet: &Subnet, expect: &str| {
            let subnets = std::slice::from_ref(subnet);
            let error = addresses.take("n", ip.parse().unwrap(), subnets);
            let error = error.expect_err(ip).to_string();
            assert!(error.starts_with(expect), "{ip}: {error}");
        };
        let outside = "no configured subnet or ip-range contain the IP address 10.9.9.9";
        check("10.9.9.9", &subnet, outside);
        for ip in ["10.1.2.0", "10.1.2.1", "10.1.2.255"] {
            check(ip, &subnet, "Address already in use");
        }
        let auxiliary = Subnet {
            reserved: vec!["10.1.2.6".parse().unwrap()],
            ..subnet.clone()
        };
        check("10.1.2.6", &auxiliary, "Address already in use");
        let only = "user specified IP address is supported only when";
        check("fd00::5", &subnet, only);
        let chosen = Subnet {
            chosen: true,
            ..subnet
        };
        check("10.1.2.9", &chosen, only);
    }
}
