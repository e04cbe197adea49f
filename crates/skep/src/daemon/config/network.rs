//! The part of the engine's configuration that networks are made by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skep_engine::{AddressPool, DefaultBridge, EngineConfig};

use super::ConfigError;
use super::value::{number, parsed, wrong};
use crate::daemon::flags::Given;

/// What networks and containers get of addresses.
pub(super) fn networking(given: &Given, config: &mut EngineConfig) -> Result<(), ConfigError> {
    config.default_bridge = default_bridge(given)?;
    config.ip_forward = given.flag("ip-forward").unwrap_or(true);
    config.allow_direct_routing = given.flag("allow-direct-routing").unwrap_or(false);
    config.userland_proxy = given.flag("userland-proxy").unwrap_or(true);
    for ip in given.list("host-gateway-ip") {
        let ip = ip
            .parse()
            .map_err(|_| wrong("host-gateway-ip", format!("{ip} is not an ip address")))?;
        config.host_gateway_ips.push(ip);
    }
    for option in given.list("default-network-opt") {
        let mut words = option.splitn(3, '=');
        let (Some(driver), Some(key), Some(value)) = (words.next(), words.next(), words.next())
        else {
            let reason = format!("{option:?} is not driver=key=value");
            return Err(wrong("default-network-opt", reason));
        };
        let options = config.default_network_opts.entry(driver.to_owned());
        options
            .or_default()
            .insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

/// The network of containers that name none.
fn default_bridge(given: &Given) -> Result<DefaultBridge, ConfigError> {
    // Kept as text: the engine tells by it whether something has changed.
    let subnet = |flag: &'static str| {
        let text = given.value(flag).filter(|text| !text.is_empty());
        let good = |text: &String| {
            let (ip, prefix) = text.split_once('/')?;
            let ip: IpAddr = ip.parse().ok()?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let prefix: u8 = prefix.parse().ok()?;
            (prefix <= most && ip.is_ipv6() == flag.ends_with('6')).then_some(())
        };
        match &text {
            Some(given) if good(given).is_none() => {
                Err(wrong(flag, format!("invalid CIDR address: {given}")))
            }
            _ => Ok(text),
        }
    };
    if given.value("bridge").is_some_and(|b| !b.is_empty()) && subnet("bip")?.is_some() {
        let text = "You specified -b & --bip, mutually exclusive options. Please specify only one";
        return Err(wrong("bip", text));
    }
    let address: Option<Ipv4Addr> = parsed(given, "ip", "an IPv4 address")?;
    let gateway: Option<Ipv4Addr> = parsed(given, "default-gateway", "an IPv4 address")?;
    let gateway_v6: Option<Ipv6Addr> = parsed(given, "default-gateway-v6", "an IPv6 address")?;
    let default = DefaultBridge::default();
    Ok(DefaultBridge {
        name: given
            .value("bridge")
            .filter(|bridge| !bridge.is_empty())
            .unwrap_or(default.name),
        address: subnet("bip")?,
        address_v6: subnet("bip6")?,
        ipv6: given.flag("ipv6").unwrap_or(false),
        range: subnet("fixed-cidr")?,
        range_v6: subnet("fixed-cidr-v6")?,
        gateway: gateway.map(IpAddr::V4),
        gateway_v6: gateway_v6.map(IpAddr::V6),
        mtu: number(given, "mtu")?.unwrap_or(default.mtu),
        icc: given.flag("icc").unwrap_or(true),
        masquerade: given.flag("ip-masq").unwrap_or(true),
        publish_address: address.filter(|address| !address.is_unspecified()),
    })
}

/// `base=10.10.0.0/16,size=24`.
pub(super) fn address_pool(text: &str) -> Result<AddressPool, ConfigError> {
    let mut pool = AddressPool {
        base: String::new(),
        size: 0,
    };
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", base)) => pool.base = base.to_owned(),
            Some(("size", size)) => {
                let bad = |_| {
                    wrong(
                        "default-address-pool",
                        format!("invalid size value: {size}"),
                    )
                };
                pool.size = size.parse().map_err(bad)?;
            }
            _ => {
                let reason = format!("invalid option for address pool: {part}");
                return Err(wrong("default-address-pool", reason));
            }
        }
    }
    if pool.base.is_empty() || pool.size == 0 {
        return Err(wrong(
            "default-address-pool",
            format!("{text:?} lacks base or size"),
        ));
    }
    Ok(pool)
}
