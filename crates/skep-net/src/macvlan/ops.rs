//! Ensuring macvlan networks, and joining containers to them.

use std::os::fd::AsFd;

use super::MacvlanSpec;
use crate::endpoint::{Attached, EndpointSpec, adopted, configure, free_name, mac_of};
use crate::error::NetError;
use crate::net::{Net, State};
use crate::netlink::route::{LinkKind, NewLink};

/// A macvlan network that was ensured.
#[derive(Debug)]
pub(crate) struct Macvlan {
    pub spec: MacvlanSpec,
    /// Index of the parent.
    parent: u32,
}

impl Net {
    /// Takes a macvlan network up: its parent is there, and the kernel makes such interfaces.
    pub fn ensure_macvlan(&self, spec: &MacvlanSpec) -> Result<(), NetError> {
        let mut state = self.state();
        let failed = NetError::netlink(format!("look for interface {}", spec.parent));
        let parent = state.route.link(&spec.parent).map_err(failed)?;
        let parent = parent.ok_or_else(|| NetError::NoParent {
            name: spec.parent.clone(),
        })?;
        if !state.macvlans.contains_key(&spec.network_id) {
            state.try_macvlan(spec, parent.index)?;
        }
        let network = Macvlan {
            spec: spec.clone(),
            parent: parent.index,
        };
        state.macvlans.insert(spec.network_id.clone(), network);
        Ok(())
    }

    /// Forgets a macvlan network; its endpoints were detached before.
    pub fn remove_macvlan(&self, network_id: &str) {
        let mut state = self.state();
        if state.macvlans.remove(network_id).is_some() {
            state.sync_names(network_id);
        }
    }
}

impl State {
    /// Makes an interface and removes it: the one way to learn whether this kernel can.
    fn try_macvlan(&mut self, spec: &MacvlanSpec, parent: u32) -> Result<(), NetError> {
        let digits: String = spec.network_id.chars().take(8).collect();
        let name = format!("mvtry-{digits}");
        let kind = LinkKind::Macvlan {
            parent,
            mode: spec.mode.number(),
        };
        let failed = || {
            NetError::netlink(format!(
                "make a macvlan interface on {} (does this kernel have macvlan?)",
                spec.parent
            ))
        };
        self.route.delete_link(&name).map_err(failed())?;
        let made = self.route.create_link(&NewLink::new(&name, kind));
        made.map_err(failed())?;
        self.route.delete_link(&name).map_err(failed())
    }

    pub(crate) fn attach_to_macvlan(
        &mut self,
        instance: &str,
        spec: &EndpointSpec,
    ) -> Result<Attached, NetError> {
        let unknown = || NetError::UnknownNetwork(spec.network_id.clone());
        let network = self.macvlans.get(&spec.network_id).ok_or_else(unknown)?;
        let (parent, mode, mtu) = (network.parent, network.spec.mode, network.spec.mtu);
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
                let kind = LinkKind::Macvlan {
                    parent,
                    mode: mode.number(),
                };
                let mtu = [spec.mtu, mtu].into_iter().find(|mtu| *mtu > 0);
                let new = NewLink {
                    mtu,
                    mac: Some(mac),
                    netns: Some(netns.as_fd()),
                    ..NewLink::new(&ifname, kind)
                };
                self.route.create_link(&new).map_err(failed())?;
                sandbox.route.set_alias(&ifname, &mark).map_err(failed())?;
                let link = sandbox.route.link(&ifname).map_err(failed())?;
                (ifname, mac, link.map_or(0, |link| link.index))
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
