//! Ensuring and removing local networks.

use super::{BridgeSpec, ExistingBridge, device};
use crate::endpoint::alias;
use crate::error::NetError;
use crate::host::admit;
use crate::net::{Bridge, Net, State};
use crate::netlink::route::Link;
use crate::overlay::Warning;

impl Net {
    /// Makes a bridge network as the spec says, or changes it to that.
    pub fn ensure_bridge(&self, spec: &BridgeSpec) -> Result<(), NetError> {
        device::validate(spec)?;
        let mut state = self.state();
        if state
            .bridges
            .get(&spec.network_id)
            .is_some_and(|b| b.spec == *spec)
            && state.link_exists(&spec.bridge)?
        {
            return Ok(());
        }
        let has_it =
            |(id, b): &(&String, &Bridge)| **id != spec.network_id && b.spec.bridge == spec.bridge;
        if let Some((other, _)) = state.bridges.iter().find(has_it) {
            return Err(NetError::SameBridge {
                network_id: spec.network_id.clone(),
                other: other.clone(),
                bridge: spec.bridge.clone(),
            });
        }
        let forward = self.inner.config.ip_forward;
        let mut filtered = false;
        let prepare = || {
            filtered = self.inner.host.run(|| {
                device::set_sysctls(spec, forward)?;
                Ok(device::frames_are_filtered())
            })?;
            Ok(())
        };
        let index = device::ensure(self.instance(), spec, &mut state.route, prepare)?;
        let bridge = Bridge {
            spec: spec.clone(),
            index,
            filtered,
        };
        state.bridges.insert(spec.network_id.clone(), bridge);
        state.write_host_rules()
    }

    /// What there is of a bridge of this name, if there is one: whose name was asked for is asked
    /// what it is.
    pub fn existing_bridge(&self, name: &str) -> Result<Option<ExistingBridge>, NetError> {
        let mut state = self.state();
        let failed = || NetError::netlink(format!("look at bridge {name}"));
        let Some(link) = state.route.link(name).map_err(failed())? else {
            return Ok(None);
        };
        let addresses = device::addresses_of(link.index, &mut state.route).map_err(failed())?;
        let ports = state.route.links().map_err(failed())?;
        let mark = alias(self.instance(), "");
        let is_port = |port: &&Link| port.master == Some(link.index);
        let endpoint = |port: &Link| port.alias.strip_prefix(&mark).map(str::to_owned);
        Ok(Some(ExistingBridge {
            is_own: link.alias.starts_with(&mark),
            addresses: addresses
                .into_iter()
                .filter(|a| !device::is_link_local(a))
                .collect(),
            endpoints: ports.iter().filter(is_port).filter_map(endpoint).collect(),
        }))
    }

    /// Removes a bridge network; its endpoints were detached before. A bridge that was taken over
    /// stays.
    pub fn remove_bridge(&self, network_id: &str) -> Result<(), NetError> {
        let mut state = self.state();
        let Some(bridge) = state.bridges.remove(network_id) else {
            return Ok(());
        };
        state.sync_names(network_id);
        let name = bridge.spec.bridge.clone();
        let mut errors = Vec::new();
        let failed = || NetError::netlink(format!("remove bridge {name}"));
        match state.route.link(&name).map_err(failed()) {
            Ok(Some(link)) if link.alias.starts_with(&alias(self.instance(), "")) => {
                errors.extend(state.route.delete_link(&name).map_err(failed()).err());
            }
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        errors.extend(state.write_host_rules().err());
        if !errors.is_empty() {
            // Whoever tries again is to find it.
            state.bridges.insert(network_id.to_owned(), bridge);
        }
        NetError::collect(errors)
    }
}

impl State {
    fn link_exists(&mut self, name: &str) -> Result<bool, NetError> {
        let failed = NetError::netlink(format!("look for interface {name}"));
        Ok(self.route.link(name).map_err(failed)?.is_some())
    }

    /// Writes the host's rules for the bridges there are, and has other firewalls let them pass.
    pub(crate) fn write_host_rules(&mut self) -> Result<(), NetError> {
        let specs: Vec<&BridgeSpec> = self.bridges.values().map(|b| &b.spec).collect();
        match self.rules.write(&mut self.nft, &specs) {
            Err(error) if error.missing() => self.rewrite_host_tables()?,
            other => other.map_err(NetError::netlink("write firewall rules"))?,
        }
        self.admit_traffic()
    }

    /// Has other firewalls let our bridges' packets pass.
    pub(crate) fn admit_traffic(&mut self) -> Result<(), NetError> {
        let State {
            bridges,
            rules,
            nft,
            warnings,
            ingress,
            ..
        } = self;
        let specs = bridges.values().map(|b| &b.spec);
        let mut names: Vec<&str> = specs.map(|s| s.bridge.as_str()).collect();
        names.extend(ingress.as_ref().map(|i| i.interface.as_str()));
        let failed = NetError::netlink("complement the host's firewall");
        let foreign = admit(nft, &rules.table(true).name, &names).map_err(failed)?;
        warnings.retain(|w| !matches!(w, Warning::ForwardDropped { .. }));
        let dropped = foreign
            .droppers
            .into_iter()
            .map(|chain| Warning::ForwardDropped { chain });
        warnings.extend(dropped);
        Ok(())
    }
}
