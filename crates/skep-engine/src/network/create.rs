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
use super::{GATEWAY_BRIDGE, Networks, options, pools};
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
        let none = BTreeMap::new();
        Ok(api::NetworkCreateResponse {
            warning: options::unknown(&record.driver, record.options.as_ref().unwrap_or(&none)),
            id: record.id,
        })
    }

    /// A network whose configuration is that of `name`.
    fn user_of(&self, name: &str) -> Option<String> {
        let state = self.state();
        let user = state.by_id.values().find(|other| other.config_from == name);
        user.map(|other| other.name.clone())
    }

    pub(super) fn subnets_taken(&self) -> Vec<Cidr> {
        let state = self.state();
        let local = state
            .by_id
            .values()
            .filter(|network| !network.swarm && !network.config_only);
        local
            .flat_map(|network| network.subnets())
            .map(|subnet| subnet.subnet)
            .collect()
    }

    /// Makes a network in the kernel and on disk.
    pub(super) async fn add(&self, record: NetworkRecord) -> Result<()> {
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
        if network.config_only
            && let Some(user) = self.user_of(&network.name)
        {
            return Err(EngineError::not_allowed(format!(
                "configuration network {:?} is in use by network {user:?}",
                network.name
            )));
        }
        let taken_out = self.take_out(network)?;
        if let Err(error) = self.remove_from_host(network).await {
            self.state()
                .by_id
                .extend(taken_out.map(|record| (network.id.clone(), record)));
            return Err(error);
        }
        {
            let mut state = self.state();
            state.members.remove(&network.id);
            state.addresses.forget(&network.id);
        }
        self.publish("destroy", network, None);
        Ok(())
    }

    /// Takes a network that nobody is on out of the others: from then on nobody joins it.
    fn take_out(&self, network: &NetworkRecord) -> Result<Option<Arc<NetworkRecord>>> {
        let mut state = self.state();
        let members = state.members.get(&network.id);
        // Who has an address and is no member yet is about to be one.
        if members.is_some_and(|members| !members.is_empty())
            || state.addresses.is_used(&network.id)
        {
            let members = members.cloned().unwrap_or_default();
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
        Ok(state.by_id.remove(&network.id))
    }

    /// The record goes last: a crash before that leaves a network that can be removed again.
    async fn remove_from_host(&self, network: &NetworkRecord) -> Result<()> {
        let id = network.id.clone();
        self.kernel(&format!("remove network {}", network.name), move |net| {
            net.remove_macvlan(&id)?;
            net.remove_bridge(&id)
        })
        .await?;
        let path = self.0.dir.join(format!("{}.json", network.id));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
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
        self.make_default_bridge();
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

pub(super) fn with_gateway(subnet: Cidr) -> api::IpamConfig {
    api::IpamConfig {
        subnet: subnet.to_string(),
        gateway: first_host(subnet)
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        ..api::IpamConfig::default()
    }
}
