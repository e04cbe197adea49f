//! Making and removing local networks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use skep_net::Cidr;
use skep_objects::ErrorKind;
use skep_objects::api::network as api;
use skep_objects::ids::new_hex_id;

use super::addresses::first_host;
use super::record::NetworkRecord;
use super::{GATEWAY_BRIDGE, Networks, pools};
use crate::error::{EngineError, Result};
use crate::timestamp;

impl Networks {
    /// Makes a local network. Swarm networks are made through the manager.
    ///
    /// # Errors
    /// The name is taken, or the subnets are not valid.
    pub async fn create(&self, request: api::NetworkCreate) -> Result<api::NetworkCreateResponse> {
        let _changes = self.0.changes.lock().await;
        let mut record = self.plan(request)?;
        if self
            .state()
            .by_id
            .values()
            .any(|other| other.name == record.name)
        {
            return Err(EngineError::conflict(format!(
                "network with name {} already exists",
                record.name
            )));
        }
        self.settle_addresses(&mut record)?;
        self.add(record.clone()).await?;
        self.publish("create", &record, None);
        Ok(api::NetworkCreateResponse {
            id: record.id,
            warning: String::new(),
        })
    }

    /// Checks a request and turns it into a record without addresses.
    fn plan(&self, request: api::NetworkCreate) -> Result<NetworkRecord> {
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
        if request.enable_ipv4 == Some(false) {
            return Err(EngineError::NotSupported(
                "a network without IPv4".to_owned(),
            ));
        }
        match driver.as_str() {
            "bridge" => {}
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
            "macvlan" | "ipvlan" => {
                return Err(EngineError::NotSupported(format!(
                    "network driver {driver}"
                )));
            }
            _ => {
                return Err(EngineError::not_found(format!(
                    "could not resolve driver {driver} in registry: plugin \"{driver}\" not found"
                )));
            }
        }
        let id = new_hex_id();
        let options = request.options.unwrap_or_default();
        let bridge = options.get("com.docker.network.bridge.name").cloned();
        Ok(NetworkRecord {
            bridge: bridge.unwrap_or_else(|| format!("br-{}", &id[..12])),
            id,
            name,
            created: timestamp::text(SystemTime::now()),
            driver,
            enable_ipv6: request.enable_ipv6.unwrap_or(false),
            internal: request.internal,
            attachable: request.attachable,
            config_only: request.config_only,
            config_from: request.config_from.unwrap_or_default().network,
            ipam: request.ipam.unwrap_or_default(),
            options: Some(options),
            labels: Some(request.labels.unwrap_or_default()),
            ..NetworkRecord::default()
        })
    }

    /// Checks the subnets asked for, and chooses where none is.
    fn settle_addresses(&self, record: &mut NetworkRecord) -> Result<()> {
        if !matches!(record.ipam.driver.as_str(), "" | "default") {
            return Err(EngineError::not_found(format!(
                "could not resolve driver {0} in registry: plugin \"{0}\" not found",
                record.ipam.driver
            )));
        }
        "default".clone_into(&mut record.ipam.driver);
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
        if !has(configs, false) {
            let mut hidden = taken.clone();
            hidden.extend(pools::host_routes());
            let subnet = pools::choose(&self.0.config.default_address_pools, &hidden)?;
            configs.insert(0, with_gateway(subnet));
        }
        if record.enable_ipv6 && !has(configs, true) {
            configs.push(with_gateway(pools::choose_v6()));
        }
        Ok(())
    }

    fn subnets_taken(&self) -> Vec<Cidr> {
        let state = self.state();
        let local = state.by_id.values().filter(|network| !network.swarm);
        local
            .flat_map(|network| network.subnets())
            .map(|subnet| subnet.subnet)
            .collect()
    }

