//! What an overlay network and this node's part in it are.

use std::net::IpAddr;

use crate::addr::Cidr;

/// One subnet of an overlay network, with its VXLAN number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlaySubnet {
    /// The subnet: `10.0.1.0/24`.
    pub subnet: Cidr,
    /// VXLAN network identifier.
    pub vni: u32,
}

/// An overlay network as the managers describe it. Nothing is made in the kernel until the first
/// endpoint on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Id of the network.
    pub network_id: String,
    /// Name of the network: reverse DNS answers `<container>.<network>`.
    pub name: String,
    /// Subnets. An IPv6 subnet may share the VNI of the IPv4 one.
    pub subnets: Vec<OverlaySubnet>,
    /// `com.docker.network.driver.mtu`: MTU of the network beneath; 0 takes that of the
    /// data path's interface, 1500 at most.
    pub underlay_mtu: u32,
    /// Carried by WireGuard between the nodes, or not at all.
    pub encrypted: bool,
    /// The routing mesh's network.
    pub ingress: bool,
    /// Endpoints get no second interface to the outside (kept for the caller; nothing here).
    pub internal: bool,
}

/// This node's place in the swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmSpec {
    /// Id of this node: its own endpoints are recognised by it.
    pub node_id: String,
    /// Address that other nodes send VXLAN packets to.
    pub data_path_addr: IpAddr,
    /// UDP port of VXLAN (4789 unless the swarm says otherwise).
    pub data_path_port: u16,
}

/// Something that works, but not wholly; for the log and for `docker info`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// The data path port is in use by something else in this namespace: no traffic between hosts.
    DataPathPortTaken {
        /// The UDP port.
        port: u16,
    },
    /// Another VXLAN device in this namespace has the same number: this network does not cross hosts.
    VniTaken {
        /// The network.
        network_id: String,
        /// The VXLAN number.
        vni: u32,
    },
    /// The network is encrypted and this node has no WireGuard yet: it does not cross hosts.
    EncryptionUnavailable {
        /// The network.
        network_id: String,
        /// Why.
        reason: String,
    },
    /// Another program drops forwarded packets by policy, and its rules could not be complemented.
    ForwardDropped {
        /// Table and chain with the policy.
        chain: String,
    },
    /// A published ingress port is bound by another process on this host.
    IngressPortBusy {
        /// `tcp/8080`.
        port: String,
    },
}

impl Warning {
    /// The network that it is about.
    pub(crate) fn network(&self) -> Option<&str> {
        match self {
            Warning::VniTaken { network_id, .. }
            | Warning::EncryptionUnavailable { network_id, .. } => Some(network_id),
            Warning::DataPathPortTaken { .. }
            | Warning::ForwardDropped { .. }
            | Warning::IngressPortBusy { .. } => None,
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::DataPathPortTaken { port } => write!(
                f,
                "data path port {port}/udp is in use on this host: containers do not reach those on other hosts"
            ),
            Warning::VniTaken { network_id, vni } => write!(
                f,
                "VXLAN {vni} is in use by another daemon on this host: network {network_id} does not reach other hosts"
            ),
            Warning::EncryptionUnavailable { network_id, reason } => write!(
                f,
                "encrypted network {network_id} does not reach other hosts: {reason}"
            ),
            Warning::ForwardDropped { chain } => {
                write!(
                    f,
                    "{chain} drops forwarded packets: published ports may not be reachable"
                )
            }
            Warning::IngressPortBusy { port } => write!(
                f,
                "ingress port {port} is also bound by a process on this host, which the mesh hides"
            ),
        }
    }
}
