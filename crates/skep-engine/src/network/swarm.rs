//! This host's part of the swarm's networks.

use std::net::IpAddr;
use std::sync::Arc;

use skep_net::{Cidr, IngressSpec, OverlaySpec, OverlaySubnet, SwarmSpec};
use skep_objects::api::network as api;
use skep_objects::{skep_v1, swarmkit};

use super::Networks;
use super::record::NetworkRecord;
use crate::engine::SwarmInfo;
use crate::error::{EngineError, Result};

/// Option of an overlay network: its VXLAN numbers, one a subnet.
const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

impl Networks {
    /// Takes this host into a swarm or out of it.
    pub(crate) async fn set_swarm(&self, swarm: Option<SwarmInfo>) -> Result<()> {
        let spec = match &swarm {
            None => None,
            Some(info) => {
                let addr: IpAddr = info.data_path_addr.parse().map_err(|_| {
                    EngineError::invalid(format!(
                        "invalid data path address: {}",
                        info.data_path_addr
                    ))
                })?;
                let port = if info.data_path_port == 0 {
                    4789
                } else {
                    info.data_path_port
                };
                Some(SwarmSpec {
                    node_id: info.node_id.clone(),
                    data_path_addr: addr,
                    data_path_port: port,
                })
            }
        };
        let leaves = spec.is_none();
        self.mark_member(!leaves)?;
        self.kernel("set the swarm's data path", move |net| net.set_swarm(spec))
            .await?;
        self.state().swarm = swarm;
        if leaves {
            self.forget_swarm().await
        } else {
            self.make_gateway_bridge().await.map(|_| ())
        }
    }