    /// Makes a network in the kernel and on disk.
    async fn add(&self, record: NetworkRecord) -> Result<()> {
        if !record.config_only {
            self.ensure_in_kernel(&record).await?;
        }
        record.save(&self.0.dir)?;
        self.state()
            .by_id
            .insert(record.id.clone(), Arc::new(record));
        Ok(())
    }

    /// Removes a network.
    ///
    /// # Errors
    /// It is predefined or has endpoints.
    pub async fn remove(&self, reference: &str) -> Result<()> {
        let _changes = self.0.changes.lock().await;
        let network = self.find(reference)?;
        if network.is_predefined() {
            return Err(EngineError::not_allowed(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        if network.swarm {
            return self.remove_swarm_network(&network.id).await;
        }
        self.remove_local(&network).await
    }

    /// Removes a local network that nobody is on; the lock on changes is held.
    pub(super) async fn remove_local(&self, network: &NetworkRecord) -> Result<()> {
        if let Some(members) = self
            .state()
            .members
            .get(&network.id)
            .filter(|members| !members.is_empty())
        {
            let names: Vec<String> = members
                .values()
                .map(|member| {
                    format!(
                        "name:\"{}\" id:\"{}\"",
                        member.name,
                        &member.endpoint_id[..12.min(member.endpoint_id.len())]
                    )
                })
                .collect();
            return Err(EngineError::not_allowed(format!(
                "error while removing network: network {} has active endpoints ({})",
                network.name,
                names.join(", ")
            )));
        }
        let id = network.id.clone();
        self.kernel(&format!("remove network {}", network.name), move |net| {
            net.remove_bridge(&id)
        })
        .await?;
        let path = self.0.dir.join(format!("{}.json", network.id));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EngineError::io("remove", path)(error));
            }
            _ => {}
        }
        let mut state = self.state();
        state.by_id.remove(&network.id);
        state.members.remove(&network.id);
        state.addresses.forget(&network.id);
        drop(state);
        self.publish("destroy", network, None);
        Ok(())
    }

    /// Makes `none`, `host` and `bridge` where they are missing, and puts all in the kernel.
    pub(super) async fn make_predefined(&self) -> Result<()> {
        for (name, driver) in [("none", "null"), ("host", "host")] {
            if !self.has(name) {
                let record = NetworkRecord {
                    id: new_hex_id(),
                    name: name.to_owned(),
                    created: timestamp::text(SystemTime::now()),
                    driver: driver.to_owned(),
                    ..NetworkRecord::default()
                };
                self.add(record).await?;
            }
        }
        // `--bridge none` is for who wants no default network.
        if !self.has("bridge") && self.0.config.bridge != "none" {
            match self.default_bridge() {
                Ok(record) => {
                    record.save(&self.0.dir)?;
                    let mut state = self.state();
                    state.by_id.insert(record.id.clone(), Arc::new(record));
                }
                Err(error) => tracing::warn!(%error, "no default bridge"),
            }
        }
        let local: Vec<Arc<NetworkRecord>> = self
            .state()
            .by_id
            .values()
            .filter(|n| !n.config_only)
            .cloned()
            .collect();
        for network in local {
            // A network that cannot be had costs its containers, not the daemon.
            if let Err(error) = self.ensure_or_rename(&network).await {
                tracing::warn!(network.name = %network.name, %error, "network is not in the kernel");
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.state()
            .by_id
            .values()
            .any(|network| network.name == name && !network.swarm)
    }

    /// Takes another interface where somebody else has the one of this name: several engines share
    /// a host.
    async fn ensure_or_rename(&self, network: &NetworkRecord) -> Result<()> {
        match self.ensure_in_kernel(network).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let bridge = format!("br-{}", &network.id[..12]);
                let mut other = NetworkRecord {
                    bridge: bridge.clone(),
                    ..network.clone()
                };
                if other.is_default_bridge() {
                    // Whoever has docker0 most likely has its subnet too.
                    let mut hidden = self.subnets_taken();
                    hidden.extend(pools::host_routes());
                    hidden
                        .retain(|subnet| !other.subnets().iter().any(|own| own.subnet == *subnet));
                    hidden.extend(pools::host_routes());
                    let subnet = pools::choose(&self.0.config.default_address_pools, &hidden)?;
                    other.ipam.config = Some(vec![with_gateway(subnet)]);
                }
                let options = other.options.get_or_insert_default();
                options.insert("com.docker.network.bridge.name".to_owned(), bridge);
                self.ensure_in_kernel(&other).await?;
                other.save(&self.0.dir)?;
                self.state().by_id.insert(other.id.clone(), Arc::new(other));
                Ok(())
            }
            result => result,
        }
    }

