//! A local network's record on disk: `<data root>/networks/<id>.json`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use skep_net::Cidr;
use skep_objects::api::container::StringMap;
use skep_objects::api::network::Ipam;

use crate::container::write_atomically;
use crate::error::{EngineError, Result};

/// A network as skep keeps it, local or of the swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkRecord {
    pub version: u32,
    pub id: String,
    pub name: String,
    pub created: String,
    /// `bridge`, `macvlan`, `ipvlan`, `host`, `null` or `overlay`.
    pub driver: String,
    /// IPv6 only.
    pub no_ipv4: bool,
    pub enable_ipv6: bool,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_only: bool,
    pub config_from: String,
    pub ipam: Ipam,
    /// Those of its subnets that the engine chose, since nobody asked for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen_subnets: Vec<String>,
    pub options: Option<StringMap>,
    pub labels: Option<StringMap>,
    /// The bridge's interface.
    pub bridge: String,
    /// The daemon's flags that the default bridge was made for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub made_for: String,
    /// Comes from the managers and is not on disk.
    #[serde(skip)]
    pub swarm: bool,
    /// Made on this node for the swarm's network of this id: by a driver that knows one host only,
    /// with this host's configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_swarm: bool,
}

impl NetworkRecord {
    /// `local` or `swarm`, as Docker tells it.
    pub(crate) fn scope(&self) -> &'static str {
        if self.swarm || self.of_swarm {
            "swarm"
        } else {
            "local"
        }
    }

    pub(crate) fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(EngineError::io("read", path))?;
        serde_json::from_slice(&bytes).map_err(|source| EngineError::Record {
            path: path.to_owned(),
            source,
        })
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(format!("{}.json", self.id));
        let record = Self {
            version: 1,
            ..self.clone()
        };
        let bytes = serde_json::to_vec(&record).map_err(|source| EngineError::Record {
            path: path.clone(),
            source,
        })?;
        write_atomically(&path, &bytes, true)
    }

    /// Subnets with their gateways.
    pub(crate) fn subnets(&self) -> Vec<Subnet> {
        let parse = |config: &skep_objects::api::network::IpamConfig| {
            let subnet: Cidr = config.subnet.parse().ok()?;
            let named = |name: &str| {
                let mut all = config.aux_address.iter().flatten();
                all.find(|(key, _)| *key == name)
                    .and_then(|(_, ip)| ip.parse().ok())
            };
            let way_out = match subnet.is_ipv4() {
                true => named("DefaultGatewayIPv4"),
                false => named("DefaultGatewayIPv6"),
            };
            Some(Subnet {
                way_out,
                chosen: self.chosen_subnets.contains(&config.subnet),
                subnet: subnet.network(),
                range: config.ip_range.parse().ok(),
                gateway: config
                    .gateway
                    .split('/')
                    .next()
                    .and_then(|ip| ip.parse().ok()),
                reserved: config
                    .aux_address
                    .iter()
                    .flatten()
                    .filter_map(|(_, ip)| ip.parse().ok())
                    .collect(),
            })
        };
        self.ipam
            .config
            .iter()
            .flatten()
            .filter_map(parse)
            .collect()
    }

    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.options
            .as_ref()
            .and_then(|options| options.get(key))
            .map(String::as_str)
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.clone().unwrap_or_default()
    }

    pub(crate) fn is_default_bridge(&self) -> bool {
        self.name == "bridge" && self.driver == "bridge"
    }

    /// Its containers sit on the wire of an interface of the host.
    pub(crate) fn is_wire(&self) -> bool {
        matches!(self.driver.as_str(), "macvlan" | "ipvlan")
    }

    /// The host routes to its containers: they have no neighbours, and no gateway.
    pub(crate) fn is_routed_wire(&self) -> bool {
        self.driver == "ipvlan" && matches!(self.option("ipvlan_mode"), Some("l3" | "l3s"))
    }

    /// Nothing beyond its containers is reached by it.
    pub(crate) fn is_isolated(&self) -> bool {
        let parent = self.option("parent").unwrap_or_default();
        self.internal || (self.is_wire() && parent.is_empty())
    }

    /// One of the three that every host has.
    pub(crate) fn is_predefined(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }

    pub(crate) fn mtu(&self) -> u32 {
        self.option("com.docker.network.driver.mtu")
            .and_then(|mtu| mtu.parse().ok())
            .unwrap_or(0)
    }
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub subnet: Cidr,
    pub range: Option<Cidr>,
    pub gateway: Option<IpAddr>,
    pub reserved: Vec<IpAddr>,
    /// Nobody asked for this one: no container can count on an address of it.
    pub chosen: bool,
    /// Where containers send what is for the outside, when that is not the gateway.
    pub way_out: Option<IpAddr>,
}
