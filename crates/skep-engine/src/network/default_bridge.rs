//! The network `bridge`: kept from run to run, and what the daemon's flags say in this one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use skep_net::{Cidr, ExistingBridge};
use skep_objects::api::network as api;
use skep_objects::ids::new_hex_id;

use super::create::with_gateway;
use super::record::NetworkRecord;
use super::{Networks, pools, refused};
use crate::config::{DefaultBridge, EngineConfig};
use crate::container::RunState;
use crate::error::{EngineError, Result};
use crate::timestamp;

impl Networks {
    /// Makes the default bridge where it is missing, and another of it where the flags are others
    /// than it was made for. A network that cannot be had costs its containers, not the daemon.
    pub(super) fn make_default_bridge(&self) {
        if let Err(error) = self.follow_flags() {
            tracing::error!(%error, "default bridge not set up as the flags say");
        }
    }

    fn follow_flags(&self) -> Result<()> {
        let wanted = &self.0.config.default_bridge;
        let mut all = self.state().by_id.clone().into_values();
        let old = all.find(|network| network.is_default_bridge());
        // `--bridge none` is for who wants no default network.
        if wanted.name == "none" {
            if let Some(old) = old {
                let path = self.0.dir.join(format!("{}.json", old.id));
                std::fs::remove_file(&path).map_err(EngineError::io("remove", path))?;
                self.state().by_id.remove(&old.id);
            }
            return Ok(());
        }
        let found = self.found(wanted)?;
        let flags = format!("{wanted:?}");
        let is_same = |old: &NetworkRecord| old.made_for == flags && is_at(old, found.as_ref());
        if old.as_deref().is_some_and(is_same) || self.has_containers(&old)? {
            return Ok(());
        }
        let record = NetworkRecord {
            made_for: flags,
            ..self.default_bridge(old.as_deref(), found.as_ref())?
        };
        record.save(&self.0.dir)?;
        self.state()
            .by_id
            .insert(record.id.clone(), Arc::new(record));
        Ok(())
    }

    /// The bridge that `--bridge` names, where somebody else made it.
    fn found(&self, wanted: &DefaultBridge) -> Result<Option<ExistingBridge>> {
        if wanted.name == DefaultBridge::default().name {
            return Ok(None);
        }
        let found = self.0.net.existing_bridge(&wanted.name);
        let found = found.map_err(|error| refused("look at the default bridge", &error))?;
        Ok(found.filter(|bridge| !bridge.is_own))
    }

    /// Whether containers run on the default bridge: it stays as it is, as with dockerd.
    fn has_containers(&self, old: &Option<Arc<NetworkRecord>>) -> Result<bool> {
        let Some(old) = old else { return Ok(false) };
        let bridge = self.0.net.existing_bridge(&old.bridge);
        let bridge = bridge.map_err(|error| refused("look at the default bridge", &error))?;
        let joined = bridge.map(|bridge| bridge.endpoints).unwrap_or_default();
        let runs = !joined.is_empty()
            && live_endpoints(&self.0.config)?
                .iter()
                .any(|id| joined.contains(id));
        if runs {
            tracing::warn!(
                "there are running containers, updated network configuration will not take affect"
            );
        }
        Ok(runs)
    }

    /// The default bridge as the flags say, with the id and, where they say nothing, the subnets of
    /// the one before.
    fn default_bridge(
        &self,
        old: Option<&NetworkRecord>,
        found: Option<&ExistingBridge>,
    ) -> Result<NetworkRecord> {
        let wanted = &self.0.config.default_bridge;
        let has = |v4: bool| {
            let mut addresses = found.into_iter().flat_map(|found| &found.addresses);
            addresses
                .find(|address| address.is_ipv4() == v4)
                .map(of_gateway)
        };
        let mut ipam = vec![self.subnet(wanted, has(true).or_else(|| kept(old, true)))?];
        if wanted.ipv6 {
            ipam.push(subnet_v6(wanted, has(false).or_else(|| kept(old, false)))?);
        }
        let bridge = match old {
            // Another engine may have had the usual name when this network was made.
            Some(old) if wanted.name == DefaultBridge::default().name => old.bridge.clone(),
            _ => wanted.name.clone(),
        };
        let publish = wanted.publish_address.map(|ip| ip.to_string());
        let mtu = if wanted.mtu == 0 { 1500 } else { wanted.mtu };
        let options = [
            ("bridge.default_bridge", "true".to_owned()),
            ("bridge.enable_icc", wanted.icc.to_string()),
            ("bridge.enable_ip_masquerade", wanted.masquerade.to_string()),
            (
                "bridge.host_binding_ipv4",
                publish.unwrap_or_else(|| "0.0.0.0".to_owned()),
            ),
            ("bridge.name", bridge.clone()),
            ("driver.mtu", mtu.to_string()),
        ]
        .map(|(key, value)| (format!("com.docker.network.{key}"), value));
        Ok(NetworkRecord {
            id: old.map_or_else(new_hex_id, |old| old.id.clone()),
            name: "bridge".to_owned(),
            created: old.map_or_else(
                || timestamp::text(SystemTime::now()),
                |old| old.created.clone(),
            ),
            driver: "bridge".to_owned(),
            enable_ipv6: wanted.ipv6,
            ipam: api::Ipam {
                driver: "default".to_owned(),
                options: None,
                config: Some(ipam),
            },
            options: Some(options.into_iter().collect()),
            bridge,
            ..NetworkRecord::default()
        })
    }

