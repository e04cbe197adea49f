//! The kernel's network as skep needs it: netlink, bridge, vxlan, nftables, VIP, ingress, DNS.
//!
//! [`Net`] is the facade. Everything in the kernel is derived from what its methods were given and
//! can be rebuilt from it; tables and interfaces carry the daemon's instance name, so that several
//! daemons share a host.
//!
//! - [`netlink`] - rtnetlink, nf_tables and conntrack over raw sockets.
//! - [`bridge`] - local bridge networks.
//! - [`macvlan`] - networks on the host's own wire, also ipvlan.
//! - [`endpoint`] - veth pairs between containers and networks.
//! - [`publish`] - published ports of local containers.
//! - [`overlay`] - networks across hosts and their endpoint tables.
//! - [`ingress`] - the routing mesh.
//! - [`dns`] - names.

mod addr;
mod balance;
pub mod bridge;
mod config;
pub mod dns;
pub mod endpoint;
mod error;
mod forget;
#[doc(hidden)]
pub mod fuzz;
mod host;
pub mod ingress;
pub mod macvlan;
mod net;
pub mod netlink;
mod netns;
pub mod overlay;
pub mod publish;
mod sandbox;
mod sweep;
#[cfg(test)]
mod testing;

pub use addr::{AddrError, Cidr, Mac};
pub use bridge::{BridgeSpec, BridgeSubnet, ExistingBridge, GatewayMode};
pub use config::NetConfig;
pub use dns::{DnsSpec, ResolvConf};
pub use endpoint::{Endpoint, EndpointSpec, InterfaceStats};
pub use error::NetError;
pub use ingress::IngressSpec;
pub use macvlan::{IpvlanFlag, IpvlanMode, MacvlanMode, MacvlanSpec, Wire};
pub use net::Net;
pub use overlay::{OverlaySpec, OverlaySubnet, SwarmSpec, Warning};
pub use publish::{OpenPort, PortMapping, Protocol, PublishedPort};
