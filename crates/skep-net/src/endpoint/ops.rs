//! Attaching and detaching.

use std::collections::BTreeMap;

use super::{
    Attached, Endpoint, EndpointSpec, InterfaceStats, Port, attach, set_default_routes, silence,
};
use crate::error::NetError;
use crate::ingress::TaskRules;
use crate::net::{Net, State};
use crate::overlay::Overlay;

impl Net {
    /// Joins a container's namespace to a network.
    pub fn attach(&self, spec: &EndpointSpec) -> Result<Endpoint, NetError> {
        let spec = &EndpointSpec {
            addresses: self.usable(&spec.addresses),
            ..spec.clone()
        };
        let mut state = self.state();
        let state = &mut *state;
        if let Some(known) = state.endpoints.get(&spec.endpoint_id)
            && known.spec == *spec
        {
            return Ok(known.endpoint.clone());
        }
        let overlay = state.overlays.contains_key(&spec.network_id);
        let attached = if overlay {
            state.attach_to_overlay(self, spec)?
        } else if state.macvlans.contains_key(&spec.network_id) {
            state.attach_to_macvlan(self.instance(), spec)?
        } else {
            state.attach_to_bridge(self.instance(), spec)?
        };
        state.prepare_mesh_task(&attached)?;
        let endpoint = attached.endpoint.clone();
        state.endpoints.insert(spec.endpoint_id.clone(), attached);
        let sandbox = state.sandbox(&spec.netns)?;
        sandbox.endpoints.retain(|e| *e != spec.endpoint_id);
        sandbox.endpoints.push(spec.endpoint_id.clone());
        state.set_default_routes(&spec.netns)?;
        state.sync_zone(&spec.netns);
        state.sync_endpoint_names(&spec.network_id, &spec.endpoint_id);
        if overlay {
            state.sync_ingress(&spec.network_id, None)?;
            let addresses = spec.addresses.iter().map(|c| c.addr).collect();
            state.sync_peers_at(&spec.network_id, &addresses)?;
            state.sync_vips(&spec.netns)?;
        }
        Ok(endpoint)
    }

    /// Removes an endpoint. An unknown one is no error.
    pub fn detach(&self, endpoint_id: &str) -> Result<(), NetError> {
        let mut state = self.state();
        let result = state.release(endpoint_id, State::remove_pair);
        self.finish(state, result)
    }

    /// Replaces the names of an endpoint (`docker rename`).
    pub fn rename(&self, endpoint_id: &str, names: Vec<String>) -> Result<(), NetError> {
        let mut state = self.state();
        if let Some(attached) = state.endpoints.get_mut(endpoint_id) {
            attached.spec.names = names;
            let network_id = attached.spec.network_id.clone();
            state.sync_endpoint_names(&network_id, endpoint_id);
        }
        Ok(())
    }

    /// Counters of each interface but the loopback in a namespace, by interface name.
    pub fn statistics(&self, netns: &str) -> Result<BTreeMap<String, InterfaceStats>, NetError> {
        let mut state = self.state();
        let sandbox = state.sandbox(netns)?;
        let links = sandbox
            .route
            .links()
            .map_err(NetError::netlink("read interface counters"))?;
        let veths = links
            .into_iter()
            .filter(|l| matches!(l.kind.as_str(), "veth" | "macvlan" | "ipvlan"));
        Ok(veths.map(|l| (l.name, l.stats)).collect())
    }
}

impl State {
    fn attach_to_bridge(
        &mut self,
        instance: &str,
        spec: &EndpointSpec,
    ) -> Result<Attached, NetError> {
        let unknown = || NetError::UnknownNetwork(spec.network_id.clone());
        let bridge = self.bridges.get(&spec.network_id).ok_or_else(unknown)?;
        let unknown = || NetError::UnknownNetns(spec.netns.clone());
        let sandbox = self.sandboxes.get_mut(&spec.netns).ok_or_else(unknown)?;
        let mut port = Port {
            route: &mut self.route,
            bridge: bridge.index,
            mtu: bridge.spec.effective_mtu(),
            isolated: !bridge.spec.icc && !bridge.filtered,
            hairpin: bridge.filtered,
        };
        attach(instance, spec, sandbox, &mut port)
    }

    /// Forgets an endpoint after `remove` took it from the kernel.
    pub(crate) fn release(
        &mut self,
        endpoint_id: &str,
        remove: impl FnOnce(&mut State, &Attached) -> Result<(), NetError>,
    ) -> Result<(), NetError> {
        let Some(attached) = self.endpoints.remove(endpoint_id) else {
            return Ok(());
        };
        let netns = attached.spec.netns.clone();
        let network = &attached.spec.network_id;
        let overlay = self.overlays.get(network).map(|o| o.spec.ingress);
        if let Ok(sandbox) = self.sandbox(&netns) {
            sandbox.endpoints.retain(|e| e != endpoint_id);
            if overlay == Some(true) {
                // They name the interface that goes now.
                sandbox.mesh = TaskRules::default();
            }
        }
        let mut errors = Vec::new();
        if let Some(space) = self
            .overlays
            .get_mut(network)
            .and_then(|o| o.space.as_mut())
        {
            errors.extend(space.part(&attached.endpoint).err());
        }
        errors.extend(remove(self, &attached).err());
        errors.extend(self.set_default_routes(&netns).err());
        self.sync_zone(&netns);
        self.sync_endpoint_names(network, endpoint_id);
        if overlay.is_some() {
            errors.extend(self.sync_vips(&netns).err());
            errors.extend(self.close_space_if_unused(network).err());
            let addresses = attached.spec.addresses.iter().map(|c| c.addr).collect();
            errors.extend(self.sync_peers_at(network, &addresses).err());
        }
        NetError::collect(errors)
    }

    /// The same for all endpoints of a namespace that goes: their interfaces go with it, many
    /// namespaces at a time, where removing each would wait for every CPU.
    pub(crate) fn release_all(&mut self, netns: &str) -> Result<(), NetError> {
        let Some(sandbox) = self.sandboxes.get(netns) else {
            return Ok(());
        };
        let mut errors = Vec::new();
        for endpoint in sandbox.endpoints.clone() {
            let quiet =
                |state: &mut State, attached: &Attached| silence(state.sandbox(netns)?, attached);
            errors.extend(self.release(&endpoint, quiet).err());
        }
        // Its sockets keep a namespace.
        self.sandboxes.remove(netns);
        NetError::collect(errors)
    }

    fn remove_pair(&mut self, attached: &Attached) -> Result<(), NetError> {
        let peer = &attached.endpoint.peer_ifname;
        if peer.is_empty() {
            return self.remove_macvlan_interface(attached);
        }
        let route = match self.overlays.get_mut(&attached.spec.network_id) {
            Some(Overlay {
                space: Some(space), ..
            }) => &mut space.route,
            Some(_) => return Ok(()),
            None => &mut self.route,
        };
        route
            .delete_link(peer)
            .map_err(NetError::netlink(format!("remove interface {peer}")))
    }

    fn set_default_routes(&mut self, netns: &str) -> Result<(), NetError> {
        let Some(sandbox) = self.sandboxes.get_mut(netns) else {
            return Ok(());
        };
        let ids = sandbox.endpoints.iter();
        let attached: Vec<&Attached> = ids.filter_map(|id| self.endpoints.get(id)).collect();
        set_default_routes(sandbox, &attached)
    }
}