    fn subnet(
        &self,
        wanted: &DefaultBridge,
        kept: Option<api::IpamConfig>,
    ) -> Result<api::IpamConfig> {
        let config = match (&wanted.address, kept) {
            (Some(address), _) => of_address("bip", address)?,
            (None, Some(kept)) => kept,
            (None, None) => {
                let range = wanted.range.as_deref().map(parse("fixed-cidr"));
                match range.transpose()? {
                    // As large as the range at least.
                    Some(range) => {
                        with_gateway(Cidr::new(range.addr, range.prefix.min(16)).network())
                    }
                    None => {
                        let mut hidden = self.subnets_taken();
                        hidden.extend(pools::host_routes());
                        with_gateway(pools::choose(
                            &self.0.config.default_address_pools,
                            &hidden,
                        )?)
                    }
                }
            }
        };
        completed(
            config,
            ("fixed-cidr", wanted.range.as_deref()),
            ("default-gateway", wanted.gateway, "DefaultGatewayIPv4"),
        )
    }
}

/// Endpoints of the containers that live, as a daemon that starts finds them before it has read all
/// the rest.
fn live_endpoints(config: &EngineConfig) -> Result<Vec<String>> {
    let root = config.data_root.join("containers");
    let bundles = config.exec_root.join("containers");
    let entries = match std::fs::read_dir(&root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(EngineError::io("read", &root))?,
    };
    let mut out = Vec::new();
    for entry in entries.flatten() {
        let bundle = bundles.join(entry.file_name());
        if skep_runtime::shim::connect(&bundle).is_ok() {
            let state = RunState::load(&entry.path(), &bundle);
            let endpoints = state.endpoints.into_values();
            out.extend(endpoints.map(|endpoint| endpoint.endpoint_id));
        }
    }
    Ok(out)
}

fn subnet_v6(wanted: &DefaultBridge, kept: Option<api::IpamConfig>) -> Result<api::IpamConfig> {
    let mut range = wanted.range_v6.as_deref();
    let config = match (&wanted.address_v6, range, kept) {
        (Some(address), _, _) => of_address("bip6", address)?,
        // Alone, it is the whole subnet.
        (None, Some(subnet), _) => {
            range = None;
            with_gateway(parse("fixed-cidr-v6")(subnet)?.network())
        }
        (None, None, Some(kept)) => kept,
        (None, None, None) => with_gateway(pools::choose_v6()),
    };
    completed(
        config,
        ("fixed-cidr-v6", range),
        (
            "default-gateway-v6",
            wanted.gateway_v6,
            "DefaultGatewayIPv6",
        ),
    )
}

/// Subnet and gateway of the bridge before.
fn kept(old: Option<&NetworkRecord>, v4: bool) -> Option<api::IpamConfig> {
    let mut configs = old?.ipam.config.iter().flatten();
    let found = configs.find(|config| config.subnet.contains(':') != v4)?;
    Some(api::IpamConfig {
        subnet: found.subnet.clone(),
        gateway: found.gateway.clone(),
        ..api::IpamConfig::default()
    })
}

/// Whether somebody else's bridge is still where the network is: it has none but the network's own
/// address, or that among its.
fn is_at(network: &NetworkRecord, found: Option<&ExistingBridge>) -> bool {
    let Some(found) = found.filter(|found| !found.addresses.is_empty()) else {
        return true;
    };
    let gateways: Vec<String> = [true, false]
        .into_iter()
        .filter_map(|v4| kept(Some(network), v4))
        .map(|config| config.gateway)
        .collect();
    let mut addresses = found.addresses.iter();
    addresses.any(|address| gateways.contains(&address.addr.to_string()))
}

fn parse(flag: &'static str) -> impl Fn(&str) -> Result<Cidr> {
    move |text| {
        text.parse()
            .map_err(|_| EngineError::invalid(format!("invalid --{flag}: {text:?}")))
    }
}

/// `172.17.0.1/16`: the bridge's address and its subnet.
fn of_address(flag: &'static str, text: &str) -> Result<api::IpamConfig> {
    Ok(of_gateway(&parse(flag)(text)?))
}

fn of_gateway(gateway: &Cidr) -> api::IpamConfig {
    api::IpamConfig {
        subnet: gateway.network().to_string(),
        gateway: gateway.addr.to_string(),
        ..api::IpamConfig::default()
    }
}

/// With the range of addresses that are given out, and the containers' way out.
fn completed(
    mut config: api::IpamConfig,
    (flag, range): (&'static str, Option<&str>),
    (gateway_flag, gateway, name): (&'static str, Option<IpAddr>, &str),
) -> Result<api::IpamConfig> {
    let subnet = parse("bip")(&config.subnet)?;
    if let Some(range) = range {
        let range = parse(flag)(range)?.network();
        if !subnet.contains(range.addr) || range.prefix < subnet.prefix {
            return Err(EngineError::invalid(format!(
                "--{flag} {range} is not within the bridge's subnet {subnet}"
            )));
        }
        config.ip_range = range.to_string();
    }
    if let Some(gateway) = gateway {
        if !subnet.contains(gateway) {
            return Err(EngineError::invalid(format!(
                "--{gateway_flag} {gateway} is not within the bridge's subnet {subnet}"
            )));
        }
        let named = BTreeMap::from([(name.to_owned(), gateway.to_string())]);
        config.aux_address = Some(named);
    }
    Ok(config)
}
