//! Serving names as networks and endpoints change.

use std::net::IpAddr;

use super::DnsSpec;
use super::names::{NetworkNames, Owner};
use super::server::DnsServer;
use super::zone::{View, Zone};
use crate::endpoint::EndpointSpec;
use crate::error::NetError;
use crate::net::{Net, State};
use crate::overlay::table::Changed;

impl Net {
    /// Starts the name server of a namespace, at 127.0.0.11, or changes its settings.
    pub fn serve_dns(&self, netns: &str, spec: &DnsSpec) -> Result<(), NetError> {
        let mut state = self.state();
        let view = View {
            spec: spec.clone(),
            networks: state.networks_of(netns),
        };
        let directory = state.directory.clone();
        let sandbox = state.sandbox(netns)?;
        if let Some(server) = &sandbox.dns {
            server.set_view(view);
            return Ok(());
        }
        let zone = Zone::new(directory, view);
        let (runtime, forwarder) = (&self.inner.runtime, self.inner.forwarder.clone());
        let (server, rules) = DnsServer::start(runtime, &sandbox.netns, zone, forwarder)?;
        let failed = NetError::netlink(format!("lead name queries of {netns}"));
        sandbox.nft.commit(rules).map_err(failed)?;
        sandbox.dns = Some(server);
        Ok(())
    }
}

impl State {
    /// The networks whose names a namespace sees, in order. Nobody looks names up on ingress.
    fn networks_of(&self, netns: &str) -> Vec<String> {
        let endpoints = self
            .sandboxes
            .get(netns)
            .map(|s| s.endpoints.as_slice())
            .unwrap_or_default();
        let networks = endpoints.iter().filter_map(|id| self.endpoints.get(id));
        let networks = networks.map(|e| e.spec.network_id.clone());
        networks
            .filter(|id| !self.overlays.get(id).is_some_and(|o| o.spec.ingress))
            .collect()
    }

    /// The namespace's server follows its networks.
    pub(crate) fn sync_zone(&mut self, netns: &str) {
        let networks = self.networks_of(netns);
        if let Some(server) = self.sandboxes.get(netns).and_then(|s| s.dns.as_ref()) {
            server.set_view(View {
                spec: server.view().spec.clone(),
                networks,
            });
        }
    }

    /// What a network is called; `None` for one that is not known here.
    fn network_name(&self, network_id: &str) -> Option<&str> {
        let bridge = self.bridges.get(network_id).map(|b| b.spec.name.as_str());
        let overlay = || self.overlays.get(network_id).map(|o| o.spec.name.as_str());
        let macvlan = || self.macvlans.get(network_id).map(|m| m.spec.name.as_str());
        bridge.or_else(overlay).or_else(macvlan)
    }

    /// Writes the names of a network anew.
    pub(crate) fn sync_names(&mut self, network_id: &str) {
        let Some(name) = self.network_name(network_id) else {
            self.directory.remove(network_id);
            return;
        };
        let mut names = NetworkNames::new(name);
        let endpoints = self.endpoints.values();
        for endpoint in endpoints.filter(|e| e.spec.network_id == network_id) {
            set_endpoint(&mut names, &endpoint.spec);
        }
        if let Some(table) = self.tables.get(network_id) {
            for id in table.service_ids() {
                names.sync_service(table, &id);
            }
            for task in table.tasks() {
                names.sync_task(table, &task.task_id);
            }
        }
        self.directory.set(network_id, names);
    }

    /// Writes the names anew that a change of the network's table concerns.
    pub(crate) fn sync_names_of(&mut self, network_id: &str, changed: &Changed) {
        let Some(table) = self.tables.get(network_id) else {
            return;
        };
        self.directory.change(network_id, |names| {
            for id in &changed.named_services {
                names.sync_service(table, id);
            }
            for id in &changed.named_tasks {
                names.sync_task(table, id);
            }
        });
    }

    /// Writes the names of an endpoint anew, or takes them away with it.
    pub(crate) fn sync_endpoint_names(&mut self, network_id: &str, endpoint_id: &str) {
        if !self.directory.has(network_id) {
            return self.sync_names(network_id);
        }
        let endpoint = self.endpoints.get(endpoint_id);
        let endpoint = endpoint.filter(|e| e.spec.network_id == network_id);
        self.directory.change(network_id, |names| match endpoint {
            Some(endpoint) => set_endpoint(names, &endpoint.spec),
            None => names.remove(&Owner::Endpoint(endpoint_id.to_owned())),
        });
    }
}

fn set_endpoint(names: &mut NetworkNames, spec: &EndpointSpec) {
    let addresses: Vec<IpAddr> = spec.addresses.iter().map(|c| c.addr).collect();
    names.set_endpoint(&spec.endpoint_id, &spec.names, &addresses);
}
