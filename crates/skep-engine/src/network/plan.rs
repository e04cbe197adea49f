//! What a request for a local network comes to: checked, completed, nothing made yet.

use std::time::SystemTime;

use skep_net::Cidr;
use skep_objects::ErrorKind;
use skep_objects::api::network as api;
use skep_objects::ids::new_hex_id;

use super::addresses::first_host;
use super::create::with_gateway;
use super::record::NetworkRecord;
use super::{Networks, options, pools};
use crate::error::{EngineError, Result};
use crate::timestamp;

impl Networks {
    /// Checks a request and turns it into a record without addresses.
    pub(super) fn plan(&self, request: api::NetworkCreate) -> Result<NetworkRecord> {
        let name = request.name;
        if name.is_empty() {
            return Err(EngineError::invalid("invalid name: name is empty"));
        }
        if matches!(name.as_str(), "bridge" | "host" | "none" | "default") {
            return Err(EngineError::not_allowed(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        let driver = if request.driver.is_empty() {
            "bridge".to_owned()
        } else {
            request.driver
        };
        match driver.as_str() {
            "bridge" | "macvlan" | "ipvlan" => {}
            "host" | "null" | "none" => {
                return Err(EngineError::not_allowed(format!(
                    "only one instance of \"{driver}\" network is allowed"
                )));
            }
            "overlay" => {
                return Err(EngineError::refused(
                    ErrorKind::Unavailable,
                    "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
                ));
            }
            _ => {
                return Err(EngineError::not_found(format!(
                    "could not resolve driver {driver} in registry: plugin \"{driver}\" not found"
                )));
            }
        }
        let id = new_hex_id();
        let mut options = request.options.unwrap_or_default();
        let defaults = self.0.config.default_network_opts.get(&driver);
        // A configuration that others take is left as it was given.
        let from = request.config_from.as_ref();
        if !request.config_only && from.is_none_or(|from| from.network.is_empty()) {
            for (key, value) in defaults.into_iter().flatten() {
                options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let bridge = options.get("com.docker.network.bridge.name").cloned();
        let record = NetworkRecord {
            bridge: bridge.unwrap_or_else(|| format!("br-{}", &id[..12])),
            id,
            name,
            created: timestamp::text(SystemTime::now()),
            driver,
            no_ipv4: request.enable_ipv4 == Some(false),
            enable_ipv6: request.enable_ipv6.unwrap_or(false),
            internal: request.internal,
            attachable: request.attachable,
            config_only: request.config_only,
            config_from: request.config_from.unwrap_or_default().network,
            ipam: request.ipam.unwrap_or_default(),
            options: Some(options),
            labels: Some(request.labels.unwrap_or_default()),
            ..NetworkRecord::default()
        };
        let record = self.configured(record)?;
        check_options(&record)?;
        Ok(record)
    }

    /// A network of only a configuration has no driver; one that names such a network takes all from it.
    fn configured(&self, mut record: NetworkRecord) -> Result<NetworkRecord> {
        if record.config_only {
            if !record.config_from.is_empty() {
                return Err(EngineError::invalid(
                    "a configuration network cannot depend on another configuration network",
                ));
            }
            "null".clone_into(&mut record.driver);
            return Ok(record);
        }
        if record.config_from.is_empty() {
            return Ok(record);
        }
        let source = self.find(&record.config_from).map_err(|_| {
            EngineError::not_found(format!(
                "configuration network {:?} does not exist",
                record.config_from
            ))
        })?;
        if !source.config_only {
            return Err(EngineError::invalid(format!(
                "{:?} is not a configuration network",
                source.name
            )));
        }
        let has_own = record
            .options
            .as_ref()
            .is_some_and(|options| !options.is_empty())
            || record
                .ipam
                .config
                .as_ref()
                .is_some_and(|configs| !configs.is_empty())
            || record.enable_ipv6
            || record.internal;
        if has_own {
            return Err(EngineError::invalid(
                "user supplied configurations are not supported if the network depends on a configuration network",
            ));
        }
        record.config_from.clone_from(&source.name);
        record.ipam = source.ipam.clone();
        record.options = source.options.clone();
        record.no_ipv4 = source.no_ipv4;
        record.enable_ipv6 = source.enable_ipv6;
        record.internal = source.internal;
        if let Some(bridge) = record.option("com.docker.network.bridge.name") {
            record.bridge = bridge.to_owned();
        }
        Ok(record)
    }

    /// Checks the subnets asked for, and chooses where none is.
    pub(super) fn settle_addresses(&self, record: &mut NetworkRecord) -> Result<()> {
        if !matches!(record.ipam.driver.as_str(), "" | "default") {
            return Err(EngineError::not_found(format!(
                "could not resolve driver {0} in registry: plugin \"{0}\" not found",
                record.ipam.driver
            )));
        }
        "default".clone_into(&mut record.ipam.driver);
        if record.config_only {
            return Ok(());
        }
        let taken = self.subnets_taken();
        let configs = record.ipam.config.get_or_insert_default();
        configs.retain(|config| *config != api::IpamConfig::default());
        for config in configs.iter_mut() {
            settle(config, &taken)?;
        }
        let has = |configs: &[api::IpamConfig], v6: bool| {
            configs
                .iter()
                .any(|config| config.subnet.contains(':') == v6)
        };
        if !record.no_ipv4 && !has(configs, false) {
            let mut hidden = taken.clone();
            hidden.extend(pools::host_routes());
            let subnet = pools::choose(&self.0.config.default_address_pools, &hidden)?;
            record.chosen_subnets.push(subnet.to_string());
            configs.insert(0, with_gateway(subnet));
        }
        let of_family = |v6: bool| {
            let same = configs.iter().filter(|it| it.subnet.contains(':') == v6);
            same.count()
        };
        if record.driver == "bridge" && (of_family(false) > 1 || of_family(true) > 1) {
            return Err(EngineError::not_allowed(
                "bridge driver doesn't support multiple subnets",
            ));
        }
        if record.no_ipv4 && has(configs, false) {
            return Err(EngineError::invalid(
                "invalid network config:\nIPv4 subnets are not allowed: IPv4 is not enabled",
            ));
        }
        if record.no_ipv4 && !record.enable_ipv6 {
            return Err(EngineError::invalid("IPv4 or IPv6 must be enabled"));
        }
        if record.enable_ipv6 && !has(configs, true) {
            let subnet = pools::choose_v6();
            record.chosen_subnets.push(subnet.to_string());
            configs.push(with_gateway(subnet));
        }
        Ok(())
    }
}

/// Refuses values of options that mean nothing to the driver.
fn check_options(record: &NetworkRecord) -> Result<()> {
    match record.driver.as_str() {
        "bridge" => options::BridgeOptions::parse(record).map(drop),
        "macvlan" | "ipvlan" => options::wire(record).map(drop),
        _ => Ok(()),
    }
}

/// Checks one subnet asked for; fills in its gateway.
fn settle(config: &mut api::IpamConfig, taken: &[Cidr]) -> Result<()> {
    let bad = |text: String| EngineError::invalid(format!("invalid network config:\n{text}"));
    let subnet: Cidr = config.subnet.parse().map_err(|_| {
        bad(format!(
            "invalid subnet {}: invalid CIDR block notation",
            config.subnet
        ))
    })?;
    if subnet.network() != subnet {
        return Err(bad(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.network()
        )));
    }
    if !config.ip_range.is_empty() {
        let range: Cidr = config.ip_range.parse().map_err(|_| {
            bad(format!(
                "invalid ip-range {}: invalid CIDR block notation",
                config.ip_range
            ))
        })?;
        if !subnet.contains(range.addr) || range.prefix < subnet.prefix {
            return Err(bad(format!(
                "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
            )));
        }
    }
    if config.gateway.is_empty() {
        config.gateway = first_host(subnet)
            .map(|ip| ip.to_string())
            .unwrap_or_default();
    }
    let gateway = config
        .gateway
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let addresses = config
        .aux_address
        .iter()
        .flatten()
        .map(|(_, ip)| ("auxiliary address", ip));
    for (what, ip) in addresses.chain([("gateway", &gateway)]) {
        match ip.parse() {
            Ok(ip) if subnet.contains(ip) => {}
            Ok(ip) => {
                return Err(bad(format!(
                    "invalid {what} {ip}: parent subnet {subnet} doesn't contain {what}"
                )));
            }
            Err(_) => return Err(bad(format!("invalid {what} {ip}: invalid address"))),
        }
    }
    if taken.iter().any(|other| other.overlaps(&subnet)) {
        return Err(EngineError::not_allowed(
            "invalid pool request: Pool overlaps with other one on this address space",
        ));
    }
    Ok(())
}
