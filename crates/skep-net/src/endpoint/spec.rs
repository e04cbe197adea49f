//! What joins a container's namespace to a network.

use std::net::IpAddr;

use crate::addr::{Cidr, Mac};

/// One interface of a container on one network. The network was ensured before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Id of the endpoint (64 hex digits, or any name that is unique in this daemon).
    pub endpoint_id: String,
    /// Id of a bridge or overlay network that was ensured.
    pub network_id: String,
    /// Id given to `create_netns`.
    pub netns: String,
    /// Interface name inside; `None` takes the first free one of the prefix.
    pub ifname: Option<String>,
    /// What a free interface name begins with: `eth`.
    pub ifname_prefix: String,
    /// Addresses with their prefix lengths, one a family at most.
    pub addresses: Vec<Cidr>,
    /// Addresses beside them that names do not lead to.
    pub link_local: Vec<Cidr>,
    /// Switches below `/proc/sys/net`, in which `IFNAME` is the interface.
    pub sysctls: Vec<(String, String)>,
    /// Hardware address; `None` derives it from the first address.
    pub mac: Option<Mac>,
    /// Gateways to use as default routes, one a family at most. Empty: no default route by this
    /// endpoint. A later endpoint's gateway replaces an earlier one's.
    pub default_gateways: Vec<IpAddr>,
    /// The default routes are by this interface without a gateway.
    pub default_link: bool,
    /// 0 takes the network's.
    pub mtu: u32,
    /// Names that other containers on the network find this endpoint by (name, aliases, short id).
    /// On swarm networks names come from the endpoint tables; these are added to them.
    pub names: Vec<String>,
}

impl EndpointSpec {
    /// An endpoint without addresses and names.
    pub fn new(
        endpoint_id: impl Into<String>,
        network_id: impl Into<String>,
        netns: impl Into<String>,
    ) -> Self {
        Self {
            endpoint_id: endpoint_id.into(),
            network_id: network_id.into(),
            netns: netns.into(),
            ifname: None,
            ifname_prefix: "eth".to_owned(),
            addresses: Vec::new(),
            link_local: Vec::new(),
            sysctls: Vec::new(),
            mac: None,
            default_gateways: Vec::new(),
            default_link: false,
            mtu: 0,
            names: Vec::new(),
        }
    }
}

/// What an attached endpoint got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Id of the endpoint.
    pub endpoint_id: String,
    /// Interface inside the container.
    pub ifname: String,
    /// Interface at the other end.
    pub peer_ifname: String,
    /// Hardware address of the inner interface.
    pub mac: Mac,
}

/// Counters of one interface, from the container's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Received bytes.
    pub rx_bytes: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Received and dropped.
    pub rx_dropped: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Dropped before sending.
    pub tx_dropped: u64,
}