    fn default_bridge(&self) -> Result<NetworkRecord> {
        let config = &self.0.config;
        let ipam = match &config.bip {
            Some(bip) => {
                let gateway: Cidr = bip
                    .parse()
                    .map_err(|_| EngineError::invalid(format!("invalid bip: {bip}")))?;
                api::IpamConfig {
                    subnet: gateway.network().to_string(),
                    gateway: gateway.addr.to_string(),
                    ..api::IpamConfig::default()
                }
            }
            None => {
                let mut hidden = self.subnets_taken();
                hidden.extend(pools::host_routes());
                with_gateway(pools::choose(&config.default_address_pools, &hidden)?)
            }
        };
        let mtu = if config.mtu == 0 { 1500 } else { config.mtu };
        let options = [
            ("default_bridge", "true"),
            ("enable_icc", "true"),
            ("enable_ip_masquerade", "true"),
            ("host_binding_ipv4", "0.0.0.0"),
            ("name", &config.bridge),
        ]
        .map(|(key, value)| (format!("com.docker.network.bridge.{key}"), value.to_owned()));
        let mut options: BTreeMap<String, String> = options.into_iter().collect();
        options.insert("com.docker.network.driver.mtu".to_owned(), mtu.to_string());
        Ok(NetworkRecord {
            id: new_hex_id(),
            name: "bridge".to_owned(),
            created: timestamp::text(SystemTime::now()),
            driver: "bridge".to_owned(),
            ipam: api::Ipam {
                driver: "default".to_owned(),
                options: None,
                config: Some(vec![ipam]),
            },
            options: Some(options),
            bridge: config.bridge.clone(),
            ..NetworkRecord::default()
        })
    }

    /// Makes the network through which containers on swarm networks reach the outside.
    pub(super) async fn make_gateway_bridge(&self) -> Result<Arc<NetworkRecord>> {
        let _changes = self.0.changes.lock().await;
        if let Ok(network) = self.find(GATEWAY_BRIDGE) {
            self.ensure_or_rename(&network).await?;
            return self.find(GATEWAY_BRIDGE);
        }
        let options = [
            ("enable_icc", "false"),
            ("enable_ip_masquerade", "true"),
            ("name", GATEWAY_BRIDGE),
        ]
        .map(|(key, value)| (format!("com.docker.network.bridge.{key}"), value.to_owned()));
        let mut record = NetworkRecord {
            id: new_hex_id(),
            name: GATEWAY_BRIDGE.to_owned(),
            created: timestamp::text(SystemTime::now()),
            driver: "bridge".to_owned(),
            options: Some(options.into_iter().collect()),
            bridge: GATEWAY_BRIDGE.to_owned(),
            ..NetworkRecord::default()
        };
        self.settle_addresses(&mut record)?;
        record.save(&self.0.dir)?;
        self.state()
            .by_id
            .insert(record.id.clone(), Arc::new(record.clone()));
        self.ensure_or_rename(&record).await?;
        self.publish("create", &record, None);
        self.find(GATEWAY_BRIDGE)
    }
}

fn with_gateway(subnet: Cidr) -> api::IpamConfig {
    api::IpamConfig {
        subnet: subnet.to_string(),
        gateway: first_host(subnet)
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        ..api::IpamConfig::default()
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
