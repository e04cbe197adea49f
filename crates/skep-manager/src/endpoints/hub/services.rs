//! Services in the tables.

use std::collections::BTreeSet;

use skep_objects::swarmkit::Service;

use super::{Hub, stream::Change};
use crate::endpoints::table::{service_endpoint, service_networks};

impl Hub {
    pub(super) fn set_service(&mut self, service: &Service) {
        let networks: BTreeSet<&str> = service_networks(service).collect();
        for network in networks {
            self.set_service_on(network, service);
        }
    }

    pub(super) fn change_service(&mut self, old: &Service, new: &Service) {
        let networks: BTreeSet<&str> = service_networks(old).chain(service_networks(new)).collect();
        for network in networks {
            self.set_service_on(network, new);
        }
    }

    fn set_service_on(&mut self, network: &str, service: &Service) {
        let endpoint = service_endpoint(&self.view, service, network);
        let services = &mut self.tables.entry(network.to_owned()).or_default().services;
        if services.get(&service.id) == endpoint.as_ref() {
            return;
        }
        match endpoint {
            Some(endpoint) => drop(services.insert(service.id.clone(), endpoint)),
            None => drop(services.remove(&service.id)),
        }
        self.tell(network, Change::Service(&service.id));
    }

    pub(super) fn drop_service(&mut self, service: &Service) {
        for network in service_networks(service) {
            if let Some(table) = self.tables.get_mut(network)
                && table.services.remove(&service.id).is_some()
            {
                self.tell(network, Change::Service(&service.id));
            }
        }
    }
}
