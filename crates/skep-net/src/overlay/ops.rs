//! Overlay networks as the agent drives them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_objects::skep_v1::{EndpointsMessage, NetworkEndpoints};

use super::space::{Space, Tunnel};
use super::table::{Balanced, Changed, NetworkTable};
use super::vip::{Services, VipTable};
use super::wireguard;
use super::{OverlaySpec, SwarmSpec, Warning};
use crate::endpoint::{Attached, EndpointSpec, Port, attach};
use crate::error::NetError;
use crate::forget::Forgetting;
use crate::net::{Net, State};

/// An overlay network that was made known.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub spec: OverlaySpec,
    /// In the kernel, from the first endpoint to the last.
    pub space: Option<Space>,
}

impl Net {
    /// Sets this node's place in the swarm, or `None` when it left (overlays and ingress go).
    pub fn set_swarm(&self, swarm: Option<SwarmSpec>) -> Result<(), NetError> {
        let mut state = self.state();
        if state.swarm == swarm {
            return Ok(());
        }
        state.underlay_mtu = match &swarm {
            Some(swarm) => state.mtu_at(swarm.data_path_addr)?,
            None => ETHERNET,
        };
        state.swarm = swarm;
        if state.swarm.is_some() {
            for overlay in state.overlays.values_mut() {
                overlay.space.iter_mut().for_each(Space::disconnect);
            }
            let ids: Vec<String> = state.overlays.keys().cloned().collect();
            let errors = ids
                .iter()
                .filter_map(|id| state.sync_network(id).err())
                .collect();
            return NetError::collect(errors);
        }
        drop(state);
        self.leave_swarm()
    }

    fn leave_swarm(&self) -> Result<(), NetError> {
        let mut errors: Vec<NetError> = self.remove_ingress().err().into_iter().collect();
        let ids: Vec<String> = self.state().overlays.keys().cloned().collect();
        for id in &ids {
            errors.extend(self.remove_overlay(id).err());
        }
        let mut state = self.state();
        state.tables.clear();
        if let Err(error) = state.journal.remove() {
            tracing::warn!(%error, "endpoint tables cannot be removed from disk");
        }
        NetError::collect(errors)
    }

    /// Makes an overlay network known. Kernel objects come with the first endpoint and go with the
    /// last.
    pub fn ensure_overlay(&self, spec: &OverlaySpec) -> Result<(), NetError> {
        if spec.subnets.is_empty() {
            return Err(NetError::Invalid {
                what: "overlay network without subnet",
                value: spec.network_id.clone(),
            });
        }
        let mut state = self.state();
        let known = state.overlays.entry(spec.network_id.clone());
        let overlay = known.or_insert_with(|| Overlay {
            spec: spec.clone(),
            space: None,
        });
        overlay.spec = spec.clone();
        Ok(())
    }

    /// Forgets an overlay network with the endpoints that are left on it.
    pub fn remove_overlay(&self, network_id: &str) -> Result<(), NetError> {
        let mut errors = Vec::new();
        let state = self.state();
        let left = state
            .endpoints
            .values()
            .filter(|e| e.spec.network_id == network_id);
        let left: Vec<String> = left.map(|e| e.spec.endpoint_id.clone()).collect();
        drop(state);
        for endpoint in left {
            errors.extend(self.detach(&endpoint).err());
        }
        let mut state = self.state();
        let space = state.overlays.remove(network_id).and_then(|o| o.space);
        errors.extend(space.and_then(|s| s.close().err()));
        errors.extend(state.close_wireguard_if_unused().err());
        state.warnings.retain(|w| w.network() != Some(network_id));
        state.tables.remove(network_id);
        state.sync_names(network_id);
        NetError::collect(errors)
    }

    /// Merges a message of the managers into the endpoint tables and brings the kernel and the
    /// names to them. When this returns, traffic follows the tables.
    pub fn apply_endpoints(&self, message: &EndpointsMessage) -> Result<(), NetError> {
        let mut state = self.state();
        let mut errors = Vec::new();
        if message.complete {
            let named = message.networks.iter().map(|n| n.network_id.as_str());
            let named: BTreeSet<&str> = named.collect();
            let others = state
                .tables
                .keys()
                .filter(|id| !named.contains(id.as_str()));
            for id in others.cloned().collect::<Vec<_>>() {
                errors.extend(state.take_table(&NetworkEndpoints {
                    network_id: id,
                    gone: true,
                    ..NetworkEndpoints::default()
                }));
            }
        }
        for network in &message.networks {
            errors.extend(state.take_table(network));
        }
        if let Err(error) = state.note_tables(message) {
            // Only a restart without a manager would miss it.
            tracing::warn!(%error, "endpoint tables cannot be written to disk");
        }
        let result = NetError::collect(errors);
        self.finish(state, result)
    }
}