    /// Remembers that this host is a member, for the next daemon: see [`Networks::sweep`].
    fn mark_member(&self, member: bool) -> Result<()> {
        let path = self.0.dir.join("swarm");
        if member {
            return std::fs::write(&path, b"").map_err(EngineError::io("write", path));
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    async fn forget_swarm(&self) -> Result<()> {
        self.kernel("leave the ingress network", skep_net::Net::remove_ingress)
            .await?;
        let ids: Vec<String> = self
            .state()
            .by_id
            .values()
            .filter(|n| n.swarm)
            .map(|n| n.id.clone())
            .collect();
        for id in ids {
            self.drop_swarm_network(&id).await?;
        }
        self.state().node_addresses.clear();
        let gateway = self.find(super::GATEWAY_BRIDGE).ok();
        if let Some(network) = gateway.filter(|network| !self.is_in_use(&network.id)) {
            let _changes = self.0.changes.lock().await;
            self.remove_local(&network).await?;
        }
        Ok(())
    }

    /// Extends a swarm network to this node. Idempotent.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn ensure_swarm_network(&self, network: &swarmkit::Network) -> Result<()> {
        let record = record(network)?;
        let known = self.state().by_id.get(&record.id).cloned();
        if known.as_deref() == Some(&record) {
            return Ok(());
        }
        let spec = overlay(&record);
        self.kernel(&format!("extend network {}", record.name), move |net| {
            net.ensure_overlay(&spec)
        })
        .await?;
        let record = Arc::new(record);
        self.state().by_id.insert(record.id.clone(), record.clone());
        if known.is_none() {
            self.publish("create", &record, None);
            if let Ok(core) = self.core() {
                core.adopt_on(&record).await;
            }
        }
        Ok(())
    }

    /// Makes this host's part of a swarm network whose driver knows one host only: a bridge or
    /// macvlan network with the configuration that this host has under the name the network gives.
    ///
    /// # Errors
    /// There is no such configuration here, or what making a local network meets.
    pub async fn ensure_local_part(&self, network: &swarmkit::Network) -> Result<()> {
        let _changes = self.0.changes.lock().await;
        if self.state().by_id.contains_key(&network.id) {
            return Ok(());
        }
        let mut record = self.plan(local_part(network))?;
        let is_named = |other: &Arc<NetworkRecord>| other.name == record.name;
        if self.state().by_id.values().any(is_named) {
            return Err(EngineError::conflict(format!(
                "network with name {} already exists",
                record.name
            )));
        }
        if record.bridge == format!("br-{}", &record.id[..12]) {
            record.bridge = format!("br-{}", network.id.get(..12).unwrap_or(&network.id));
        }
        record.id.clone_from(&network.id);
        record.of_swarm = true;
        self.settle_addresses(&mut record)?;
        self.add(record.clone()).await?;
        self.publish("create", &record, None);
        Ok(())
    }

    /// Takes a swarm network off this node; refused while containers or the node itself are on it.
    ///
    /// # Errors
    /// It has endpoints.
    pub async fn remove_swarm_network(&self, id: &str) -> Result<()> {
        let local_part = self.state().by_id.get(id).cloned().filter(|n| n.of_swarm);
        if let Some(network) = local_part {
            let _changes = self.0.changes.lock().await;
            return self.remove_local(&network).await;
        }
        // A node serves the mesh's ports with or without tasks of its own.
        // An address of its own on another network keeps nothing there.
        let is_mesh = self
            .swarm_network(id)
            .is_some_and(|network| network.ingress);
        let serves_mesh = is_mesh && self.state().node_addresses.contains_key(id);
        if self.is_in_use(id) || serves_mesh {
            return Err(EngineError::not_allowed(format!(
                "error while removing network: network {id} has active endpoints"
            )));
        }
        self.drop_swarm_network(id).await
    }

    async fn drop_swarm_network(&self, id: &str) -> Result<()> {
        if self.swarm_network(id).is_some_and(|n| n.ingress) {
            self.kernel("leave the ingress network", skep_net::Net::remove_ingress)
                .await?;
        }
        self.forget_overlay(id).await
    }

    fn swarm_network(&self, id: &str) -> Option<Arc<NetworkRecord>> {
        let known = self.state().by_id.get(id).cloned();
        known.filter(|network| network.swarm)
    }

    async fn forget_overlay(&self, id: &str) -> Result<()> {
        let Some(network) = self.swarm_network(id) else {
            return Ok(());
        };
        let owned = id.to_owned();
        self.kernel(&format!("remove network {}", network.name), move |net| {
            net.remove_overlay(&owned)
        })
        .await?;
        let mut state = self.state();
        state.by_id.remove(id);
        state.members.remove(id);
        state.node_addresses.remove(id);
        state.node_endpoints.remove(id);
        drop(state);
        self.publish("destroy", &network, None);
        Ok(())
    }

    /// This node's own address on a network: the ingress network has one for each node.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn set_node_attachment(
        &self,
        attachment: &swarmkit::NetworkAttachment,
    ) -> Result<()> {
        let Some(network) = &attachment.network else {
            return Ok(());
        };
        self.ensure_swarm_network(network).await?;
        let record = self.find(&network.id)?;
        self.state()
            .node_addresses
            .insert(network.id.clone(), attachment.addresses.clone());
        if !record.ingress {
            return Ok(());
        }
        let node_addresses = attachment
            .addresses
            .iter()
            .filter_map(|text| text.parse::<Cidr>().ok())
            .collect();
        let spec = IngressSpec {
            network_id: network.id.clone(),
            node_addresses,
        };
        self.kernel("join the ingress network", move |net| {
            net.ensure_ingress(&spec)
        })
        .await?;
        self.leave_other_ingress(&network.id).await;
        let first = attachment.addresses.first().cloned().unwrap_or_default();
        let mac = first
            .parse::<Cidr>()
            .map(|cidr| skep_net::Mac::from_ip(cidr.addr).to_string())
            .unwrap_or_default();
        let resource = api::EndpointResource {
            name: "ingress-endpoint".to_owned(),
            endpoint_id: String::new(),
            mac_address: mac,
            ipv4_address: first,
            ipv6_address: String::new(),
        };
        // Shown by `network inspect ingress`, but no member that would keep the network.
        self.state().node_endpoint_shown(&network.id, resource);
        Ok(())
    }

    /// There is one ingress network: the node is on the one before it no more.
    async fn leave_other_ingress(&self, current: &str) {
        let is_other = |n: &&Arc<NetworkRecord>| n.swarm && n.ingress && n.id != current;
        let others: Vec<String> = {
            let state = self.state();
            let others = state.by_id.values().filter(is_other);
            others.map(|n| n.id.clone()).collect()
        };
        for id in others {
            let is_left = self.state().leave(&id);
            if !is_left {
                continue;
            }
            if let Err(error) = self.forget_overlay(&id).await {
                tracing::debug!(network.id = %id, %error, "an ingress network of before stays");
            }
        }
    }

