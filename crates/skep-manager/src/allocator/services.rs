//! Services: virtual addresses and published ports.

use skep_objects::swarmkit::{
    Endpoint, EndpointSpec, PortConfig, Service, endpoint::VirtualIp, endpoint_spec::ResolutionMode,
};
use skep_store::{TxError, View};

use super::{Allocator, attachment_configs, ingress_network, networks, ports};
use crate::pass::Pass;

impl Allocator {
    pub(super) fn restore_service(&mut self, service: &Service) {
        let Some(endpoint) = &service.endpoint else {
            return;
        };
        self.ports
            .restore(&service.id, name(service), &endpoint.ports);
        let held: Vec<_> = endpoint
            .virtual_ips
            .iter()
            .filter(|vip| !vip.addr.is_empty())
            .map(|vip| (vip.network_id.clone(), vip.addr.clone()))
            .collect();
        for (network, address) in &held {
            self.networks.restore_address(network, address);
        }
        self.services.insert(service.id.clone(), held);
    }

    pub(super) fn observe_service(&mut self, id: &str, view: &View) {
        if view.service(id).is_some() {
            self.pending.services.insert(id.to_owned());
            return;
        }
        self.ports.release(id);
        let held = self.services.remove(id);
        self.release(held);
        self.retry_blocked();
    }

    pub(super) fn plan_service(&mut self, id: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let Some(service) = pass.tx.service(id).cloned() else {
            return Ok(());
        };
        match self.endpoint(&service, pass.tx) {
            Ok(endpoint) => {
                // One that needs nothing stays without, as SwarmKit's: a write less for each service.
                let is_nothing = service.endpoint.is_none()
                    && endpoint.ports.is_empty()
                    && endpoint.virtual_ips.is_empty();
                if !is_nothing && service.endpoint.as_deref() != Some(&endpoint) {
                    pass.tx
                        .edit_service(id, |service| service.endpoint = Some(endpoint.into()))?;
                }
                self.unblock_tasks_of(id, pass.tx);
            }
            Err(error) => {
                tracing::warn!(service.id = id, %error, "service cannot be allocated");
                self.blocked.services.insert(id.to_owned());
            }
        }
        Ok(())
    }

    fn unblock_tasks_of(&mut self, service: &str, view: &View) {
        if self.blocked.tasks.is_empty() {
            return;
        }
        for task in view.tasks_by_service(service) {
            if self.blocked.tasks.remove(&task.id) {
                self.pending.tasks.insert(task.id.clone());
            }
        }
    }

    /// What the service's endpoint should be, keeping what it has.
    fn endpoint(&mut self, service: &Service, view: &View) -> Result<Endpoint, AllocateError> {
        let spec = service.spec.as_ref().and_then(|spec| spec.endpoint.clone());
        let had = service.endpoint.clone().unwrap_or_default();
        let wanted = spec.as_ref().map_or(&[][..], |spec| spec.ports.as_slice());
        let had_ports = had.ports.clone();
        let ports = self
            .ports
            .assign(&service.id, name(service), wanted, &had_ports)?;
        let networks = vip_networks(service, spec.as_ref(), &ports, view)?;
        let held = self.services.entry(service.id.clone()).or_default();
        let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(held)
            .into_iter()
            .partition(|(network, _)| networks.contains(network));
        *held = kept;
        self.release(Some(dropped));
        let mut virtual_ips = Vec::new();
        for network_id in networks {
            let held = self.services.entry(service.id.clone()).or_default();
            let of_network = held.iter().filter(|(network, _)| *network == network_id);
            let mut addresses: Vec<String> = of_network.map(|(_, addr)| addr.clone()).collect();
            if addresses.is_empty() {
                addresses = self.networks.take_addresses(&network_id, &[])?;
                // Docker's clients know one address a network; the first is the IPv4 one.
                let kept = if has_ipv6(view, &network_id) { 2 } else { 1 };
                let surplus = addresses.split_off(kept.min(addresses.len()));
                held.extend(addresses.iter().map(|a| (network_id.clone(), a.clone())));
                for surplus in surplus {
                    self.release_address(&network_id, &surplus);
                }
            }
            virtual_ips.extend(addresses.into_iter().map(|addr| VirtualIp {
                network_id: network_id.clone(),
                addr,
            }));
        }
        Ok(Endpoint {
            spec,
            ports,
            virtual_ips,
        })
    }
}

/// Whether the network was asked to have IPv6: its services then have an address in each family.
fn has_ipv6(view: &View, network: &str) -> bool {
    let spec = view.network(network).and_then(|n| n.spec.as_ref());
    spec.is_some_and(|spec| spec.ipv6_enabled)
}

/// Networks on which the service has an address of its own.
fn vip_networks(
    service: &Service,
    spec: Option<&EndpointSpec>,
    ports: &[PortConfig],
    view: &View,
) -> Result<Vec<String>, AllocateError> {
    let mut wanted = Vec::new();
    if ports.iter().any(ports::is_ingress) {
        let ingress = ingress_network(view).ok_or(AllocateError::NoIngress)?;
        wanted.push(ingress.id.clone());
    }
    if spec.is_none_or(|spec| spec.mode() == ResolutionMode::Vip) {
        let service_spec = service.spec.as_ref();
        let task = service_spec.and_then(|spec| spec.task.as_deref());
        for config in attachment_configs(task, service_spec) {
            let network = view
                .network(&config.target)
                .ok_or_else(|| networks::NetworkError::Unknown(config.target.clone()))?;
            if networks::is_overlay(network) && !wanted.contains(&network.id) {
                wanted.push(network.id.clone());
            }
        }
    }
    Ok(wanted)
}

/// A service or task could not be given what it needs.
#[derive(Debug, thiserror::Error)]
pub(super) enum AllocateError {
    #[error(transparent)]
    Port(#[from] ports::PortError),
    #[error(transparent)]
    Network(#[from] networks::NetworkError),
    /// Every address of the network is taken.
    #[error("{error}")]
    Starved {
        network: String,
        #[source]
        error: networks::NetworkError,
    },
    #[error("service needs ingress network, but no ingress network is present")]
    NoIngress,
    #[error("waiting for the service to be allocated")]
    ServicePending,
}

fn name(service: &Service) -> &str {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.annotations.as_ref())
        .map_or("", |annotations| &annotations.name)
}
