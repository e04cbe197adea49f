//! Subnets, VNIs and addresses of the networks.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use skep_objects::swarmkit::{
    Driver, IpamConfig, IpamOptions, Network, ipam_config::AddressFamily,
};

use super::cidr::{Cidr, CidrError};
use super::pools::Pools;
use super::subnet::{AddressError, Subnet};
use super::vni::{self, VXLAN_IDS, VniPool};

const OVERLAY: &str = "overlay";

/// A network could not be given what it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The spec has a subnet, range or gateway that is no address.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// The subnet belongs to another network in part.
    #[error("pool {0} overlaps with other one on this address space")]
    Overlap(Cidr),
    /// No block is left in the default pools.
    #[error("could not find an available, non-overlapping address pool among the defaults")]
    PoolsExhausted,
    /// All VNIs are taken.
    #[error("no VXLAN network identifier is left")]
    VniExhausted,
    /// The gateway or a reserved address cannot be had.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not allocated yet, or gone.
    #[error("network {0} is not allocated")]
    Unknown(String),
}

#[derive(Debug)]
struct NetworkState {
    subnets: Vec<Subnet>,
    vnis: Vec<u32>,
}

/// All networks.
#[derive(Debug)]
pub struct Networks {
    pools: Pools,
    vnis: VniPool,
    networks: HashMap<String, NetworkState>,
}

/// Whether managers give out addresses for the network; else each node does on its own.
#[must_use]
pub fn is_overlay(network: &Network) -> bool {
    let driver = network
        .spec
        .as_ref()
        .and_then(|spec| spec.driver_config.as_ref());
    driver.is_none_or(|driver| matches!(driver.name.as_str(), "" | OVERLAY))
}

/// Whether the network has been allocated.
#[must_use]
pub fn is_allocated(network: &Network) -> bool {
    network.driver_state.is_some()
}

impl Networks {
    /// No networks, and the cluster's pools.
    #[must_use]
    pub fn new(pools: Pools) -> Self {
        Self {
            pools,
            vnis: VniPool::default(),
            networks: HashMap::new(),
        }
    }

    /// The cluster's pools changed.
    pub fn configure(&mut self, pools: &[String], size: u32) {
        self.pools.configure(pools, size);
    }

