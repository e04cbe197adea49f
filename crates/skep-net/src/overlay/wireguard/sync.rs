//! Keeping the tunnel as encrypted networks and the managers' tables want it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{NodeKey, WireGuard, remove_guard, tunnel_address};
use crate::error::NetError;
use crate::net::State;
use crate::overlay::table::NetworkTable;
use crate::overlay::{SwarmSpec, Warning};

/// Nodes by id: public key, tunnel address, data path address.
pub(crate) type Keys = BTreeMap<String, ([u8; 32], IpAddr, IpAddr)>;

impl State {
    /// Every node whose key is known, but this one.
    fn node_keys(&self, own: &str) -> Keys {
        let nodes = self.tables.values().flat_map(NetworkTable::nodes);
        let others = nodes.filter(|n| n.node_id != own);
        let known = others.filter_map(|n| {
            let (key, address) = tunnel_address(&n.wireguard_public_key)?;
            let outer = n.node_addr.parse().ok()?;
            Some((n.node_id.clone(), (key, address.into(), outer)))
        });
        known.collect()
    }

    /// Opens the tunnel if need be and tells it the nodes; answers them.
    pub(crate) fn sync_wireguard(&mut self, swarm: &SwarmSpec) -> Result<Keys, NetError> {
        if !self.wireguard.as_ref().is_some_and(|w| w.serves(swarm)) {
            // The old one holds the device's name.
            self.wireguard = None;
            let key: &NodeKey = &self.node_key;
            let sockets = (&mut self.route, &mut self.nft);
            let open = WireGuard::open(
                &self.instance,
                &self.runtime,
                key,
                swarm,
                &self.host,
                sockets,
            );
            self.wireguard = Some(open?);
        }
        let keys = self.node_keys(&swarm.node_id);
        if let Some(wireguard) = &self.wireguard {
            let peers = keys
                .values()
                .map(|(key, _, outer)| (*key, *outer))
                .collect();
            wireguard.set_peers(&peers);
        }
        Ok(keys)
    }

    /// Closes the tunnel when no encrypted network is in the kernel.
    pub(crate) fn close_wireguard_if_unused(&mut self) -> Result<(), NetError> {
        let used = self
            .overlays
            .values()
            .any(|o| o.spec.encrypted && o.space.is_some());
        if used || self.wireguard.take().is_none() {
            return Ok(());
        }
        remove_guard(&self.instance, &mut self.nft)
    }

    /// Why an encrypted network does not reach every node it ought to, if so.
    pub(crate) fn missing_keys(&self, network_id: &str, own: &str, keys: &Keys) -> Option<Warning> {
        let table = self.tables.get(network_id)?;
        let lacking = |t: &&skep_objects::skep_v1::TaskEndpoint| {
            t.node_id != own && !keys.contains_key(&t.node_id)
        };
        let node = &table.tasks().find(lacking)?.node_id;
        let reason = format!("node {node} has published no WireGuard key");
        Some(Warning::EncryptionUnavailable {
            network_id: network_id.to_owned(),
            reason,
        })
    }
}
