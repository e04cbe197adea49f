//! Networks: their name and their address pools.

use std::net::IpAddr;

use prost::Message;
use skep_objects::swarmkit::{IpamConfig, IpamOptions, NetworkSpec};

use super::{Validated, annotations::validate_service_name, refuse};

/// The largest spec: every task on the network repeats it.
const MAX_SPEC_BYTES: usize = 128 << 10;

/// Whether a network could be made to this spec.
pub fn validate_network_spec(spec: &NetworkSpec) -> Validated {
    if spec.ingress && spec.attachable {
        return refuse("ingress network cannot be attachable");
    }
    validate_service_name(spec.annotations.as_ref())?;
    let bytes = spec.encoded_len();
    if bytes > MAX_SPEC_BYTES {
        return refuse(format!(
            "network spec of {bytes} bytes is larger than {MAX_SPEC_BYTES} bytes"
        ));
    }
    if let Some(driver) = &spec.driver_config
        && driver.name.is_empty()
        && !driver.options.is_empty()
    {
        return refuse("driver name: cannot be empty");
    }
    validate_ipam(spec.ipam.as_ref())
}

fn validate_ipam(ipam: Option<&IpamOptions>) -> Validated {
    let Some(ipam) = ipam else { return Ok(()) };
    ipam.configs.iter().try_for_each(validate_pool)
}

fn validate_pool(pool: &IpamConfig) -> Validated {
    let Some(subnet) = Prefix::parse(&pool.subnet) else {
        return refuse(format!(
            "ipam configuration: invalid subnet {}",
            pool.subnet
        ));
    };
    if !pool.range.is_empty() {
        let Some(range) = Prefix::parse(&pool.range) else {
            return refuse(format!("ipam configuration: invalid range {}", pool.range));
        };
        if !subnet.contains(range.address) {
            return refuse(format!(
                "ipam configuration: subnet {} does not contain range {}",
                pool.subnet, pool.range
            ));
        }
    }
    if !pool.gateway.is_empty() {
        let Ok(gateway) = pool.gateway.parse::<IpAddr>() else {
            return refuse(format!(
                "ipam configuration: invalid gateway {}",
                pool.gateway
            ));
        };
        if !subnet.contains(gateway) {
            return refuse(format!(
                "ipam configuration: subnet {} does not contain gateway {}",
                pool.subnet, pool.gateway
            ));
        }
    }
    Ok(())
}

/// An address with a prefix length.
struct Prefix {
    address: IpAddr,
    length: u32,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Self { address, length })
    }

    fn contains(&self, other: IpAddr) -> bool {
        let (own, other, width) = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let host_bits = width - self.length;
        own.checked_shr(host_bits).unwrap_or(0) == other.checked_shr(host_bits).unwrap_or(0)
    }
}