    /// Takes over endpoint tables; when this returns the kernel has them.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn apply_endpoints(&self, message: &skep_v1::EndpointsMessage) -> Result<()> {
        let message = message.clone();
        self.kernel("apply endpoint tables", move |net| {
            net.apply_endpoints(&message)
        })
        .await
    }

    /// What works but not wholly, for `info`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0
            .net
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// This node's WireGuard public key; empty without WireGuard.
    #[must_use]
    pub fn wireguard_public_key(&self) -> Vec<u8> {
        self.0.net.wireguard_public_key()
    }

    /// What the managers must know of this node's data path, as engine labels; nothing outside a swarm.
    pub(crate) fn node_labels(&self) -> Vec<(String, String)> {
        use base64::Engine as _;
        let Some(address) = self
            .state()
            .swarm
            .as_ref()
            .map(|swarm| swarm.data_path_addr.clone())
        else {
            return Vec::new();
        };
        let mut labels = vec![(skep_objects::DATA_PATH_LABEL.to_owned(), address)];
        let key = self.wireguard_public_key();
        if !key.is_empty() {
            let key = base64::engine::general_purpose::STANDARD.encode(key);
            labels.push((skep_objects::WIREGUARD_LABEL.to_owned(), key));
        }
        labels
    }
}

impl super::State {
    /// The node itself is not on the network any more; whether nothing else is.
    fn leave(&mut self, network: &str) -> bool {
        self.node_addresses.remove(network);
        self.node_endpoints.remove(network);
        self.members
            .get(network)
            .is_none_or(|members| members.is_empty())
    }

    fn node_endpoint_shown(&mut self, network: &str, resource: api::EndpointResource) {
        self.node_endpoints.insert(network.to_owned(), resource);
    }
}

/// What a host is to make for a swarm network of its own kind.
fn local_part(network: &swarmkit::Network) -> api::NetworkCreate {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let driver = spec.driver_config.unwrap_or_default();
    let config_from = spec.config_from.map(|from| {
        let swarmkit::network_spec::ConfigFrom::Network(network) = from;
        api::ConfigReference { network }
    });
    api::NetworkCreate {
        name: annotations.name,
        driver: driver.name,
        internal: spec.internal,
        attachable: spec.attachable,
        enable_ipv6: Some(spec.ipv6_enabled),
        config_from,
        options: Some(driver.options),
        labels: Some(annotations.labels),
        ..api::NetworkCreate::default()
    }
}

/// The managers' description as a record.
fn record(network: &swarmkit::Network) -> Result<NetworkRecord> {
    let missing = || EngineError::invalid(format!("network {} has no specification", network.id));
    let spec = network.spec.as_ref().ok_or_else(missing)?;
    let annotations = spec.annotations.clone().unwrap_or_default();
    let driver = network
        .driver_state
        .as_ref()
        .or(spec.driver_config.as_ref());
    let config = |config: &swarmkit::IpamConfig| api::IpamConfig {
        subnet: config.subnet.clone(),
        ip_range: config.range.clone(),
        gateway: config.gateway.clone(),
        aux_address: None,
    };
    let configs = network
        .ipam
        .iter()
        .flat_map(|ipam| &ipam.configs)
        .map(config)
        .collect();
    let created = network
        .meta
        .as_ref()
        .and_then(|meta| meta.created_at.as_ref());
    Ok(NetworkRecord {
        id: network.id.clone(),
        name: annotations.name,
        created: skep_objects::api::encode::timestamp(created),
        driver: driver.map_or_else(|| "overlay".to_owned(), |driver| driver.name.clone()),
        enable_ipv6: spec.ipv6_enabled,
        internal: spec.internal,
        attachable: spec.attachable,
        ingress: spec.ingress,
        ipam: api::Ipam {
            driver: "default".to_owned(),
            options: None,
            config: Some(configs),
        },
        options: Some(
            driver
                .map(|driver| driver.options.clone())
                .unwrap_or_default(),
        ),
        labels: Some(annotations.labels),
        swarm: true,
        ..NetworkRecord::default()
    })
}

fn overlay(record: &NetworkRecord) -> OverlaySpec {
    let numbers: Vec<u32> = record
        .option(VXLAN_IDS)
        .unwrap_or_default()
        .split(',')
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    let subnets = record.subnets().into_iter().enumerate();
    OverlaySpec {
        network_id: record.id.clone(),
        name: record.name.clone(),
        subnets: subnets
            .map(|(at, subnet)| OverlaySubnet {
                subnet: subnet.subnet,
                vni: numbers.get(at).or(numbers.last()).copied().unwrap_or(0),
            })
            .collect(),
        underlay_mtu: record.mtu(),
        encrypted: record
            .option("encrypted")
            .is_some_and(|value| value != "false"),
        ingress: record.ingress,
        internal: record.internal,
    }
}
