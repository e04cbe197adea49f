//! Serving names as networks and endpoints change.

use super::DnsSpec;
use super::names::NetworkNames;
use super::server::DnsServer;
use super::zone::{View, Zone};
use crate::error::NetError;
use crate::net::{Net, State};

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

    /// Writes the names of a network anew.
    pub(crate) fn sync_names(&mut self, network_id: &str) {
        let bridge = self.bridges.get(network_id).map(|b| b.spec.name.as_str());
        let overlay = || self.overlays.get(network_id).map(|o| o.spec.name.as_str());
        let Some(name) = bridge.or_else(overlay) else {
            self.directory.remove(network_id);
            return;
        };
        let mut names = NetworkNames::new(name);
        for endpoint in self
            .endpoints
            .values()
            .filter(|e| e.spec.network_id == network_id)
        {
            let addresses = endpoint.spec.addresses.iter().map(|c| c.addr);
            names.add_endpoint(&endpoint.spec.names, addresses);
        }
        if let Some(table) = self.tables.get(network_id) {
            names.add_table(table);
        }
        self.directory.set(network_id, names);
    }
}