    /// Whether the network's addresses can be taken.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.networks.contains_key(id)
    }

    /// Takes over a network that was allocated before.
    pub fn restore(&mut self, network: &Network) {
        if !is_overlay(network) || self.knows(&network.id) {
            return;
        }
        let mut state = NetworkState {
            subnets: Vec::new(),
            vnis: Vec::new(),
        };
        for config in network.ipam.iter().flat_map(|ipam| &ipam.configs) {
            let Ok(cidr) = config.subnet.parse::<Cidr>() else {
                continue;
            };
            self.pools.take(&network.id, cidr);
            let mut subnet = Subnet::new(cidr, config.range.parse().ok());
            // Those who reserve take nothing from the sequence, so they go in before it starts.
            for address in config.reserved.values().chain([&config.gateway]) {
                if let Ok(address) = address.parse::<IpAddr>() {
                    let _ = subnet.take(address);
                }
            }
            state.subnets.push(subnet);
        }
        let options = network
            .driver_state
            .iter()
            .flat_map(|driver| driver.options.get(VXLAN_IDS));
        state
            .vnis
            .extend(options.flat_map(|list| vni::parse_list(list)));
        state.vnis.iter().for_each(|vni| self.vnis.take(*vni));
        self.networks.insert(network.id.clone(), state);
    }

    /// Fills in what a new network lacks: driver state, subnets, gateways, VNIs.
    pub fn allocate(&mut self, network: &mut Network) -> Result<(), NetworkError> {
        let spec = network.spec.clone().unwrap_or_default();
        let driver = spec.driver_config.unwrap_or_default();
        if !is_overlay(network) {
            network.driver_state = Some(Driver {
                name: driver.name,
                options: BTreeMap::new(),
            });
            network.ipam = Some(IpamOptions {
                driver: Some(Driver::default()),
                configs: vec![],
            });
            return Ok(());
        }
        let result = self.allocate_overlay(network, &driver, spec.ipam.unwrap_or_default());
        if result.is_err() {
            self.pools.release(&network.id);
        }
        result
    }

    fn allocate_overlay(
        &mut self,
        network: &mut Network,
        driver: &Driver,
        ipam: IpamOptions,
    ) -> Result<(), NetworkError> {
        let mut configs = ipam.configs;
        if configs.iter().all(is_v6) {
            configs.insert(0, IpamConfig::default());
        }
        let wants_v6 = network.spec.as_ref().is_some_and(|spec| spec.ipv6_enabled);
        if wants_v6 && !configs.iter().any(is_v6) {
            configs.push(local_v6(&network.id));
        }
        let mut subnets = Vec::new();
        for config in &mut configs {
            subnets.push(self.allocate_subnet(&network.id, config)?);
        }
        let mut options = driver.options.clone();
        let given = options.get(VXLAN_IDS).map_or("", String::as_str);
        let mut vnis: Vec<u32> = vni::parse_list(given).collect();
        let wanted = configs.iter().filter(|config| !is_v6(config)).count();
        vnis.truncate(wanted);
        vnis.iter().for_each(|vni| self.vnis.take(*vni));
        while vnis.len() < wanted {
            vnis.push(self.vnis.take_next().ok_or(NetworkError::VniExhausted)?);
        }
        let list: Vec<_> = vnis.iter().map(u32::to_string).collect();
        options.insert(VXLAN_IDS.to_owned(), list.join(","));
        network.driver_state = Some(Driver {
            name: OVERLAY.to_owned(),
            options,
        });
        let ipam_driver = ipam.driver.unwrap_or_default();
        let name = if ipam_driver.name.is_empty() {
            "default"
        } else {
            &ipam_driver.name
        };
        network.ipam = Some(IpamOptions {
            driver: Some(Driver {
                name: name.to_owned(),
                options: ipam_driver.options,
            }),
            configs,
        });
        self.networks
            .insert(network.id.clone(), NetworkState { subnets, vnis });
        Ok(())
    }

    fn allocate_subnet(
        &mut self,
        network: &str,
        config: &mut IpamConfig,
    ) -> Result<Subnet, NetworkError> {
        let cidr = if config.subnet.is_empty() {
            self.pools
                .take_next(network)
                .ok_or(NetworkError::PoolsExhausted)?
        } else {
            let cidr = config.subnet.parse::<Cidr>()?.network();
            if !self.pools.take(network, cidr) {
                return Err(NetworkError::Overlap(cidr));
            }
            cidr
        };
        let range = match config.range.as_str() {
            "" => None,
            range => Some(range.parse::<Cidr>()?),
        };
        let address = |text: &str| {
            text.parse::<IpAddr>()
                .map_err(|_| CidrError(text.to_owned()))
        };
        let mut subnet = Subnet::new(cidr, range);
        for reserved in config.reserved.values() {
            subnet.take(address(reserved)?)?;
        }
        let gateway = match config.gateway.as_str() {
            "" => subnet.take_next()?,
            gateway => subnet.take(address(gateway)?)?,
        };
        config.gateway = gateway.address().to_string();
        config.subnet = cidr.to_string();
        let family = if cidr.is_v6() {
            AddressFamily::Ipv6
        } else {
            AddressFamily::Ipv4
        };
        config.family = family.into();
        Ok(subnet)
    }

    /// Frees a network's subnets and VNIs.
    pub fn release(&mut self, id: &str) {
        self.pools.release(id);
        if let Some(state) = self.networks.remove(id) {
            state.vnis.iter().for_each(|vni| self.vnis.release(*vni));
        }
    }

    /// Takes an address in each family that the network has: in IPv4 from the first subnet that
    /// has one, in IPv6 likewise. `wished` ones are taken as they are.
    pub fn take_addresses(
        &mut self,
        id: &str,
        wished: &[String],
    ) -> Result<Vec<String>, NetworkError> {
        let state = self
            .networks
            .get_mut(id)
            .ok_or_else(|| NetworkError::Unknown(id.to_owned()))?;
        let mut taken: Vec<Cidr> = Vec::new();
        let mut take = || -> Result<(), NetworkError> {
            for wish in wished.iter().filter(|wish| !wish.is_empty()) {
                let address = wish.split('/').next().unwrap_or(wish);
                let address = address
                    .parse::<IpAddr>()
                    .map_err(|_| CidrError(wish.to_owned()))?;
                let at = state
                    .subnets
                    .iter()
                    .position(|subnet| {
                        Cidr::new(address, subnet.cidr().prefix())
                            .is_some_and(|address| subnet.contains(address))
                    })
                    .unwrap_or(0);
                if let Some(subnet) = state.subnets.get_mut(at) {
                    taken.push(subnet.take(address)?);
                }
            }
            for v6 in [false, true] {
                if taken.iter().any(|address| address.is_v6() == v6) {
                    continue;
                }
                let mut last_error = None;
                for subnet in state.subnets.iter_mut().filter(|s| s.cidr().is_v6() == v6) {
                    match subnet.take_next() {
                        Ok(address) => {
                            taken.push(address);
                            last_error = None;
                            break;
                        }
                        Err(error) => last_error = Some(error),
                    }
                }
                if let Some(error) = last_error {
                    return Err(error.into());
                }
            }
            Ok(())
        };
        match take() {
            Ok(()) => Ok(taken.iter().map(Cidr::to_string).collect()),
            Err(error) => {
                for address in taken {
                    release_in(&mut state.subnets, address);
                }
                Err(error)
            }
        }
    }

    /// Marks an address of a stored object as taken.
    pub fn restore_address(&mut self, id: &str, address: &str) {
        let (Some(state), Ok(address)) = (self.networks.get_mut(id), address.parse::<Cidr>())
        else {
            return;
        };
        if let Some(subnet) = state
            .subnets
            .iter_mut()
            .find(|subnet| subnet.contains(address))
        {
            subnet.restore(address);
        }
    }

    /// Gives an address back.
    pub fn release_address(&mut self, id: &str, address: &str) {
        if let (Some(state), Ok(address)) = (self.networks.get_mut(id), address.parse::<Cidr>()) {
            release_in(&mut state.subnets, address);
        }
    }
}

