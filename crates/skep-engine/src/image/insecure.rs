//! Which registries may be spoken to without verified TLS.

use std::net::IpAddr;

/// Loopback addresses, and what the configuration names.
pub(super) fn is_insecure(host: &str, insecure: &[String]) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = if name == "localhost" {
        Some([127, 0, 0, 1].into())
    } else {
        name.parse().ok()
    };
    address.is_some_and(|address| address.is_loopback())
        || insecure.iter().any(|entry| {
            entry == host
                || entry == name
                || address.is_some_and(|address| in_subnet(address, entry))
        })
}

fn in_subnet(address: IpAddr, subnet: &str) -> bool {
    let Some((base, bits)) = subnet.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(base) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(base)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(base) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_named_registries_may_be_plain() {
        let named = ["10.1.0.0/16".to_owned(), "reg.example:5000".to_owned()];
        for host in [
            "127.0.0.1:5000",
            "localhost:5000",
            "[::1]:5000",
            "10.1.2.3:80",
            "reg.example:5000",
        ] {
            assert!(is_insecure(host, &named), "{host}");
        }
        for host in ["10.2.0.1:80", "reg.example:5001", "example.org"] {
            assert!(!is_insecure(host, &named), "{host}");
        }
    }
}