/// What a network carries unless it says otherwise.
pub(crate) const ETHERNET: u32 = 1500;

impl State {
    /// MTU of the interface with this address, Ethernet's at most: nodes on a larger one shall not
    /// cut off those on a smaller.
    fn mtu_at(&mut self, addr: IpAddr) -> Result<u32, NetError> {
        let failed = || NetError::netlink("read the data path's MTU");
        let addresses = self.route.addresses().map_err(failed())?;
        let Some(at) = addresses.iter().find(|a| a.cidr.addr == addr) else {
            return Ok(ETHERNET);
        };
        let links = self.route.links().map_err(failed())?;
        let link = links.iter().find(|l| l.index == at.index);
        Ok(link.map_or(ETHERNET, |l| l.mtu.min(ETHERNET)))
    }

    /// Where the network's tunnels start.
    fn tunnel_of(&self, network_id: &str) -> Result<Tunnel, NetError> {
        let unknown = || NetError::UnknownNetwork(network_id.to_owned());
        let swarm = self.swarm.as_ref().ok_or(NetError::NoSwarm)?;
        let spec = &self.overlays.get(network_id).ok_or_else(unknown)?.spec;
        let given = spec.underlay_mtu;
        let underlay = if given == 0 { self.underlay_mtu } else { given };
        Ok(if spec.encrypted {
            wireguard::tunnel(swarm, underlay)
        } else {
            Tunnel::plain(swarm, underlay)
        })
    }

    pub(crate) fn attach_to_overlay(
        &mut self,
        net: &Net,
        spec: &EndpointSpec,
    ) -> Result<Attached, NetError> {
        self.open_space(net, &spec.network_id)?;
        let unknown = || NetError::UnknownNetwork(spec.network_id.clone());
        let tunnel = self.tunnel_of(&spec.network_id)?;
        let overlay = self
            .overlays
            .get_mut(&spec.network_id)
            .ok_or_else(unknown)?;
        let space = overlay.space.as_mut().ok_or_else(unknown)?;
        let bridge = space.bridge_for(&spec.addresses).ok_or_else(unknown)?;
        let unknown = || NetError::UnknownNetns(spec.netns.clone());
        let sandbox = self.sandboxes.get_mut(&spec.netns).ok_or_else(unknown)?;
        let mut port = Port {
            route: &mut space.route,
            bridge,
            mtu: tunnel.mtu,
            isolated: false,
            hairpin: false,
        };
        let attached = attach(net.instance(), spec, sandbox, &mut port)?;
        space.welcome(&attached.endpoint)?;
        Ok(attached)
    }

    /// MTU of an overlay network's interfaces.
    pub(crate) fn overlay_mtu(&self, network_id: &str) -> Result<u32, NetError> {
        Ok(self.tunnel_of(network_id)?.mtu)
    }

    /// The network's namespace, with its tunnels where they can be had.
    pub(crate) fn open_space(&mut self, net: &Net, network_id: &str) -> Result<(), NetError> {
        let unknown = || NetError::UnknownNetwork(network_id.to_owned());
        let mtu = self.overlay_mtu(network_id)?;
        let overlay = self.overlays.get_mut(network_id).ok_or_else(unknown)?;
        if overlay.space.is_none() {
            let pin = net.netns_path(&Space::pin_name(network_id));
            overlay.space = Some(Space::open(&pin, &overlay.spec, mtu)?);
        }
        Ok(())
    }

    /// Closes the network's namespace if nothing is attached to it.
    pub(crate) fn close_space_if_unused(&mut self, network_id: &str) -> Result<(), NetError> {
        let used = self
            .endpoints
            .values()
            .any(|e| e.spec.network_id == network_id);
        if used || self.ingress_uses(network_id) {
            return Ok(());
        }
        self.warnings.retain(|w| w.network() != Some(network_id));
        let space = self
            .overlays
            .get_mut(network_id)
            .and_then(|o| o.space.take());
        let mut errors: Vec<NetError> = space.and_then(|s| s.close().err()).into_iter().collect();
        errors.extend(self.close_wireguard_if_unused().err());
        NetError::collect(errors)
    }

    /// Brings tunnels, peers and service addresses of a network to its table.
    pub(crate) fn sync_network(&mut self, network_id: &str) -> Result<(), NetError> {
        let mut errors = Vec::new();
        self.sync_names(network_id);
        errors.extend(self.sync_peers(network_id).err());
        errors.extend(self.sync_ingress(network_id, None).err());
        let mut known = BTreeMap::new();
        for id in self.sandboxes_on(network_id) {
            errors.extend(self.sync_vips_by(&id, &mut known).err());
        }
        NetError::collect(errors)
    }