fn release_in(subnets: &mut [Subnet], address: Cidr) {
    if let Some(subnet) = subnets.iter_mut().find(|subnet| subnet.contains(address)) {
        subnet.release(address);
    }
}

/// An IPv6 subnet for local use ([RFC 4193](https://www.rfc-editor.org/rfc/rfc4193)), always the
/// same one for the same id.
#[must_use]
pub fn local_v6(id: &str) -> IpamConfig {
    // FNV-1a: ids are random, so 56 bits of any mix of theirs are.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    let prefix = (0xfd_u64 << 56) | (hash >> 8);
    let address = Ipv6Addr::from(u128::from(prefix) << 64);
    IpamConfig {
        family: AddressFamily::Ipv6.into(),
        subnet: format!("{address}/64"),
        ..IpamConfig::default()
    }
}

fn is_v6(config: &IpamConfig) -> bool {
    config.subnet.contains(':') || config.family() == AddressFamily::Ipv6
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::NetworkSpec;

    use super::*;

    fn network(id: &str, spec: NetworkSpec) -> Network {
        Network {
            id: id.into(),
            spec: Some(spec),
            ..Default::default()
        }
    }

    fn networks() -> Networks {
        Networks::new(Pools::new(&[], 0))
    }

    fn config(subnet: &str) -> IpamConfig {
        IpamConfig {
            subnet: subnet.into(),
            ..Default::default()
        }
    }

    fn with_configs(id: &str, configs: Vec<IpamConfig>) -> Network {
        let ipam = Some(IpamOptions {
            configs,
            ..Default::default()
        });
        network(
            id,
            NetworkSpec {
                ipam,
                ..Default::default()
            },
        )
    }

    #[test]
    fn first_network_gets_10_0_0_0_and_vni_4096() {
        let mut networks = networks();
        let mut ingress = network(
            "i",
            NetworkSpec {
                ingress: true,
                ..Default::default()
            },
        );
        networks.allocate(&mut ingress).unwrap();
        let ipam = ingress.ipam.as_ref().unwrap();
        assert_eq!(ipam.driver.as_ref().unwrap().name, "default");
        assert_eq!(ipam.configs[0].subnet, "10.0.0.0/24");
        assert_eq!(ipam.configs[0].gateway, "10.0.0.1");
        assert_eq!(ipam.configs[0].family(), AddressFamily::Ipv4);
        let state = ingress.driver_state.as_ref().unwrap();
        assert_eq!(
            (state.name.as_str(), state.options[VXLAN_IDS].as_str()),
            ("overlay", "4096")
        );
        assert_eq!(networks.take_addresses("i", &[]).unwrap(), ["10.0.0.2/24"]);
    }

    #[test]
    fn node_local_networks_get_a_driver_state_only() {
        let driver_config = Some(Driver {
            name: "host".into(),
            ..Default::default()
        });
        let mut host = network(
            "h",
            NetworkSpec {
                driver_config,
                ..Default::default()
            },
        );
        networks().allocate(&mut host).unwrap();
        assert_eq!(host.driver_state.unwrap().name, "host");
        assert!(host.ipam.unwrap().configs.is_empty());
    }

    #[test]
    fn a_restored_network_goes_on_where_the_old_leader_stopped() {
        let mut before = networks();
        let mut web = with_configs("w", vec![config("10.10.19.0/24"), config("10.10.20.0/24")]);
        before.allocate(&mut web).unwrap();
        let options = &web.driver_state.as_ref().unwrap().options;
        assert_eq!(options[VXLAN_IDS], "4096,4097");
        let taken = before.take_addresses("w", &[]).unwrap();

        let mut after = networks();
        after.restore(&web);
        after.restore_address("w", &taken[0]);
        assert_eq!(after.take_addresses("w", &[]).unwrap(), ["10.10.19.3/24"]);
        let mut other = network("o", NetworkSpec::default());
        after.allocate(&mut other).unwrap();
        assert_eq!(other.driver_state.unwrap().options[VXLAN_IDS], "4098");
    }

    #[test]
    fn overlapping_subnets_are_refused_and_leave_nothing_behind() {
        let mut networks = networks();
        networks
            .allocate(&mut with_configs("a", vec![config("10.9.0.0/16")]))
            .unwrap();
        let mut b = with_configs("b", vec![config("10.8.0.0/24"), config("10.9.5.0/24")]);
        assert!(matches!(
            networks.allocate(&mut b),
            Err(NetworkError::Overlap(_))
        ));
        networks
            .allocate(&mut with_configs("c", vec![config("10.8.0.0/24")]))
            .unwrap();
    }

    #[test]
    fn wished_addresses_are_taken_once() {
        let mut networks = networks();
        networks
            .allocate(&mut with_configs("a", vec![config("10.9.0.0/24")]))
            .unwrap();
        let wish = ["10.9.0.77".to_owned()];
        assert_eq!(
            networks.take_addresses("a", &wish).unwrap(),
            ["10.9.0.77/24"]
        );
        assert!(networks.take_addresses("a", &wish).is_err());
        networks.release_address("a", "10.9.0.77/24");
        assert!(networks.take_addresses("a", &wish).is_ok());
    }

    #[test]
    fn a_network_that_wants_ipv6_gets_a_local_subnet_of_its_own() {
        let wanting = |id: &str| {
            let ipv6_enabled = true;
            let spec = NetworkSpec {
                ipv6_enabled,
                ..Default::default()
            };
            let mut network = network(id, spec);
            networks().allocate(&mut network).unwrap();
            network.ipam.unwrap().configs[1].subnet.clone()
        };
        let (a, b) = (wanting("a"), wanting("b"));
        assert!(a.starts_with("fd") && a.ends_with("::/64"), "{a}");
        assert_eq!(a, wanting("a"));
        assert_ne!(a, b);
    }

    #[test]
    fn both_families_give_an_address_each() {
        let mut networks = networks();
        let mut dual = with_configs("d", vec![config("fd00:1::/64")]);
        networks.allocate(&mut dual).unwrap();
        let addresses = networks.take_addresses("d", &[]).unwrap();
        assert_eq!(addresses, ["10.0.0.2/24", "fd00:1::2/64"]);
    }
}
