//! Where networks without a subnet get theirs from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skep_net::Cidr;

use crate::config::AddressPool;
use crate::error::{EngineError, Result};

/// Docker's own: 172.17/16 to 172.31/16, then sixteen /20 of 192.168/16.
const DEFAULTS: [(&str, u8); 7] = [
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
];

/// A subnet of the pools that overlaps none of `taken`.
pub(crate) fn choose(pools: &[AddressPool], taken: &[Cidr]) -> Result<Cidr> {
    let defaults;
    let pools = if pools.iter().any(|pool| !pool.base.contains(':')) {
        pools
    } else {
        defaults = DEFAULTS.map(|(base, size)| AddressPool {
            base: base.to_owned(),
            size,
        });
        &defaults
    };
    let candidates = pools.iter().flat_map(subnets);
    candidates
        .into_iter()
        .find(|subnet| !taken.iter().any(|other| other.overlaps(subnet)))
        .ok_or_else(|| {
            EngineError::invalid(
                "all predefined address pools have been fully subnetted".to_owned(),
            )
        })
}

/// A unique local /64 made from random bits, as RFC 4193 asks.
pub(crate) fn choose_v6() -> Cidr {
    let global: u64 = rand::random::<u64>() >> 24;
    let addr = (0xfd_u128 << 120) | (u128::from(global) << 80);
    Cidr::new(IpAddr::V6(Ipv6Addr::from(addr)), 64)
}

fn subnets(pool: &AddressPool) -> Vec<Cidr> {
    let Ok(base) = pool.base.parse::<Cidr>() else {
        return Vec::new();
    };
    let (IpAddr::V4(first), true) = (
        base.network().addr,
        pool.size >= base.prefix && pool.size <= 30,
    ) else {
        return Vec::new();
    };
    let count = 1_u32 << (pool.size - base.prefix).min(16);
    let step = 1_u64 << (32 - u32::from(pool.size));
    (0..u64::from(count))
        .filter_map(|i| u32::try_from(u64::from(u32::from(first)) + i * step).ok())
        .map(|ip| Cidr::new(IpAddr::V4(Ipv4Addr::from(ip)), pool.size))
        .collect()
}

/// Subnets that the host itself routes to, which a new network must not hide.
pub(crate) fn host_routes() -> Vec<Cidr> {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    parse_routes(&table)
}

fn parse_routes(table: &str) -> Vec<Cidr> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let destination = u32::from_str_radix(words.next()?, 16).ok()?.swap_bytes();
        let mask = u32::from_str_radix(words.nth(5)?, 16).ok()?.swap_bytes();
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        // The default route covers everything and says nothing.
        (prefix > 0).then(|| Cidr::new(IpAddr::V4(Ipv4Addr::from(destination)), prefix))
    };
    table.lines().skip(1).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_come_in_order_and_skip_what_is_taken() {
        let mut taken: Vec<Cidr> = vec!["172.18.3.0/24".parse().unwrap()];
        let mut got = Vec::new();
        for _ in 0..16 {
            let subnet = choose(&[], &taken).unwrap();
            got.push(subnet.to_string());
            taken.push(subnet);
        }
        assert_eq!(
            got[..4],
            [
                "172.17.0.0/16",
                "172.19.0.0/16",
                "172.20.0.0/16",
                "172.21.0.0/16"
            ]
        );
        assert_eq!(got[14..], ["192.168.0.0/20", "192.168.16.0/20"]);
    }

    #[test]
    fn an_exhausted_pool_has_dockers_text() {
        let pools = [AddressPool {
            base: "10.9.0.0/24".into(),
            size: 24,
        }];
        let taken = ["10.9.0.0/24".parse().unwrap()];
        let error = choose(&pools, &taken).unwrap_err().to_string();
        assert_eq!(
            error,
            "all predefined address pools have been fully subnetted"
        );
    }

    #[test]
    fn routes_are_read_in_the_machine_s_byte_order() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(parse_routes(table), ["172.17.0.0/16".parse().unwrap()]);
    }
}