    /// The same where the table was in place before this change: it costs what the change does.
    fn sync_change(&mut self, network_id: &str, changed: &Changed) -> Result<(), NetError> {
        let mut errors = Vec::new();
        self.sync_names_of(network_id, changed);
        if changed.nodes {
            errors.extend(self.sync_peers(network_id).err());
        } else if !changed.places.is_empty() {
            let moved = self.sync_peers_at(network_id, &changed.places);
            errors.extend(moved.err());
        }
        if changed.services.is_empty() {
            return NetError::collect(errors);
        }
        let services = Some(&changed.services);
        errors.extend(self.sync_ingress(network_id, services).err());
        let is_ingress = self
            .overlays
            .get(network_id)
            .is_some_and(|o| o.spec.ingress);
        if !is_ingress {
            let [v4, v6] = [true, false].map(|v4| self.changes(network_id, &changed.services, v4));
            for id in self.sandboxes_on(network_id) {
                errors.extend(self.change_vips(&id, [&v4, &v6]).err());
            }
        }
        NetError::collect(errors)
    }

    /// Takes over what a message says of a network.
    fn take_table(&mut self, message: &NetworkEndpoints) -> Option<NetError> {
        let id = &message.network_id;
        let is_new = !self.tables.contains_key(id);
        // An empty table, where no table would be "not told yet".
        let table = self.tables.entry(id.clone()).or_default();
        let changed = if message.gone {
            table.clear()
        } else {
            table.merge(message)
        };
        // A whole table also mends what was half applied.
        if is_new || message.complete {
            self.sync_network(id).err()
        } else {
            self.sync_change(id, &changed).err()
        }
    }

    /// Writes down what the managers said.
    fn note_tables(&mut self, message: &EndpointsMessage) -> std::io::Result<()> {
        let tables = &self.tables;
        self.journal.note(message, || EndpointsMessage {
            complete: true,
            networks: tables.iter().map(|(id, table)| table.whole(id)).collect(),
            ..EndpointsMessage::default()
        })
    }

    fn sandboxes_on(&self, network_id: &str) -> BTreeSet<String> {
        let of_network = |e: &&Attached| e.spec.network_id == network_id;
        let endpoints = self.endpoints.values().filter(of_network);
        endpoints.map(|e| e.spec.netns.clone()).collect()
    }

