//! What a local bridge network is.

use crate::addr::Cidr;

/// One subnet of a bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSubnet {
    /// The bridge's own address in the subnet, which is the containers' gateway: `172.17.0.1/16`.
    pub gateway: Cidr,
}

/// What the bridge is to its containers in one address family (`gateway_mode_ipv4`, `…_ipv6`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// Their router, which hides them and lets in what is published.
    #[default]
    Nat,
    /// Their router, which hides them and lets in everything.
    NatUnprotected,
    /// Their router, which shows them as they are and lets in what is published, by their own
    /// addresses.
    Routed,
    /// None: the host has no address on the network.
    Isolated,
}

/// A local bridge network. Docker's driver options map one to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Id of the network.
    pub network_id: String,
    /// Name of the network: reverse DNS answers `<container>.<network>`.
    pub name: String,
    /// Name of the bridge device (`docker0`, `docker_gwbridge`, `br-<12 digits of the id>`).
    pub bridge: String,
    /// Subnets, IPv4 and IPv6.
    pub subnets: Vec<BridgeSubnet>,
    /// `com.docker.network.driver.mtu`; 0 means 1500.
    pub mtu: u32,
    /// `com.docker.network.bridge.enable_icc`.
    pub icc: bool,
    /// `com.docker.network.bridge.enable_ip_masquerade`.
    pub masquerade: bool,
    /// What the bridge is to its containers, for IPv4 and IPv6.
    pub gateway_modes: [GatewayMode; 2],
    /// No way out of the network and none in.
    pub internal: bool,
    /// Where a bridge of this name is there that nobody's daemon made, use it as it is, and leave it
    /// behind: its name was asked for.
    pub take_over: bool,
}

impl BridgeSpec {
    /// A network with Docker's defaults.
    pub fn new(network_id: impl Into<String>, bridge: impl Into<String>) -> Self {
        let network_id = network_id.into();
        Self {
            name: network_id.clone(),
            network_id,
            bridge: bridge.into(),
            subnets: Vec::new(),
            mtu: 0,
            icc: true,
            masquerade: true,
            gateway_modes: [GatewayMode::Nat; 2],
            internal: false,
            take_over: false,
        }
    }

    /// What the bridge is to its containers in one family.
    pub fn gateway_mode(&self, v4: bool) -> GatewayMode {
        self.gateway_modes[usize::from(!v4)]
    }

    /// The device's MTU.
    pub fn effective_mtu(&self) -> u32 {
        if self.mtu == 0 { 1500 } else { self.mtu }
    }
}

/// A bridge as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingBridge {
    /// Made by this daemon.
    pub is_own: bool,
    /// Its addresses but for link-local ones.
    pub addresses: Vec<Cidr>,
    /// Endpoints of this daemon that are attached to it, by their ids; also of containers that are
    /// no more: the kernel takes the ports of removed namespaces away in its own time.
    pub endpoints: Vec<String>,
}
