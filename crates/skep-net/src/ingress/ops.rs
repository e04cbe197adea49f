//! Joining the mesh and following its table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::rules::{MeshPort, MeshTable, ingress_ports};
use super::task::target_ports;
use super::{IngressSpec, device, task};
use crate::addr::Cidr;
use crate::endpoint::Attached;
use crate::error::NetError;
use crate::forget::Forgetting;
use crate::net::{Net, State};
use crate::netlink::nft::Table;
use crate::overlay::Warning;
use crate::overlay::table::NetworkTable;
use crate::publish::{Held, Protocol, hold};

/// This node on the mesh.
#[derive(Debug)]
pub(crate) struct Ingress {
    spec: IngressSpec,
    pub interface: String,
    tables: Vec<MeshTable>,
    /// In both families.
    held: BTreeMap<MeshPort, Option<[Held; 2]>>,
}

impl Net {
    /// Puts this node on the ingress network and serves published ports on it. The reply to a
    /// changed address is a move.
    pub fn ensure_ingress(&self, spec: &IngressSpec) -> Result<(), NetError> {
        if !spec.node_addresses.iter().any(Cidr::is_ipv4) {
            let value = spec.network_id.clone();
            return Err(NetError::Invalid {
                what: "ingress without IPv4 node address",
                value,
            });
        }
        let spec = &IngressSpec {
            network_id: spec.network_id.clone(),
            node_addresses: self.usable(&spec.node_addresses),
        };
        let mut guard = self.state();
        let state = &mut *guard;
        if state
            .ingress
            .as_ref()
            .is_some_and(|i| i.spec.network_id != spec.network_id)
        {
            state.remove_ingress()?;
        }
        state.open_space(self, &spec.network_id)?;
        let mtu = state.overlay_mtu(&spec.network_id)?;
        let unknown = || NetError::UnknownNetwork(spec.network_id.clone());
        let overlay = state
            .overlays
            .get_mut(&spec.network_id)
            .ok_or_else(unknown)?;
        let space = overlay.space.as_mut().ok_or_else(unknown)?;
        let (host, route) = (&self.inner.host, &mut state.route);
        device::ensure(self.instance(), spec, space, host, route, mtu)?;
        match &mut state.ingress {
            Some(ingress) => ingress.spec = spec.clone(),
            None => state.ingress = Some(Ingress::new(self.instance(), spec)),
        }
        guard.write_host_rules()?;
        let result = guard.sync_network(&spec.network_id);
        self.finish(guard, result)
    }

    /// Takes this node off the ingress network.
    pub fn remove_ingress(&self) -> Result<(), NetError> {
        self.state().remove_ingress()
    }
}

impl Ingress {
    fn new(instance: &str, spec: &IngressSpec) -> Ingress {
        let interface = device::name(instance);
        let mut families = vec![true];
        families.extend(
            spec.node_addresses
                .iter()
                .any(|a| !a.is_ipv4())
                .then_some(false),
        );
        let table = |v4| MeshTable::new(instance, &interface, v4);
        let tables = families.into_iter().map(table).collect();
        Ingress {
            spec: spec.clone(),
            interface,
            tables,
            held: BTreeMap::new(),
        }
    }

    /// Keeps the mesh's ports from processes of the host, where nobody has them yet.
    fn hold(&mut self, wanted: &BTreeSet<MeshPort>) -> BTreeSet<MeshPort> {
        self.held
            .retain(|port, held| wanted.contains(port) && held.is_some());
        for port in wanted {
            let take = |any: IpAddr| hold(port.protocol, SocketAddr::new(any, port.published)).ok();
            self.held.entry(*port).or_insert_with(|| {
                let v4 = take(Ipv4Addr::UNSPECIFIED.into())?;
                // Without IPv6 here nobody else can have it either.
                let v6 = take(Ipv6Addr::UNSPECIFIED.into())?;
                Some([v4, v6])
            });
        }
        self.held
            .iter()
            .filter(|(_, h)| h.is_none())
            .map(|(p, _)| *p)
            .collect()
    }
}

impl State {
    fn remove_ingress(&mut self) -> Result<(), NetError> {
        let Some(mut ingress) = self.ingress.take() else {
            return Ok(());
        };
        let mut errors = Vec::new();
        let failed = || NetError::netlink("leave the ingress network");
        for table in &mut ingress.tables {
            errors.extend(table.remove(&mut self.nft).map_err(failed()).err());
        }
        errors.extend(
            self.route
                .delete_link(&ingress.interface)
                .map_err(failed())
                .err(),
        );
        self.warnings
            .retain(|w| !matches!(w, Warning::IngressPortBusy { .. }));
        errors.extend(self.write_host_rules().err());
        errors.extend(self.close_space_if_unused(&ingress.spec.network_id).err());
        NetError::collect(errors)
    }

    /// Whether the host itself is on this network.
    pub(crate) fn ingress_uses(&self, network_id: &str) -> bool {
        self.ingress
            .as_ref()
            .is_some_and(|i| i.spec.network_id == network_id)
    }

    /// The host's own addresses on this network.
    pub(crate) fn ingress_addresses(&self, network_id: &str) -> &[Cidr] {
        match &self.ingress {
            Some(ingress) if ingress.spec.network_id == network_id => &ingress.spec.node_addresses,
            _ => &[],
        }
    }

