//! Keeping the tunnel as encrypted networks and the managers' tables want it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::{NodeKey, WireGuard, address_of, guard_tables, remove_guard};
use crate::error::NetError;
use crate::net::{Net, State};
use crate::netlink::nft::Table;
use crate::overlay::table::NetworkTable;
use crate::overlay::{SwarmSpec, Warning};

/// Nodes by id: public key, tunnel address, data path address.
pub(crate) type Keys = BTreeMap<String, ([u8; 32], Ipv6Addr, IpAddr)>;

impl Net {
    /// Makes a new key for the tunnel between nodes, which is then to be told
    /// ([`Net::wireguard_public_key`]). Nothing is lost by it.
    pub fn rotate_wireguard_key(&self) -> Result<(), NetError> {
        self.state().rotate_wireguard_key()
    }

    /// Forgets the keys before this one: everybody has been told.
    pub fn retire_wireguard_keys(&self) {
        self.state().retire_wireguard_keys();
    }

    /// Replaces old keys, and forgets them when everybody has had the time to hear of it.
    pub(crate) fn mind_wireguard_key(&self) {
        let mut state = self.state();
        state.retire_wireguard_keys();
        if state.node_key.is_old()
            && let Err(error) = state.rotate_wireguard_key()
        {
            tracing::warn!(%error, "key of encrypted networks cannot be replaced");
        }
    }
}

impl State {
    /// Every node whose key is known, but this one.
    fn node_keys(&self, own: &str) -> Keys {
        let nodes = self.tables.values().flat_map(NetworkTable::nodes);
        let others = nodes.filter(|n| n.node_id != own);
        let known = others.filter_map(|n| {
            let key = n.wireguard_public_key.as_slice().try_into().ok()?;
            let outer = n.node_addr.parse().ok()?;
            let address = address_of(&n.node_id);
            Some((n.node_id.clone(), (key, address, outer)))
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
        if let Some(wireguard) = &mut self.wireguard {
            wireguard.set_peers(&keys)?;
        }
        Ok(keys)
    }

    /// Replaces this node's key where packets are sealed by it. Those who have not heard of the
    /// new one go on with the old until it is retired.
    fn rotate_wireguard_key(&mut self) -> Result<(), NetError> {
        let Some(wireguard) = &self.wireguard else {
            return Ok(());
        };
        if let Some(engine) = wireguard.engine() {
            self.node_key = NodeKey::create(&self.key_path)?;
            engine.add_key(self.node_key.clone());
        }
        Ok(())
    }

    fn retire_wireguard_keys(&self) {
        if let Some(engine) = self.wireguard.as_ref().and_then(WireGuard::engine) {
            engine.retire_keys();
        }
    }

    /// Closes the tunnel when no encrypted network is in the kernel.
    pub(crate) fn close_wireguard_if_unused(&mut self) -> Result<(), NetError> {
        let used = self
            .overlays
            .values()
            .any(|o| o.spec.encrypted && o.space.is_some());
        if used {
            return Ok(());
        }
        let Some(wireguard) = self.wireguard.take() else {
            return Ok(());
        };
        wireguard.close(&mut self.route)?;
        remove_guard(&self.instance, &mut self.nft)
    }

    /// The guard's tables that ought to be there.
    pub(crate) fn guard_tables(&self) -> impl Iterator<Item = Table> + '_ {
        let tunnel = self.wireguard.iter();
        tunnel.flat_map(|_| guard_tables(&self.instance))
    }

    /// Writes the guard again if it is among the tables that are gone; answers whether it is.
    pub(crate) fn restore_guard(&mut self, gone: &[Table]) -> Result<bool, NetError> {
        if !self.guard_tables().any(|table| gone.contains(&table)) {
            return Ok(false);
        }
        if let Some(tunnel) = &self.wireguard {
            tunnel.restore_guard(&self.instance, &mut self.nft)?;
        }
        Ok(true)
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
