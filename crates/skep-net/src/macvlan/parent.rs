//! The interface below a network: the host's, or one that is made for it and goes with it.

use super::MacvlanSpec;
use crate::endpoint::{alias, unmarked_name};
use crate::error::NetError;
use crate::netlink::NetlinkError;
use crate::netlink::route::{LinkKind, NewLink, RouteSocket};

/// The highest tag.
const MOST: u16 = 4094;

/// Finds the parent or makes it; answers its index.
pub(super) fn ensure(
    instance: &str,
    spec: &MacvlanSpec,
    route: &mut RouteSocket,
) -> Result<u32, NetError> {
    let name = spec.parent_name();
    if name == "lo" {
        let driver = spec.wire.driver();
        return Err(NetError::LoopbackParent { driver });
    }
    let failed = || NetError::netlink(format!("look for interface {name}"));
    if let Some(link) = route.link(&name).map_err(failed())? {
        return Ok(link.index);
    }
    let maker = Maker {
        name: &name,
        unmarked: unmarked_name(instance),
        mark: alias(instance, &spec.network_id),
        route,
    };
    match &spec.parent {
        Some(_) => maker.vlan()?,
        None => maker.nowhere()?,
    }
    let made = route.link(&name).map_err(failed())?.unwrap_or_default();
    route.set_up(made.index, true).map_err(failed())?;
    Ok(made.index)
}

/// Removes a parent that was made for a network; the host's own stays.
pub(super) fn remove(
    instance: &str,
    spec: &MacvlanSpec,
    route: &mut RouteSocket,
) -> Result<(), NetError> {
    let name = spec.parent_name();
    let failed = || NetError::netlink(format!("remove interface {name}"));
    match route.link(&name).map_err(failed())? {
        Some(link) if link.alias.starts_with(&alias(instance, "")) => {
            route.delete_link(&name).map_err(failed())
        }
        _ => Ok(()),
    }
}

struct Maker<'a> {
    name: &'a str,
    unmarked: String,
    mark: String,
    route: &'a mut RouteSocket,
}

impl Maker<'_> {
    fn make(&mut self, kind: LinkKind<'_>) -> Result<(), NetlinkError> {
        let new = NewLink::new(self.name, kind);
        self.route.create_marked(new, &self.unmarked, &self.mark)
    }

    /// `eth0.50`: the frames of eth0 that are tagged 50.
    fn vlan(mut self) -> Result<(), NetError> {
        let no_parent = |name: &str| NetError::NoParent {
            name: name.to_owned(),
        };
        let Some((below, tag)) = self.name.split_once('.') else {
            return Err(no_parent(self.name));
        };
        if tag.contains('.') {
            return Err(NetError::NotAVlan(self.name.to_owned()));
        }
        let failed = NetError::netlink(format!("look for interface {below}"));
        let found = self.route.link(below).map_err(failed)?;
        let parent = found.ok_or_else(|| no_parent(below))?.index;
        let id: Option<u16> = tag.parse().ok().filter(|id| (1..=MOST).contains(id));
        let id = id.ok_or_else(|| NetError::VlanId(tag.to_owned()))?;
        let made = self.make(LinkKind::Vlan { parent, id });
        made.map_err(|error| self.refused("vlan", "8021q", error))
    }

    /// A wire without an end, where containers reach each other and nothing else.
    fn nowhere(mut self) -> Result<(), NetError> {
        let made = match self.make(LinkKind::Dummy) {
            Err(error) if error.is_unknown_kind() => self.make(LinkKind::Ifb),
            other => other,
        };
        made.map_err(|error| self.refused("dummy", "dummy, nor ifb", error))
    }

    fn refused(&self, kind: &str, part: &'static str, error: NetlinkError) -> NetError {
        refused(
            format!("failed to create {} {kind} link", self.name),
            part,
            error,
        )
    }
}

/// What the kernel refused, and whether it has no such thing at all.
pub(super) fn refused(attempt: String, part: &'static str, error: NetlinkError) -> NetError {
    if error.is_unknown_kind() {
        return NetError::NotInKernel { attempt, part };
    }
    NetError::netlink(attempt)(error)
}
