//! [`Net`]: one daemon's hold on the kernel's network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use skep_objects::skep_v1::EndpointsMessage;

use crate::bridge::BridgeSpec;
use crate::config::NetConfig;
use crate::dns::DnsSpec;
use crate::endpoint::{Endpoint, EndpointSpec, InterfaceStats};
use crate::error::NetError;
use crate::ingress::IngressSpec;
use crate::overlay::{OverlaySpec, SwarmSpec, Warning};
use crate::publish::{PortMapping, PublishedPort};

/// One daemon's hold on the kernel's network; cheap to clone.
///
/// Methods block for milliseconds at most (kernel calls): call them through `spawn_blocking` in
/// async code. Each is idempotent. After a restart of the daemon the caller ensures its networks
/// and attaches its live endpoints again with the same specs, which adopts what is in the kernel
/// without disturbing it, and then calls [`Net::sweep`] once.
#[derive(Clone, Debug)]
pub struct Net {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: NetConfig,
}

fn not_yet<T>() -> Result<T, NetError> {
    Err(NetError::Invalid {
        what: "operation",
        value: "not built yet".into(),
    })
}

impl Net {
    /// Opens the host's network from the calling thread's namespace. Must run inside a tokio
    /// runtime, which then serves DNS.
    pub fn open(config: NetConfig) -> Result<Net, NetError> {
        Ok(Net {
            inner: Arc::new(Inner { config }),
        })
    }

    /// Creates and pins a network namespace with its loopback up; answers the path of the pin. An
    /// existing one of this id is kept.
    pub fn create_netns(&self, id: &str) -> Result<PathBuf, NetError> {
        let _ = id;
        not_yet()
    }

    /// Where the namespace of this id is pinned.
    pub fn netns_path(&self, id: &str) -> PathBuf {
        self.inner.config.exec_root.join("netns").join(id)
    }

    /// Removes a namespace with all its endpoints, published ports and its name server.
    pub fn remove_netns(&self, id: &str) -> Result<(), NetError> {
        let _ = id;
        not_yet()
    }

    /// Makes a bridge network as the spec says, or changes it to that.
    pub fn ensure_bridge(&self, spec: &BridgeSpec) -> Result<(), NetError> {
        let _ = spec;
        not_yet()
    }

    /// Removes a bridge network; its endpoints were detached before.
    pub fn remove_bridge(&self, network_id: &str) -> Result<(), NetError> {
        let _ = network_id;
        not_yet()
    }

    /// Joins a container's namespace to a network.
    pub fn attach(&self, spec: &EndpointSpec) -> Result<Endpoint, NetError> {
        let _ = spec;
        not_yet()
    }

    /// Removes an endpoint. An unknown one is no error.
    pub fn detach(&self, endpoint_id: &str) -> Result<(), NetError> {
        let _ = endpoint_id;
        not_yet()
    }

    /// Replaces the names of an endpoint (`docker rename`).
    pub fn rename(&self, endpoint_id: &str, names: Vec<String>) -> Result<(), NetError> {
        let _ = (endpoint_id, names);
        not_yet()
    }

    /// Counters of each interface but the loopback in a namespace, by interface name.
    pub fn statistics(&self, netns: &str) -> Result<BTreeMap<String, InterfaceStats>, NetError> {
        let _ = netns;
        not_yet()
    }

    /// Publishes ports of `owner` (a container id): all of them or none. Answers the ports chosen,
    /// IPv4 first. What `owner` had published before is replaced.
    pub fn publish(
        &self,
        owner: &str,
        mappings: &[PortMapping],
    ) -> Result<Vec<PublishedPort>, NetError> {
        let _ = (owner, mappings);
        not_yet()
    }

    /// Takes back all that `owner` has published.
    pub fn unpublish(&self, owner: &str) -> Result<(), NetError> {
        let _ = owner;
        not_yet()
    }

    /// Sets this node's place in the swarm, or `None` when it left (overlays and ingress go).
    pub fn set_swarm(&self, swarm: Option<SwarmSpec>) -> Result<(), NetError> {
        let _ = swarm;
        not_yet()
    }

    /// Makes an overlay network known. Kernel objects come with the first endpoint and go with the
    /// last.
    pub fn ensure_overlay(&self, spec: &OverlaySpec) -> Result<(), NetError> {
        let _ = spec;
        not_yet()
    }

    /// Forgets an overlay network; its endpoints were detached before.
    pub fn remove_overlay(&self, network_id: &str) -> Result<(), NetError> {
        let _ = network_id;
        not_yet()
    }

    /// Merges a message of the managers into the endpoint tables and brings the kernel and the
    /// names to them. When this returns, traffic follows the tables.
    pub fn apply_endpoints(&self, message: &EndpointsMessage) -> Result<(), NetError> {
        let _ = message;
        not_yet()
    }

    /// Puts this node on the ingress network and serves published ports on it. The reply to a
    /// changed address is a move.
    pub fn ensure_ingress(&self, spec: &IngressSpec) -> Result<(), NetError> {
        let _ = spec;
        not_yet()
    }

    /// Takes this node off the ingress network.
    pub fn remove_ingress(&self) -> Result<(), NetError> {
        not_yet()
    }

    /// This node's WireGuard public key, for `NodeEndpoint.wireguard_public_key`.
    pub fn wireguard_public_key(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Starts the name server of a namespace, at 127.0.0.11, or changes its settings.
    pub fn serve_dns(&self, netns: &str, spec: &DnsSpec) -> Result<(), NetError> {
        let _ = (netns, spec);
        not_yet()
    }

    /// What works but not wholly, now.
    pub fn warnings(&self) -> BTreeSet<Warning> {
        BTreeSet::new()
    }

    /// Removes what an earlier run of this daemon left and nobody ensured, attached or published
    /// since [`Net::open`]: namespaces, interfaces, rules. All errors are collected.
    pub fn sweep(&self) -> Result<(), NetError> {
        not_yet()
    }

    /// Removes every trace of this daemon from the kernel's network.
    pub fn destroy(&self) -> Result<(), NetError> {
        not_yet()
    }
}
