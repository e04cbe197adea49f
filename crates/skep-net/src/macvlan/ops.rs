//! Ensuring networks on the host's wire, and joining containers to them.

use std::os::fd::AsFd;

use super::{MacvlanSpec, Wire, parent};
use crate::endpoint::{Attached, EndpointSpec, adopted, configure, free_name, mac_of};
use crate::error::NetError;
use crate::net::{Net, State};
use crate::netlink::route::NewLink;

/// A macvlan or ipvlan network that was ensured.
#[derive(Debug)]
pub(crate) struct Macvlan {
    pub spec: MacvlanSpec,
}

impl Net {
    /// Takes a macvlan or ipvlan network up: its parent is there, and the kernel makes such
    /// interfaces.
    pub fn ensure_macvlan(&self, spec: &MacvlanSpec) -> Result<(), NetError> {
        let mut state = self.state();
        state.check_shared(spec)?;
        let parent = parent::ensure(self.instance(), spec, &mut state.route)?;
        if !state.macvlans.contains_key(&spec.network_id)
            && let Err(error) = state.try_wire(spec, parent)
        {
            if !state.shares_parent(spec) {
                // The first failure is the one to tell.
                let _ = parent::remove(self.instance(), spec, &mut state.route);
            }
            return Err(error);
        }
        let network = Macvlan { spec: spec.clone() };
        state.macvlans.insert(spec.network_id.clone(), network);
        Ok(())
    }

    /// Forgets a macvlan or ipvlan network; its endpoints were detached before.
    pub fn remove_macvlan(&self, network_id: &str) -> Result<(), NetError> {
        let mut state = self.state();
        let Some(network) = state.macvlans.remove(network_id) else {
            return Ok(());
        };
        state.sync_names(network_id);
        if state.shares_parent(&network.spec) {
            return Ok(());
        }
        let removed = parent::remove(self.instance(), &network.spec, &mut state.route);
        if removed.is_err() {
            // Whoever tries again is to find it.
            state.macvlans.insert(network_id.to_owned(), network);
        }
        removed
    }
}

impl State {
    /// The other networks on the same parent.
    fn on_same_parent(&self, spec: &MacvlanSpec) -> impl Iterator<Item = &MacvlanSpec> {
        let name = spec.parent_name();
        let others = self.macvlans.values().map(|network| &network.spec);
        let others = others.filter(|other| other.network_id != spec.network_id);
        others.filter(move |other| other.parent_name() == name)
    }

    fn shares_parent(&self, spec: &MacvlanSpec) -> bool {
        self.on_same_parent(spec).next().is_some()
    }

    fn check_shared(&self, spec: &MacvlanSpec) -> Result<(), NetError> {
        let mut others = self.on_same_parent(spec);
        match others.find(|other| spec.wire.is_alone() || other.wire.is_alone()) {
            Some(other) => Err(NetError::ParentShared {
                other: other.network_id.clone(),
                parent: spec.parent_name(),
            }),
            None => Ok(()),
        }
    }

    /// Makes an interface and removes it: the one way to learn whether this kernel can.
    fn try_wire(&mut self, spec: &MacvlanSpec, parent: u32) -> Result<(), NetError> {
        let digits: String = spec.network_id.chars().take(8).collect();
        let name = format!("mvtry-{digits}");
        let driver = spec.wire.driver();
        let article = if driver == "ipvlan" { "an" } else { "a" };
        let attempt = format!(
            "make {article} {driver} interface on {}",
            spec.parent_name()
        );
        let failed = |error| parent::refused(attempt.clone(), driver, error);
        self.route.delete_link(&name).map_err(failed)?;
        let new = NewLink::new(&name, spec.wire.link(parent));
        match self.route.create_link(&new) {
            // It is in use, by a container that was there before this daemon.
            Err(error) if spec.wire.is_alone() && !error.is_unknown_kind() => return Ok(()),
            made => made.map_err(failed)?,
        }
        self.route.delete_link(&name).map_err(failed)
    }

    pub(crate) fn attach_to_macvlan(
        &mut self,
        instance: &str,
        spec: &EndpointSpec,
    ) -> Result<Attached, NetError> {
        let unknown = || NetError::UnknownNetwork(spec.network_id.clone());
        let network = self.macvlans.get(&spec.network_id).ok_or_else(unknown)?;
        let network = network.spec.clone();
        let parent = parent::ensure(instance, &network, &mut self.route)?;
        let unknown = || NetError::UnknownNetns(spec.netns.clone());
        let sandbox = self.sandboxes.get_mut(&spec.netns).ok_or_else(unknown)?;
        let failed =
            || NetError::netlink(format!("make interface of endpoint {}", spec.endpoint_id));
        let mark = crate::endpoint::alias(instance, &spec.endpoint_id);
        let links = sandbox.route.links().map_err(failed())?;
        let (ifname, mac, index) = match links.into_iter().find(|link| link.alias == mark) {
            Some(link) => (
                link.name,
                link.mac.unwrap_or_else(|| mac_of(spec)),
                link.index,
            ),
            None => {
                let ifname = match &spec.ifname {
                    Some(name) => name.clone(),
                    None => free_name(sandbox, &spec.ifname_prefix)?,
                };
                let mac = mac_of(spec);
                let netns = sandbox.netns.clone();
                let has_own_mac = matches!(network.wire, Wire::Macvlan(_));
                let mtu = [spec.mtu, network.mtu].into_iter().find(|mtu| *mtu > 0);
                let new = NewLink {
                    mtu,
                    mac: has_own_mac.then_some(mac),
                    netns: Some(netns.as_fd()),
                    ..NewLink::new(&ifname, network.wire.link(parent))
                };
                self.route.create_link(&new).map_err(failed())?;
                sandbox.route.set_alias(&ifname, &mark).map_err(failed())?;
                let link = sandbox.route.link(&ifname).map_err(failed())?;
                let link = link.unwrap_or_default();
                (ifname, link.mac.unwrap_or(mac), link.index)
            }
        };
        let attached = adopted(spec, ifname, String::new(), mac, index);
        match configure(spec, sandbox, index) {
            Ok(()) => Ok(attached),
            Err(error) => {
                // The first failure is the one to tell.
                let _ = sandbox.route.delete_link(&attached.endpoint.ifname);
                Err(error)
            }
        }
    }

    /// Removes the interface of an endpoint, which is in its sandbox and nowhere else.
    pub(crate) fn remove_macvlan_interface(&mut self, attached: &Attached) -> Result<(), NetError> {
        let name = &attached.endpoint.ifname;
        let Ok(sandbox) = self.sandbox(&attached.spec.netns) else {
            return Ok(());
        };
        let failed = NetError::netlink(format!("remove interface {name}"));
        sandbox.route.delete_link(name).map_err(failed)
    }
}
