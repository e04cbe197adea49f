//! Attaching and detaching.

use std::collections::BTreeMap;

use super::{Attached, Endpoint, EndpointSpec, InterfaceStats, Port, attach, set_default_routes};
use crate::error::NetError;
use crate::net::{Net, State};
use crate::overlay::Overlay;

impl Net {
    /// Joins a container's namespace to a network.
    pub fn attach(&self, spec: &EndpointSpec) -> Result<Endpoint, NetError> {
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
        state.sync_names(&spec.network_id);
        if overlay {
            state.sync_ingress(&spec.network_id)?;
            state.sync_peers(&spec.network_id)?;
            state.sync_vips(&spec.netns)?;
        }
        Ok(endpoint)
    }

    /// Removes an endpoint. An unknown one is no error.
    pub fn detach(&self, endpoint_id: &str) -> Result<(), NetError> {
        let mut state = self.state();
        let state = &mut *state;
        let Some(attached) = state.endpoints.remove(endpoint_id) else {
            return Ok(());
        };
        let netns = attached.spec.netns.clone();
        if let Ok(sandbox) = state.sandbox(&netns) {
            sandbox.endpoints.retain(|e| e != endpoint_id);
            // They named the interface that goes now.
            sandbox.mesh = crate::ingress::TaskRules::default();
        }
        let mut errors = Vec::new();
        errors.extend(state.remove_pair(&attached).err());
        errors.extend(state.set_default_routes(&netns).err());
        state.sync_zone(&netns);
        state.sync_names(&attached.spec.network_id);
        if state.overlays.contains_key(&attached.spec.network_id) {
            errors.extend(state.sync_vips(&netns).err());
            errors.extend(state.close_space_if_unused(&attached.spec.network_id).err());
            errors.extend(state.sync_peers(&attached.spec.network_id).err());
        }
        NetError::collect(errors)
    }

    /// Replaces the names of an endpoint (`docker rename`).
    pub fn rename(&self, endpoint_id: &str, names: Vec<String>) -> Result<(), NetError> {
        let mut state = self.state();
        if let Some(attached) = state.endpoints.get_mut(endpoint_id) {
            attached.spec.names = names;
            let network_id = attached.spec.network_id.clone();
            state.sync_names(&network_id);
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
        let veths = links.into_iter().filter(|l| l.kind == "veth");
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

    fn remove_pair(&mut self, attached: &Attached) -> Result<(), NetError> {
        let peer = &attached.endpoint.peer_ifname;
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