    /// Brings the host's and the tasks' rules to the ingress network's table, or to what it now
    /// says of these services.
    pub(crate) fn sync_ingress(
        &mut self,
        network_id: &str,
        services: Option<&BTreeSet<String>>,
    ) -> Result<(), NetError> {
        if !self
            .overlays
            .get(network_id)
            .is_some_and(|o| o.spec.ingress)
        {
            return Ok(());
        }
        let mut errors = Vec::new();
        let table = self.tables.get(network_id);
        let is_changed = |e: &&Attached| {
            let task = |ip: &Cidr| table.and_then(|table| table.task_at(ip.addr));
            services.is_none_or(|services| {
                let task = e.spec.addresses.iter().find_map(task);
                task.is_none_or(|task| services.contains(&task.service_id))
            })
        };
        let local = self
            .endpoints
            .values()
            .filter(|e| e.spec.network_id == network_id);
        let local = local.filter(is_changed);
        let local: Vec<String> = local.map(|e| e.spec.endpoint_id.clone()).collect();
        for endpoint in local {
            errors.extend(self.sync_mesh_task(&endpoint).err());
        }
        // Without a table yet, after a restart, what is in the kernel serves on.
        if self.tables.contains_key(network_id) && self.ingress_uses(network_id) {
            errors.extend(self.sync_mesh(network_id, services).err());
        }
        NetError::collect(errors)
    }

    fn sync_mesh(
        &mut self,
        network_id: &str,
        services: Option<&BTreeSet<String>>,
    ) -> Result<(), NetError> {
        let (Some(ingress), Some(table)) = (&mut self.ingress, self.tables.get(network_id)) else {
            return Ok(());
        };
        for (mesh, v4) in ingress.tables.iter_mut().zip([true, false]) {
            let failed = NetError::netlink("set published ports of the mesh");
            let stale = match mesh.apply(&mut self.nft, table, services) {
                // Somebody took the table away.
                Err(error) if error.missing() => mesh.apply(&mut self.nft, table, None),
                other => other,
            };
            let netns = self.host.clone();
            let stale = stale.map_err(failed)?;
            let stale = stale.map(|stale| Forgetting { netns, v4, stale });
            self.forgetting.extend(stale);
        }
        let ports: BTreeSet<MeshPort> = ingress.tables.iter().flat_map(MeshTable::ports).collect();
        let held = ingress.held.iter();
        if held
            .clone()
            .all(|(port, held)| ports.contains(port) && held.is_some())
            && held.len() == ports.len()
        {
            return Ok(());
        }
        let busy = self.host.run(|| Ok(ingress.hold(&ports)))?;
        self.warnings
            .retain(|w| !matches!(w, Warning::IngressPortBusy { .. }));
        let busy = busy
            .into_iter()
            .map(|p| format!("{}/{}", p.protocol, p.published));
        self.warnings
            .extend(busy.map(|port| Warning::IngressPortBusy { port }));
        Ok(())
    }

    /// The mesh's tables that ought to be there.
    pub(crate) fn mesh_tables(&self) -> impl Iterator<Item = Table> + '_ {
        let tables = self.ingress.iter().flat_map(|ingress| &ingress.tables);
        tables.filter_map(MeshTable::written).cloned()
    }

    /// Writes the mesh's tables again if they are among those that are gone; answers whether they
    /// are.
    pub(crate) fn restore_mesh(&mut self, gone: &[Table]) -> Result<bool, NetError> {
        let Some(ingress) = &mut self.ingress else {
            return Ok(false);
        };
        let tables = ingress.tables.iter_mut();
        let lost = tables.filter(|mesh| mesh.written().is_some_and(|t| gone.contains(t)));
        if lost.map(MeshTable::lose).count() == 0 {
            return Ok(false);
        }
        let network_id = ingress.spec.network_id.clone();
        self.sync_mesh(&network_id, None).map(|()| true)
    }

    /// Routes of a task that has just joined the ingress network.
    pub(crate) fn prepare_mesh_task(&mut self, attached: &Attached) -> Result<(), NetError> {
        let Some(overlay) = self.overlays.get(&attached.spec.network_id) else {
            return Ok(());
        };
        if !overlay.spec.ingress {
            return Ok(());
        }
        let sandbox = self.sandbox(&attached.spec.netns)?;
        let (ifname, addresses) = (&attached.endpoint.ifname, &attached.spec.addresses);
        task::prepare(
            &sandbox.netns,
            &mut sandbox.route,
            ifname,
            attached.index,
            addresses,
        )
    }

    fn sync_mesh_task(&mut self, endpoint_id: &str) -> Result<(), NetError> {
        let Some(attached) = self.endpoints.get(endpoint_id) else {
            return Ok(());
        };
        let addresses: Vec<IpAddr> = attached.spec.addresses.iter().map(|c| c.addr).collect();
        // Without a table yet, after a restart, the rules that are there serve on.
        let Some(table) = self.tables.get(&attached.spec.network_id) else {
            return Ok(());
        };
        let ports = ports_of(table, &addresses);
        let Some(sandbox) = self.sandboxes.get_mut(&attached.spec.netns) else {
            return Ok(());
        };
        let (ifname, addresses) = (&attached.endpoint.ifname, &attached.spec.addresses);
        let failed = NetError::netlink(format!("set mesh rules of {}", attached.spec.netns));
        sandbox
            .mesh
            .apply(&mut sandbox.nft, ifname, addresses, ports)
            .map_err(failed)
    }
}

/// The target ports of the service whose task has one of these addresses.
fn ports_of(table: &NetworkTable, addresses: &[IpAddr]) -> BTreeSet<(Protocol, u16)> {
    let task = addresses.iter().find_map(|ip| table.task_at(*ip));
    let service = task.and_then(|task| table.service(&task.service_id));
    service
        .map(|s| target_ports(ingress_ports(&s.ports)))
        .unwrap_or_default()
}