    /// Services of a network as they are now.
    fn changes<'a>(
        &self,
        network_id: &str,
        services: impl IntoIterator<Item = &'a String>,
        v4: bool,
    ) -> BTreeMap<String, Option<Arc<Balanced>>> {
        let short = network_id.get(..12).unwrap_or(network_id);
        let table = self.tables.get(network_id);
        let services = services.into_iter().map(|id| {
            let balanced = table.and_then(|table| table.balanced(id, v4));
            (format!("{short}-{id}"), balanced.map(Arc::new))
        });
        services.collect()
    }

    /// All services of a network, in both families.
    fn services_of(&self, network_id: &str) -> [Services; 2] {
        let table = self.tables.get(network_id);
        let ids = table.map(NetworkTable::service_ids).unwrap_or_default();
        [true, false].map(|v4| {
            let all = self.changes(network_id, &ids, v4).into_iter();
            all.filter_map(|(id, service)| Some((id, service?)))
                .collect()
        })
    }

    /// Brings a namespace to what these services are now, in both families.
    fn change_vips(
        &mut self,
        netns: &str,
        changes: [&BTreeMap<String, Option<Arc<Balanced>>>; 2],
    ) -> Result<(), NetError> {
        let Some(sandbox) = self.sandboxes.get_mut(netns) else {
            return Ok(());
        };
        if sandbox.vips.iter().any(VipTable::is_unknown) {
            return self.sync_vips(netns);
        }
        for ((v4, vips), changes) in [true, false]
            .into_iter()
            .zip(&mut sandbox.vips)
            .zip(changes)
        {
            let failed = NetError::netlink(format!("set service addresses of {netns}"));
            let stale = vips.update(&mut sandbox.nft, changes.clone());
            let netns = sandbox.netns.clone();
            let stale = stale.map_err(failed)?;
            self.forgetting
                .extend(stale.map(|stale| Forgetting { netns, v4, stale }));
        }
        Ok(())
    }

    fn local_addresses(&self, network_id: &str) -> BTreeSet<IpAddr> {
        let of_network = |e: &&Attached| e.spec.network_id == network_id;
        let endpoints = self.endpoints.values().filter(of_network);
        let mut out: BTreeSet<IpAddr> = endpoints
            .flat_map(|e| e.spec.addresses.iter().map(|c| c.addr))
            .collect();
        out.extend(self.ingress_addresses(network_id).iter().map(|c| c.addr));
        out
    }

    pub(crate) fn sync_peers(&mut self, network_id: &str) -> Result<(), NetError> {
        let Some(swarm) = self.swarm.clone() else {
            return Ok(());
        };
        let opened = self.overlays.get(network_id).filter(|o| o.space.is_some());
        let Some(encrypted) = opened.map(|o| o.spec.encrypted) else {
            return Ok(());
        };
        self.warnings.retain(|w| w.network() != Some(network_id));
        let keys = match encrypted.then(|| self.sync_wireguard(&swarm)).transpose() {
            Ok(keys) => keys,
            Err(e) => return self.cut(network_id, &e),
        };
        let missing = keys
            .as_ref()
            .and_then(|k| self.missing_keys(network_id, &swarm.node_id, k));
        self.warnings.extend(missing);
        let local = self.local_addresses(network_id);
        let tunnel = self.tunnel_of(network_id)?;
        let Some(overlay) = self.overlays.get_mut(network_id) else {
            return Ok(());
        };
        let Some(space) = overlay.space.as_mut() else {
            return Ok(());
        };
        let warning = space.connect(network_id, &tunnel, &mut self.route)?;
        if warning.is_none() {
            self.warnings
                .retain(|w| !matches!(w, Warning::DataPathPortTaken { .. }));
        }
        self.warnings.extend(warning);
        // Before the managers have told, after a restart, the peers that are in the kernel remain.
        let Some(table) = self.tables.get(network_id) else {
            return Ok(());
        };
        let outer = |node: &str, addr| match &keys {
            Some(keys) => keys.get(node).map(|(_, address, _)| (*address).into()),
            None => Some(addr),
        };
        space.set_peers(&table.peers(&swarm.node_id, &local, outer))
    }

    /// The same where only these addresses may be elsewhere, or here, or not any more: it costs what
    /// they do, however large the network is.
    pub(crate) fn sync_peers_at(
        &mut self,
        network_id: &str,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<(), NetError> {
        let local = self.local_addresses(network_id);
        let overlay = self.overlays.get_mut(network_id);
        let overlay = overlay.filter(|overlay| !overlay.spec.encrypted);
        let space = overlay.and_then(|overlay| overlay.space.as_mut());
        let space = space.filter(|space| space.is_settled());
        match (&self.swarm, space, self.tables.get(network_id)) {
            (Some(swarm), Some(space), Some(table)) => {
                space.move_peers(&table.places(&swarm.node_id, &local, addresses))
            }
            _ => self.sync_peers(network_id),
        }
    }

    /// An encrypted network whose tunnel cannot be had stays on this host.
    fn cut(&mut self, network_id: &str, reason: &NetError) -> Result<(), NetError> {
        let reason = reason.to_string();
        let warning = Warning::EncryptionUnavailable {
            network_id: network_id.to_owned(),
            reason,
        };
        self.warnings.insert(warning);
        match self
            .overlays
            .get_mut(network_id)
            .and_then(|o| o.space.as_mut())
        {
            Some(space) => space.cut(),
            None => Ok(()),
        }
    }

    /// Brings the service addresses of a namespace to the tables of its networks.
    pub(crate) fn sync_vips(&mut self, netns: &str) -> Result<(), NetError> {
        self.sync_vips_by(netns, &mut BTreeMap::new())
    }

    /// The same; what is found out about a network is `known` for the next namespace.
    fn sync_vips_by(
        &mut self,
        netns: &str,
        known: &mut BTreeMap<String, [Services; 2]>,
    ) -> Result<(), NetError> {
        let Some(sandbox) = self.sandboxes.get(netns) else {
            return Ok(());
        };
        let networks: BTreeSet<&str> = sandbox
            .endpoints
            .iter()
            .filter_map(|id| Some(self.endpoints.get(id)?.spec.network_id.as_str()))
            .filter(|id| self.overlays.get(*id).is_some_and(|o| !o.spec.ingress))
            .filter(|id| self.tables.contains_key(*id))
            .collect();
        if networks.is_empty() && sandbox.vips.iter().any(VipTable::is_unknown) {
            // Without a table yet, after a restart, what is in the kernel serves on.
            return Ok(());
        }
        let mut wanted = [Services::new(), Services::new()];
        for id in networks {
            let services = known.entry(id.to_owned());
            let services = services.or_insert_with(|| self.services_of(id));
            for (wanted, services) in wanted.iter_mut().zip(services) {
                wanted.extend(services.iter().map(|(id, s)| (id.clone(), Arc::clone(s))));
            }
        }
        let Some(sandbox) = self.sandboxes.get_mut(netns) else {
            return Ok(());
        };
        for ((v4, vips), wanted) in [true, false].into_iter().zip(&mut sandbox.vips).zip(wanted) {
            let failed = NetError::netlink(format!("set service addresses of {netns}"));
            let stale = vips.apply(&mut sandbox.nft, wanted).map_err(failed)?;
            let netns = sandbox.netns.clone();
            self.forgetting
                .extend(stale.map(|stale| Forgetting { netns, v4, stale }));
        }
        Ok(())
    }
}
